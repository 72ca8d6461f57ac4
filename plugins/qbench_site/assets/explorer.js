// The sample explorer: the choices, the attack in slices between frames, and what is drawn of it.
"use strict";
(() => {
  const data = qbench.data("explorer"), { element: make } = qbench;
  const { decode, model: build } = qbenchClassifiers, { largest, margin, pgd } = qbenchAttack;
  const { line, bars, course, atLeast, atMost } = qbenchDrawings;
  const root = document.querySelector(".explorer"), find = (query) => root.querySelector(query);
  const form = find("form"), fields = form.elements, rows = new Map();
  const [high, wide] = data.shape, size = high * wide;
  const LARGEST = 1.5 * Math.max(...data.budgets), STEP = 0.005, SLICE_MS = 10;
  const SHOWN = { pgd: "PGD", fgsm: "FGSM" };
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const pixels = decode.bytes(data.images), running = { frame: 0, seed: 1, nearest: new Map() };
  const image = (index) => Float64Array.from(
    pixels.subarray(index * size, (index + 1) * size), (p) => Math.fround(p / 255));

  // Weights are decoded when a model is first asked.
  for (const one of data.models) {
    let made;
    one.ask = () => one.live && (made ??= build(one.live, data.shape, data.classes.length));
    one.kept &&= { ...one.kept, places: new Map(one.kept.image.map((place, k) => [place, k])) };
  }

  const signed = (value, digits) => value.toFixed(digits).replace("-", "−");
  const className = (label) => data.classes[label] ?? String(label);

  // --- the choices -------------------------------------------------------------------------------

  function fillChoices() {
    for (const family of new Set(data.models.map((one) => one.family))) {
      const group = make("optgroup", { label: family });
      for (const one of data.models.filter((m) => m.family === family)) {
        group.append(make("option", { value: one.name, disabled: !one.live && !one.kept }, one.name));
      }
      fields.model.append(group);
    }
    for (const [name, { steps }] of Object.entries(data.attacks)) {
      const words = `${SHOWN[name]}, ${steps} step${steps > 1 ? "s" : ""}`;
      fields.attack.append(make("option", { value: name }, words));
    }
    fields.attack.append(make("option", { value: "kept" }, `worst on record, ε = ${data.eps}`));
    Object.assign(fields.eps, { min: 0, max: LARGEST, step: STEP, value: data.eps });
    data.labels.forEach((label, index) => {
      const canvas = make("canvas", { width: wide, height: high, "aria-hidden": "true" });
      const radio = make("input", { type: "radio", name: "image", value: index,
        "aria-label": `image ${index}, ${className(label)}` });
      find(".strip").append(make("label", {}, radio, canvas));
      drawImage(canvas, image(index));
    });
    const fooled = data.labels.map((_, index) => data.models.filter((one) => one.kept?.places.has(index)));
    const often = fooled.map((models) => models.length), index = often.indexOf(Math.max(...often));
    const { name } = fooled[index].at(-1) ?? data.models[0];
    choose({ image: index, model: name, attack: "pgd", eps: data.eps });
  }

  const chosen = () => ({
    index: Number(fields.image.value),
    model: data.models.find((one) => one.name === fields.model.value),
    attack: fields.attack.value,
    eps: fields.attack.value === "kept" ? data.eps : Number(fields.eps.value),
  });

  // Sets the choices that are given and possible, as from the address of the page.
  function choose(given) {
    const { image: index, model, attack, eps } = { ...given };
    if (data.models.some((one) => one.name === model)) fields.model.value = model;
    if (attack === "kept" || Object.hasOwn(data.attacks, attack ?? "")) fields.attack.value = attack;
    if (Number(eps) >= 0) fields.eps.value = eps;
    if (index !== undefined && data.labels[Number(index)] !== undefined) fields.image.value = Number(index);
  }

  function refresh() {
    const { model, attack, eps } = chosen();
    for (const option of fields.attack.options) option.disabled = option.value !== "kept" && !model.live;
    if (!model.live) fields.attack.value = "kept";
    const free = fields.attack.value !== "kept";
    fields.eps.disabled = !free;
    fields.again.disabled = !data.attacks[attack]?.random_start;
    if (!free) fields.eps.value = data.eps;
    fields.budget.value = (free ? eps : data.eps).toFixed(3);
    for (const radio of fields.image) {
      radio.parentElement.classList.toggle("fooled", !!model.kept?.places.has(Number(radio.value)));
    }
    run();
  }

  // --- the attack --------------------------------------------------------------------------------

  function run() {
    cancelAnimationFrame(running.frame);
    const choice = chosen(), x = image(choice.index), label = data.labels[choice.index];
    const shown = { ...choice, x, label, margins: [] };
    find(".status").setAttribute("aria-busy", "true");
    drawImage(find(".clean"), x);
    if (choice.attack === "kept") return finish({ ...shown, ...kept(choice.model, choice.index, x) });
    const settings = { ...data.attacks[choice.attack], seed: running.seed * 1000 + choice.index };
    const steps = pgd(choice.model.ask(), x, label, choice.eps, settings);
    const slice = () => {
      const until = performance.now() + SLICE_MS;
      for (let found; performance.now() < until;) {
        found = steps.next();
        if (found.done) return finish({ ...shown, changed: found.value.x, at: found.value.step });
        shown.margins.push(margin(found.value.scores, label));
        shown.changed = found.value.x;
        if (!still.matches) break;  // a step a frame: one sees it move
      }
      if (!still.matches) drawChange(shown);
      running.frame = requestAnimationFrame(slice);
    };
    slice();
  }

  // The worst image on record, rounded as explorer.py says; the image itself where nothing broke it.
  function kept(model, index, x) {
    const place = model.kept?.places.get(index);
    if (place === undefined) return { changed: x, none: true };
    model.kept.levels ??= new Int8Array(decode.bytes(model.kept.delta).buffer);
    const levels = model.kept.levels.subarray(place * size, (place + 1) * size);
    const changed = x.map((p, i) => Math.min(1, Math.max(0, p + (levels[i] * data.eps) / 127)));
    return { changed, recorded: model.kept.prediction[place] };
  }

  function finish(shown) {
    running.shown = shown;
    drawChange(shown);
    const verdicts = data.models.map((one) => judge(one, shown));
    const own = verdicts[data.models.indexOf(shown.model)];
    answer(find(".clean + figcaption .says"), own.clean, shown.label);
    answer(find(".changed + figcaption .says"), own.changed, shown.label);
    verdicts.forEach((verdict, k) => remember(data.models[k], verdict, shown));
    verdicts.forEach((verdict, k) => fillRow(data.models[k], verdict, shown));
    find(".status").textContent = inWords(shown, own, verdicts);
    find(".status").removeAttribute("aria-busy");
    find(".distances svg")?.remove();
    find(".distances").prepend(line(range(shown), true));
    find(".in-words").textContent = rangeInWords(range(shown));
    const { index, model, attack, eps } = shown;
    history.replaceState(null, "", `#${new URLSearchParams({ image: index, model: model.name, attack, eps })}`);
    root.dataset.done = String(Number(root.dataset.done ?? 0) + 1);
  }

  // What a model says of both images: computed where it runs here, else as on record.
  function judge(one, shown) {
    const live = one.ask();
    if (live) {
      const before = live.scores(shown.x), after = live.scores(shown.changed);
      return { before, after, clean: largest(before), changed: largest(after) };
    }
    const own = one === shown.model && shown.attack === "kept";
    const clean = one.clean?.[shown.index];
    return { clean, changed: own ? (shown.none ? clean : shown.recorded) : undefined };
  }

  const moved = (shown) => Math.max(...shown.changed.map((p, i) => Math.abs(p - shown.x[i])));

  // The nearest adversarial images that the attacks of this page have found.
  function remember(one, { before, clean, changed }, shown) {
    if (shown.attack === "kept" || !before || clean !== shown.label || changed === shown.label) return;
    const key = `${one.name} ${shown.index}`, known = running.nearest.get(key) ?? Infinity;
    running.nearest.set(key, Math.min(known, moved(shown)));
  }

  const range = ({ model, index, eps }) => ({ radius: model.radius?.[index] ?? null,
    nearest: model.nearest[index], here: running.nearest.get(`${model.name} ${index}`), eps, largest: LARGEST });

  function rangeInWords({ radius, nearest, here }) {
    if (nearest === 0) return "Here the answer is wrong without any change.";
    const proof = radius === null ? "Here nothing is proved"
      : `Here no change of up to ${atLeast(radius)} can fool it`;
    const found = nearest === null ? "no adversarial image is on record"
      : `the nearest adversarial image on record is ${atMost(nearest)} away`;
    const nearer = here < (nearest ?? Infinity) - 1e-6 ? `; this page found one at ${atMost(here)}` : "";
    return `${proof}, and ${found}${nearer}.`;
  }

  function inWords(shown, own, verdicts) {
    const { model, label, none, eps, index } = shown, name = model.name;
    const said = (k) => (k === undefined ? "something else" : `“${className(k)}”`);
    if (own.clean !== label) {
      return `${name} calls the clean image ${said(own.clean)}, which is wrong: there is nothing to attack.`;
    }
    const others = verdicts.filter((v, k) => data.models[k] !== model && v.clean === label &&
      v.changed !== undefined && v.changed !== label).length;
    if (none) return `No attack on record fools ${name} on this image at ε = ${data.eps}.`;
    if (own.changed === label) {
      const worse = eps >= data.eps && model.kept?.places.has(index);
      return `${name} withstands this attack: it still calls the image ${said(label)}. ` + (worse
        ? "A stronger attack fooled it at this budget: choose the worst image on record."
        : "That proves nothing about other attacks; only the certified radius does.");
    }
    const also = others === 0 ? "No other model is fooled by it."
      : `It also fools ${others} other model${others > 1 ? "s" : ""} that it was not made for.`;
    return `${name} is fooled: it calls ${said(label)} now ${said(own.changed)}, although no pixel ` +
      `moved by more than ${moved(shown).toFixed(3)}. ${also}`;
  }

  // --- pictures ----------------------------------------------------------------------------------

  function paint(canvas, columns, values, colour) {
    const drawn = new ImageData(columns, values.length / columns);
    values.forEach((value, i) => drawn.data.set([...colour(value), 255], 4 * i));
    [canvas.width, canvas.height] = [drawn.width, drawn.height];
    canvas.getContext("2d").putImageData(drawn, 0, 0);
  }

  const drawImage = (canvas, x) => paint(canvas, wide, x, (value) => Array(3).fill(255 * value));

  // From −1 to 1: blue, the middle, orange.
  function diverging() {
    const [low, middle, top] = ["--lower", "--still", "--raise"].map((name) =>
      qbench.colour(name).match(/[0-9a-f]{2}/gi).map((part) => parseInt(part, 16)));
    return (value) => {
      const end = value < 0 ? low : top, share = Math.min(1, Math.abs(value));
      return middle.map((part, i) => part + share * (end[i] - part));
    };
  }

  function drawChange(shown) {
    const { x, changed, eps, margins } = shown, colour = diverging();
    paint(find(".delta"), wide, changed.map((p, i) => (eps ? (p - x[i]) / eps : 0)), colour);
    paint(find(".scale"), 41, Float64Array.from({ length: 41 }, (_, i) => i / 20 - 1), colour);
    drawImage(find(".changed"), changed);
    find(".low").textContent = signed(-eps, 3);
    find(".high").textContent = `+${eps.toFixed(3)}`;
    const steps = data.attacks[shown.attack]?.steps ?? 0;
    find(".course").hidden = steps < 2;
    find(".course svg")?.remove();
    if (steps > 1) find(".course").prepend(course(margins, steps, shown.at));
  }

  // --- the table ---------------------------------------------------------------------------------

  const HEADS = { name: "Model", clean: "x is", changed: "x′ is", scores: "Scores", margin: "Margin",
    range: "Proved, and nearest on record" };

  function makeTable() {
    const heads = Object.entries(HEADS).map(([key, words]) =>
      make("th", { scope: "col", role: "columnheader", class: key }, words));
    const body = make("tbody", { role: "rowgroup" });
    for (const one of data.models) {
      const button = make("button", { type: "button" }, one.name);
      button.addEventListener("click", () => { choose({ model: one.name }); refresh(); });
      const about = make("a", { href: one.page, class: "tag", "aria-label": `about ${one.name}` }, "about");
      const name = make("th", { scope: "row", role: "rowheader", class: `name ${one.family}` }, button,
        make("br"), make("span", { class: "tag" }), " ", about);
      const cells = Object.fromEntries(Object.keys(HEADS).slice(1).map((key) => [key, make("td", {
        role: "cell", class: key, "data-head": key === "clean" || key === "changed" ? HEADS[key] : null })]));
      const row = make("tr", { role: "row", "data-model": one.name }, name, ...Object.values(cells));
      rows.set(one, { row, name, ...cells });
      body.append(row);
    }
    const head = make("thead", { role: "rowgroup" }, make("tr", { role: "row" }, ...heads));
    find(".verdicts").append(head, body);
  }

  function answer(cell, said, label) {
    const kind = said === label ? "right-answer" : "wrong-answer";
    const words = said === undefined ? "not computed"
      : make("span", { class: kind }, className(said),
        make("span", { class: "visually-hidden" }, said === label ? " right" : " wrong"));
    cell.replaceChildren(words);
  }

  function fillRow(one, verdict, shown) {
    const cells = rows.get(one), source = one === shown.model, { label } = shown;
    cells.row.classList.toggle("source", source);
    cells.name.querySelector("span").textContent =
      source ? "under attack" : one.live ? one.family : `${one.family}, on record only`;
    answer(cells.clean, verdict.clean, label);
    answer(cells.changed, verdict.changed, label);
    cells.scores.replaceChildren();
    cells.margin.textContent = "";
    if (verdict.after) {
      cells.scores.append(bars(verdict.before, verdict.after, data.classes, label));
      const [from, to] = [verdict.before, verdict.after].map((scores) => signed(margin(scores, label), 3));
      cells.margin.textContent = `${from} → ${to}`;
    }
    cells.range.replaceChildren(line(range({ ...shown, model: one }), false));
  }

  // --- start -------------------------------------------------------------------------------------

  const address = () => Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  fillChoices();
  makeTable();
  choose(address());
  root.hidden = false;
  form.addEventListener("input", refresh);
  form.addEventListener("submit", (event) => event.preventDefault());
  fields.again.addEventListener("click", () => { running.seed++; run(); });
  addEventListener("hashchange", () => { choose(address()); refresh(); });
  qbench.onTheme(() => running.shown && drawChange(running.shown));
  refresh();
  form.querySelector("input:checked")?.parentElement.scrollIntoView({ block: "nearest", inline: "center" });
})();
