// The charts of a model's page and of the comparison, drawn by uPlot in the colours of the theme.
"use strict";

const charts = (() => {
  const number = (value) => value === null || value === undefined ? "–" : value.toFixed(3);

  function axes(x) {
    const common = { stroke: qbench.colour("--soft"), font: "12px system-ui, sans-serif",
      labelFont: "12px system-ui, sans-serif", ticks: { show: false },
      grid: { stroke: qbench.colour("--line"), width: 1 } };
    return [{ ...common, label: x, labelSize: 24 }, { ...common, label: "accuracy", labelSize: 22, size: 44 }];
  }

  function plot(element, x, data, series, options = {}) {
    let drawn = null, alive = true;
    const width = () => Math.max(240, element.clientWidth);
    const draw = () => {
      if (!alive) return;
      drawn?.destroy();
      drawn = new uPlot({
        width: width(), height: Math.min(360, Math.max(240, width() * .5)), axes: axes(x),
        scales: { x: { time: false }, y: { range: options.range ?? [0, 1.02] } },
        cursor: { points: { size: 6 }, drag: { x: false, y: false } },
        legend: { live: true }, bands: options.bands,
        series: [{ label: x, value: (_, value) => value ?? "–" }, ...series()],
      }, data, element);
    };
    draw();
    qbench.onTheme(draw);
    new ResizeObserver(() => {
      if (alive && drawn.width !== width()) {
        drawn.setSize({ width: width(), height: Math.min(360, Math.max(240, width() * .5)) });
      }
    }).observe(element);
    return { destroy: () => { alive = false; drawn.destroy(); } };
  }

  const line = (label, colour, more = {}) => ({ label, stroke: colour, width: 1.8, spanGaps: true,
    points: { show: false }, value: (_, value) => number(value), ...more });

  function robustness(element) {
    const { eps, certified, left, worst, attacks } = qbench.data("robustness");
    const names = Object.keys(attacks);
    plot(element, "ε", [eps, certified, left, worst, ...names.map((name) => attacks[name])], () => [
      line("certified", qbench.colour("--proved"), { width: 2.2 }),
      line("not broken", qbench.colour("--quantum"), { dash: [5, 4] }),
      line("worst case", qbench.colour("--quantum"),
        { width: 0, points: { show: true, size: 8, fill: qbench.colour("--quantum") } }),
      ...names.map((name, place) => line(name, qbench.colour(`--c${(place + 5) % 9}`),
        { width: 1, dash: [2, 3] })),
    ], { bands: [{ series: [2, 1], fill: qbench.dark() ? "#a9b4ff22" : "#33228818" }] });
  }

  function training(element) {
    const { epoch, mean, low, high } = qbench.data("training");
    const sorted = [...low].sort((a, b) => a - b);
    const floor = Math.max(0, Math.floor(20 * (sorted[Math.floor(sorted.length / 10)] - .02)) / 20);
    plot(element, "epoch", [epoch, mean, low, high], () => [
      line("mean", qbench.colour("--quantum"), { width: 2 }),
      line("smallest", qbench.colour("--soft"), { width: .5 }),
      line("largest", qbench.colour("--soft"), { width: .5 }),
    ], { range: [floor, 1.005], bands: [{ series: [3, 2], fill: qbench.dark() ? "#a9b4ff33" : "#33228822" }] });
  }

  const known = { robustness, training };
  for (const element of document.querySelectorAll("[data-chart]")) {
    known[element.dataset.chart]?.(element);
  }
  return { plot, line };
})();
