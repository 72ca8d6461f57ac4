// Reads a question as JSON from standard input and answers with the assets, for test_explorer.py.
"use strict";
const { readFileSync } = require("fs");
const [assets] = process.argv.slice(2);
require(`${assets}/classifiers.js`);
require(`${assets}/attack.js`);

const { data, images, pulls, attack } = JSON.parse(readFileSync(0, "utf8"));
const { decode, model } = globalThis.qbenchClassifiers;
const pixels = decode.bytes(data.images);
const size = data.shape[0] * data.shape[1];
const answer = {};
for (const { name, live } of data.models) {
  const made = model(live, data.shape, data.classes.length);
  answer[name] = images.map((image, i) => {
    const x = Float64Array.from(pixels.subarray(image * size, (image + 1) * size), (p) =>
      Math.fround(p / 255),
    );
    if (!attack) {
      const { scores, gradient } = made.gradient(x, () => pulls[i]);
      return { scores: [...scores], again: [...made.scores(x)], gradient: [...gradient] };
    }
    const steps = globalThis.qbenchAttack.pgd(made, x, data.labels[image], attack.eps, attack);
    let visited = 0, found = steps.next();
    for (; !found.done; found = steps.next()) visited++;
    return { visited, x: [...found.value.x], scores: [...found.value.scores] };
  });
}
process.stdout.write(JSON.stringify(answer));
