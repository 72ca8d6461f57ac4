// The ranking: filters, and the slider that moves every bar along its curves.
"use strict";

(() => {
  const form = document.querySelector(".controls");
  const rows = () => [...document.querySelectorAll("tr[data-model]")];
  const field = (name) => document.getElementById(name);
  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());

  function filter() {
    const value = (name) => field(name)?.value ?? "";
    const wanted = value("name").trim().toLowerCase();
    const counts = { shown: 0, all: 0 };
    for (const row of rows()) {
      const of = row.dataset;
      const shown = of.model.toLowerCase().includes(wanted)
        && ["family", "training"].every((name) => !value(name) || of[name] === value(name))
        && (!value("engine") || of.engine.split(", ").includes(value("engine")))
        && (!value("flags") || (value("flags") === "none") === (of.flags === "0"));
      row.hidden = !shown;
      if (row.closest(".ranking")) { counts.all += 1; counts.shown += shown ? 1 : 0; }
    }
    document.querySelector(".count").textContent = counts.shown === counts.all
      ? "" : `${counts.shown} of ${counts.all} ranked models shown`;
  }
  for (const name of ["name", "family", "training", "engine", "flags"]) {
    field(name)?.addEventListener("input", filter);
  }

  const slider = field("eps");
  if (!slider) return;
  const { eps, attacked, ranking, rows: ends } = qbench.data("ranking");
  const ranked = () => [...document.querySelectorAll(".ranking tr[data-model]")];
  const initial = new Map(ranked().map((row) => [row.dataset.model,
    [".certified", ".worst-case"].map((cell) => row.querySelector(cell))
      .map((cell) => [cell.textContent, cell.dataset.sort])]));
  const percent = (value) => value === null ? "—" : value.toFixed(3);

  function move() {
    const at = Number(slider.value), here = eps[at], own = here === ranking;
    document.querySelector('output[for="eps"]').textContent = here;
    slider.setAttribute("aria-valuetext", `ε = ${here}`);
    field("eps-hint").textContent = own ? "The budget of the ranking."
      : attacked[at] ? "Attacked at this budget; ranks are those at ε = " + ranking + "."
        : "Between the attacked budgets: what nothing on record broke within ε.";
    for (const row of ranked()) {
      const [certified, worst] = ends[row.dataset.model].map((of) => of[at]);
      const before = initial.get(row.dataset.model);
      [[".certified", certified, before[0]], [".worst-case", worst, before[1]]]
        .forEach(([name, value, [text, sort]]) => {
          const cell = row.querySelector(name);
          cell.textContent = own ? text : percent(value);
          cell.dataset.sort = own ? sort : value ?? "";
        });
      draw(row.querySelector("svg.interval"), certified, worst, own);
    }
    sortAgain();
  }

  function draw(svg, certified, worst, own) {
    const set = (name, attributes) => {
      const part = svg.querySelector(name);
      if (part) for (const [key, value] of Object.entries(attributes)) part.setAttribute(key, value);
    };
    const low = 200 * (certified ?? 0), high = 200 * (worst ?? 0);
    set(".proved", { width: low.toFixed(1) });
    set(".undecided", { x: low.toFixed(1), width: Math.max(0, high - low).toFixed(1) });
    set(".worst", { cx: high.toFixed(1), visibility: worst === null ? "hidden" : "visible" });
    set(".whisker", { visibility: own ? "visible" : "hidden" });
    const words = `certified ${percent(certified)}, worst case ${percent(worst)}`;
    svg.setAttribute("aria-label", words);
    svg.querySelector("title").textContent = words;
  }

  /** The column that the table is sorted by has other values now; a click would turn it round. */
  function sortAgain() {
    const head = document.querySelector(".ranking th[aria-sort]");
    if (!head || ![3, 4].includes(head.cellIndex)) return;
    const turned = head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
    head.setAttribute("aria-sort", turned);
    head.click();
  }

  slider.addEventListener("input", move);
  move();
})();
