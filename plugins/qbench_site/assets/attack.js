// PGD, and FGSM as its one-step case, as the benchmark's protocol sets them, on the models of classifiers.js.
"use strict";
(() => {
  const largest = (scores) => scores.indexOf(Math.max(...scores));

  // The label's score minus the best other one: negative exactly where the model is wrong.
  function margin(scores, label) {
    return scores[label] - Math.max(...scores.filter((_, k) => k !== label));
  }

  // Gradient of the cross-entropy with respect to the scores: softmax minus one at the label.
  const crossEntropy = (label) => (scores) => {
    const top = Math.max(...scores), powers = scores.map((s) => Math.exp(s - top));
    const sum = powers.reduce((a, b) => a + b);
    return powers.map((power, k) => power / sum - (k === label ? 1 : 0));
  };

  function loss(scores, label) {
    const top = Math.max(...scores);
    return Math.log(scores.reduce((sum, s) => sum + Math.exp(s - top), 0)) - scores[label] + top;
  }

  // Uniform numbers in [0, 1) that are the same for the same seed (mulberry32).
  function uniform(seed) {
    let state = seed >>> 0;
    return () => {
      state = (state + 0x6d2b79f5) >>> 0;
      let t = Math.imul(state ^ (state >>> 15), state | 1);
      t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
  }

  // The nearest point within eps of each pixel of x and within [0, 1].
  const project = (points, x, eps) =>
    points.map((p, i) => Math.max(0, x[i] - eps, Math.min(1, x[i] + eps, p)));

  // PGD with steps of relative_step * eps / steps along the sign of the gradient. A generator: it
  // yields { step, x, scores } after every point it tries, so that a page can draw in between, and
  // returns the same of the point kept. With keep "best" that is one that fools the model, and of
  // several the one with the largest loss; with "last" the last.
  function* pgd(model, x, label, eps, { steps, relative_step, random_start, keep, seed }) {
    const draw = uniform(seed), pull = crossEntropy(label), length = (relative_step * eps) / steps;
    const start = x.map((p) => (random_start ? p + eps * (2 * draw() - 1) : p));
    let points = project(start, x, eps), kept = null;
    for (let step = 0; step <= steps; step++) {
      const { scores, gradient } =
        step < steps ? model.gradient(points, pull) : { scores: model.scores(points) };
      const found = { step, x: points, scores };
      const rank = [largest(scores) === label ? 0 : 1, loss(scores, label)];
      const better = !kept || rank[0] > kept.rank[0] ||
        (rank[0] === kept.rank[0] && rank[1] > kept.rank[1]);
      if (keep === "last" || better) kept = { ...found, rank };
      yield found;
      if (gradient) {
        points = project(points.map((p, i) => p + length * Math.sign(gradient[i])), x, eps);
      }
    }
    return { step: kept.step, x: kept.x, scores: kept.scores };
  }

  globalThis.qbenchAttack = { largest, margin, pgd };
})();
