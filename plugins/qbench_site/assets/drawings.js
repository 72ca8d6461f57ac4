// Small pictures of the sample explorer, as SVG: a line of distances, bars of scores, a course.
"use strict";
const qbenchDrawings = (() => {
  const { element: make } = qbench;
  const picture = (width, height, words, ...parts) =>
    make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": words, svg: true }, ...parts);
  const signed = (value) => value.toFixed(2).replace("-", "−");
  // What is proved is rounded down and what was found is rounded up: neither may claim more.
  const atLeast = (value) => (Math.floor(value * 1e3 + 1e-6) / 1e3).toFixed(3);
  const atMost = (value) => (Math.ceil(value * 1e3 - 1e-3) / 1e3).toFixed(3);

  // From 0 to the largest budget: what is proved, what is open, the nearest adversarial image on
  // record (a line) and of those found here (a ring), and ε.
  function line({ radius, nearest, here, eps, largest }, tall) {
    const width = tall ? 460 : 150, top = tall ? 26 : 4, thick = tall ? 18 : 9;
    const at = (value) => (Math.min(value, largest) / largest) * width, bottom = top + thick;
    const proof = radius === null ? "–" : atLeast(radius);
    const found = nearest === null ? "none" : nearest === 0 ? "wrong as it is" : atMost(nearest);
    const words = `certified radius ${proof}, nearest adversarial image ${found}`;
    const parts = [make("rect", { class: "open", x: 0, y: top, width, height: thick, rx: 2 })];
    if (radius) parts.push(make("rect", { class: "proved", x: 0, y: top, width: at(radius), height: thick, rx: 2 }));
    if (nearest !== null) {
      parts.push(make("line", { class: "nearest", x1: at(nearest), x2: at(nearest), y1: top - 3, y2: bottom + 3 }));
    }
    if (here !== undefined) {
      parts.push(make("circle", { class: "here", cx: at(here), cy: top + thick / 2, r: thick / 2 - 1 }));
    }
    if (tall) {
      parts.push(make("line", { class: "budget", x1: at(eps), x2: at(eps), y1: top - 8, y2: bottom + 8 }));
      const side = eps > largest / 2 ? "end" : "start";
      parts.push(make("text", { x: at(eps), y: top - 12, "text-anchor": side }, `ε = ${eps.toFixed(3)}`));
      for (const share of [0, 0.25, 0.5, 0.75, 1]) {
        parts.push(make("text", { x: share * width, y: bottom + 18,
          "text-anchor": share === 0 ? "start" : share === 1 ? "end" : "middle" }, (share * largest).toFixed(3)));
      }
    } else {
      parts.push(make("text", { x: 0, y: bottom + 14 }, proof));
      parts.push(make("text", { x: width, y: bottom + 14, "text-anchor": "end" }, found));
    }
    return picture(width, bottom + (tall ? 22 : 18), words, ...parts);
  }

  // A bar a class from the zero line, with a tick where the score was before.
  function bars(before, after, classes, label) {
    const width = 208, room = 36, step = width / classes.length, zero = room / 2 + 2;
    const scale = room / 2 / Math.max(1e-9, ...[...before, ...after].map(Math.abs));
    const top = after.indexOf(Math.max(...after)), parts = [];
    after.forEach((score, k) => {
      const x = k * step + step * 0.22, wide = step * 0.56, long = Math.abs(score) * scale;
      const was = zero - before[k] * scale;
      parts.push(make("rect", { class: k === top ? "score answer" : "score", x, width: wide, height: long,
        y: score > 0 ? zero - long : zero }));
      parts.push(make("line", { class: "before", x1: x - 3, x2: x + wide + 3, y1: was, y2: was }));
      for (const [words, y] of [[classes[k], room + 16], [signed(score), room + 29]]) {
        parts.push(make("text", { class: k === label ? "label" : "", x: (k + 0.5) * step, y,
          "text-anchor": "middle" }, words));
      }
    });
    parts.push(make("line", { class: "axis", x1: 0, x2: width, y1: zero, y2: zero }));
    const words = [...after].map((score, k) => `${classes[k]} ${signed(score)}`).join(", ");
    return picture(width, room + 33, `scores ${words}`, ...parts);
  }

  // The margin at every step tried so far; the dot is the point that is kept.
  function course(margins, steps, at) {
    const width = 460, high = 62, left = 34;
    const top = Math.max(0.01, ...margins), low = Math.min(-top / 3, ...margins);
    const x = (step) => left + (step / steps) * (width - left);
    const y = (value) => 4 + ((top - value) / (top - low)) * (high - 8);
    const parts = [make("line", { class: "axis", x1: left, x2: width, y1: y(0), y2: y(0) }),
      make("text", { x: left - 6, y: y(0) + 4, "text-anchor": "end" }, "0"),
      make("text", { x: left - 6, y: y(Math.abs(low) > 2 * top ? low : top) + 4, "text-anchor": "end" },
        signed(Math.abs(low) > 2 * top ? low : top)),
      make("text", { x: left, y: high + 14 }, "0"),
      make("text", { x: width, y: high + 14, "text-anchor": "end" }, `${steps} steps`)];
    const points = margins.map((value, step) => `${x(step)},${y(value)}`);
    if (points.length) parts.push(make("path", { class: "curve", d: `M${points.join("L")}` }));
    if (at !== undefined) {
      parts.push(make("circle", { class: margins[at] < 0 ? "dot fooling" : "dot", cx: x(at), cy: y(margins[at]), r: 4 }));
    }
    return picture(width, high + 18, `margin from ${signed(margins[0] ?? 0)} to ${signed(margins.at(-1) ?? 0)}`, ...parts);
  }

  return { line, bars, course, atLeast, atMost };
})();
