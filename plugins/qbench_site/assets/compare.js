// Two or more models side by side: curves, facts and paired tests. The choice stands in the address.
"use strict";

(() => {
  const { eps, level, models, tests } = qbench.data("compare");
  const form = document.querySelector(".chooser"), result = document.querySelector(".comparison");
  const boxes = [...form.querySelectorAll("input")];
  const el = qbench.element;
  const number = (value, digits = 3) => value === null || value === undefined ? "—"
    : value.toFixed(digits).replace("-", "−");
  const p = (value) => value < .0001 ? "< 0.0001" : Number(value.toPrecision(2)).toString();
  let chart = null;

  const named = () => decodeURIComponent(location.hash.slice(1)).split(",").filter(Boolean);
  const chosen = () => boxes.filter((box) => box.checked).map((box) => models[box.value]);

  function row(head, cells) {
    return el("tr", {}, el("th", { scope: "row" }, head),
      ...cells.map((cell) => el("td", {}, cell)));
  }

  function head(titles) {
    return el("thead", {}, el("tr", {}, ...titles.map((title) => title === "" ? el("td") : el("th", { scope: "col" }, title))));
  }

  function fill(table, ...parts) {
    for (const part of [...table.children]) if (part.tagName !== "CAPTION") part.remove();
    table.append(...parts);
  }

  function side(list) {
    const interval = (of) => of.worst95 ? ` (${number(of.worst95[0])} to ${number(of.worst95[1])})` : "";
    const facts = {
      "Rank": (of) => of.rank ?? "—", "Family": (of) => of.family,
      "Clean": (of) => number(of.clean), "Certified": (of) => number(of.proved),
      "Worst case (95 % interval)": (of) => number(of.worst) + interval(of),
      "Training": (of) => of.training ?? "—", "Parameters": (of) => of.parameters ?? "—",
      "Images differentiated in one training": (of) => of.gradients ?? "—",
      "Flags": (of) => of.flags.join(", ") || "none",
    };
    const top = head(["", ...list.map((of) => el("a", { href: of.page }, of.name))]);
    fill(document.getElementById("side"), top, el("tbody", {},
      ...Object.entries(facts).map(([name, show]) => row(name, list.map((of) => String(show(of)))))));
  }

  function pairs(list) {
    const places = new Set(list.map((of) => models.indexOf(of)));
    const found = tests.filter(([one, other]) => places.has(one) && places.has(other));
    const lines = found.map(([one, other, difference, low, high, , corrected]) => row(
      `${models[one].name} − ${models[other].name}`,
      [`${number(difference)} (${number(low)} to ${number(high)})`, p(corrected),
        corrected < level ? `${models[one].name} is more robust` : "cannot be told apart"]));
    fill(document.getElementById("tests"), head(["Pair", "Difference", "p (Holm)", "So"]),
      el("tbody", {}, ...lines));
  }

  function curves(list) {
    const element = document.getElementById("curves");
    chart?.destroy();
    element.replaceChildren();
    const data = [eps, ...list.flatMap((of) => [[of.clean, ...of.left],
      [of.certified.at(-1) === null ? null : of.clean, ...of.certified]])];
    // Cool colours for quantum models, warm ones for the others, as their names are written.
    const hues = { quantum: [0, 7, 4, 2], other: [1, 8, 5, 3, 6] }, used = { quantum: 0, other: 0 };
    const hue = list.map((of) => {
      const kind = of.family === "quantum" ? "quantum" : "other";
      return hues[kind][used[kind]++ % hues[kind].length];
    });
    chart = charts.plot(element, "ε", data, () => list.flatMap((of, place) => {
      const colour = qbench.colour(`--c${hue[place]}`);
      return [charts.line(of.name, colour, { width: 2 }),
        charts.line(`${of.name}, certified`, colour, { dash: [5, 4], width: 1.3 })];
    }));
  }

  function update() {
    const list = chosen();
    result.hidden = list.length === 0;
    if (list.length) { side(list); pairs(list); curves(list); }
  }

  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", () => {
    history.replaceState(null, "", `#${chosen().map((of) => encodeURIComponent(of.name)).join(",")}`);
    update();
  });
  const wanted = named().length ? named() : JSON.parse(form.dataset.chosen);
  for (const box of boxes) box.checked = wanted.includes(models[box.value].name);
  update();
})();
