// Trained classifiers of the benchmark in plain JavaScript, with gradients.
// Everything is computed in float64 from the float32 weights. A model is { scores(x),
// gradient(x, pull) } with x the pixels; gradient gives { scores, gradient }, the latter that of
// sum_k pull(scores)[k] * score_k.
"use strict";
(() => {
  const decode = {
    bytes: (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)),
    floats: (text) => Float64Array.from(new Float32Array(decode.bytes(text).buffer)),
  };

  // Strongly entangling layers: RZ(omega) RY(theta) RZ(phi) on every qubit, then CNOTs from each to
  // the one `range` further. Wire 0 is the highest bit of an amplitude's index.
  class Circuit {
    constructor(qubits, ranges, closed) {
      this.qubits = qubits;
      this.size = 2 ** qubits;
      this.permutations = ranges.map((range) => this.cnots(range, closed));
    }

    // CNOTs only move amplitudes: new[i] = old[permutation[i]].
    cnots(range, closed) {
      const n = this.qubits;
      return Uint32Array.from({ length: this.size }, (_, i) => {
        for (let q = closed ? n - 1 : n - 1 - range; q >= 0; q--) {
          const target = (q + range) % n;
          i ^= ((i >> (n - 1 - q)) & 1) << (n - 1 - target);
        }
        return i;
      });
    }

    // Each rotation is [[a, b], [-b*, a*]], kept as (Re a, Im a, Re b, Im b).
    rotations(angles) {
      const found = new Float64Array((angles.length / 3) * 4);
      for (let j = 0, k = 0; j < angles.length; j += 3, k += 4) {
        const cos = Math.cos(angles[j + 1] / 2), sin = Math.sin(angles[j + 1] / 2);
        const plus = (angles[j] + angles[j + 2]) / 2, minus = (angles[j] - angles[j + 2]) / 2;
        found[k] = cos * Math.cos(plus);
        found[k + 1] = -cos * Math.sin(plus);
        found[k + 2] = -sin * Math.cos(minus);
        found[k + 3] = -sin * Math.sin(minus);
      }
      return found;
    }

    // The final state { re, im } from real amplitudes, or from |0...0>.
    run(rotations, amplitudes) {
      const re = new Float64Array(this.size), im = new Float64Array(this.size);
      if (amplitudes) re.set(amplitudes);
      else re[0] = 1;
      const state = { re, im }, spare = new Float64Array(this.size);
      this.permutations.forEach((permutation, layer) => {
        for (let q = 0; q < this.qubits; q++) {
          const k = (layer * this.qubits + q) * 4;
          const [a, b, c, d] = rotations.subarray(k, k + 4);
          rotate(re, im, this.size >> (q + 1), a, b, c, d);
        }
        gather(re, permutation, spare);
        gather(im, permutation, spare);
      });
      return state;
    }

    // <Z> of the first wires.
    expectations({ re, im }, wires) {
      const found = new Float64Array(wires);
      for (let i = 0; i < this.size; i++) {
        const density = re[i] * re[i] + im[i] * im[i];
        for (let k = 0; k < wires; k++) found[k] += this.sign(i, k) * density;
      }
      return found;
    }

    sign(i, wire) {
      return (i >> (this.qubits - 1 - wire)) & 1 ? -1 : 1;
    }

    // Adjoint differentiation of sum_k weights[k] <Z_k> (Jones and Gacon 2020): the state and the
    // observable's image of it go back through the circuit together. Returns the gradient with
    // respect to the angles, or with respect to the real amplitudes at the start.
    backward(angles, rotations, state, weights, wantAmplitudes) {
      const { re, im } = state, n = this.qubits;
      const lre = new Float64Array(this.size), lim = new Float64Array(this.size);
      const spare = new Float64Array(this.size);
      const gradient = new Float64Array(angles.length);
      for (let i = 0; i < this.size; i++) {
        let value = 0;
        for (let k = 0; k < weights.length; k++) value += weights[k] * this.sign(i, k);
        lre[i] = value * re[i];
        lim[i] = value * im[i];
      }
      for (let layer = this.permutations.length - 1; layer >= 0; layer--) {
        for (const part of [re, im, lre, lim]) scatter(part, this.permutations[layer], spare);
        for (let q = 0; q < n; q++) {
          const j = (layer * n + q) * 3, k = (layer * n + q) * 4, stride = this.size >> (q + 1);
          const [a, b, c, d] = rotations.subarray(k, k + 4);
          if (!wantAmplitudes) {
            const [x, y, z] = pauli(re, im, lre, lim, stride);
            const theta = angles[j + 1], omega = angles[j + 2];
            const across = Math.cos(omega) * x + Math.sin(omega) * y;
            gradient[j] = Math.cos(theta) * z + Math.sin(theta) * across;
            gradient[j + 1] = Math.cos(omega) * y - Math.sin(omega) * x;
            gradient[j + 2] = z;
          }
          rotate(re, im, stride, a, -b, -c, -d);
          rotate(lre, lim, stride, a, -b, -c, -d);
        }
      }
      return wantAmplitudes ? lre.map((value) => 2 * value) : gradient;
    }
  }

  function rotate(re, im, stride, a, b, c, d) {
    for (let block = 0; block < re.length; block += 2 * stride) {
      for (let i = block, j = block + stride; i < block + stride; i++, j++) {
        const r0 = re[i], i0 = im[i], r1 = re[j], i1 = im[j];
        re[i] = a * r0 - b * i0 + c * r1 - d * i1;
        im[i] = a * i0 + b * r0 + c * i1 + d * r1;
        re[j] = -c * r0 - d * i0 + a * r1 + b * i1;
        im[j] = -c * i0 + d * r0 + a * i1 - b * r1;
      }
    }
  }

  // Im <l|P|s> for the Pauli matrices X, Y, Z on the wire of this stride.
  function pauli(re, im, lre, lim, stride) {
    let x = 0, y = 0, z = 0;
    for (let block = 0; block < re.length; block += 2 * stride) {
      for (let i = block, j = block + stride; i < block + stride; i++, j++) {
        z += lre[i] * im[i] - lim[i] * re[i] - lre[j] * im[j] + lim[j] * re[j];
        x += lre[i] * im[j] - lim[i] * re[j] + lre[j] * im[i] - lim[j] * re[i];
        y += lre[j] * re[i] + lim[j] * im[i] - lre[i] * re[j] - lim[i] * im[j];
      }
    }
    return [x, y, z];
  }

  function gather(values, permutation, spare) {
    for (let i = 0; i < values.length; i++) spare[i] = values[permutation[i]];
    values.set(spare);
  }

  function scatter(values, permutation, spare) {
    for (let i = 0; i < values.length; i++) spare[permutation[i]] = values[i];
    values.set(spare);
  }

  // Data re-uploading: weight j adds w_j x_(j mod pixels) to angle j mod angles.
  function reupload({ w, theta }, pixels, classes, split) {
    const [layers, qubits] = theta.shape, n = theta.data.length;
    const ranges = Array.from({ length: layers }, (_, l) => (split ? 1 : (l % (qubits - 1)) + 1));
    const circuit = new Circuit(qubits, ranges, !split);
    const prepare = (x) => {
      const angles = theta.data.slice();
      w.data.forEach((value, j) => { angles[j % n] += value * x[j % pixels]; });
      const rotations = circuit.rotations(angles);
      const state = circuit.run(rotations);
      return { angles, rotations, state, scores: circuit.expectations(state, classes) };
    };
    return {
      scores: (x) => prepare(x).scores,
      gradient(x, pull) {
        const { angles, rotations, state, scores } = prepare(x);
        const by = circuit.backward(angles, rotations, state, pull(scores), false);
        const gradient = new Float64Array(pixels);
        w.data.forEach((value, j) => { gradient[j % pixels] += value * by[j % n]; });
        return { scores, gradient };
      },
    };
  }

  // Amplitude encoding: the circuit starts in x / |x|, and its angles are fixed.
  function amplitude({ theta }, pixels, classes) {
    const [layers, qubits] = theta.shape;
    const ranges = Array.from({ length: layers }, (_, l) => (l % (qubits - 1)) + 1);
    const circuit = new Circuit(qubits, ranges, true), rotations = circuit.rotations(theta.data);
    const prepare = (x) => {
      const norm = Math.hypot(...x), unit = Float64Array.from(x, (value) => value / norm);
      const state = circuit.run(rotations, unit);
      return { norm, unit, state, scores: circuit.expectations(state, classes) };
    };
    return {
      scores: (x) => prepare(x).scores,
      gradient(x, pull) {
        const { norm, unit, state, scores } = prepare(x);
        const by = circuit.backward(theta.data, rotations, state, pull(scores), true);
        const along = unit.reduce((sum, value, i) => sum + value * by[i], 0);
        return { scores, gradient: unit.map((value, i) => (by[i] - along * value) / norm) };
      },
    };
  }

  // z = W x; scores S sin z + C cos z.
  function fourier(tensors) {
    const W = tensors["frequencies.weight"], S = tensors["sine.weight"];
    const C = tensors["cosine.weight"], [classes, neurons] = S.shape, pixels = W.shape[1];
    const prepare = (x) => {
      const z = new Float64Array(neurons);
      for (let i = 0; i < neurons; i++) {
        for (let p = 0; p < pixels; p++) z[i] += W.data[i * pixels + p] * x[p];
      }
      const sin = z.map(Math.sin), cos = z.map(Math.cos), scores = new Float64Array(classes);
      for (let j = 0; j < classes * neurons; j++) {
        scores[Math.floor(j / neurons)] +=
          S.data[j] * sin[j % neurons] + C.data[j] * cos[j % neurons];
      }
      return { sin, cos, scores };
    };
    return {
      scores: (x) => prepare(x).scores,
      gradient(x, pull) {
        const { sin, cos, scores } = prepare(x), weights = pull(scores);
        const gradient = new Float64Array(pixels);
        for (let i = 0; i < neurons; i++) {
          let by = 0;
          for (let k = 0, j = i; k < classes; k++, j += neurons) {
            by += weights[k] * (S.data[j] * cos[i] - C.data[j] * sin[i]);
          }
          for (let p = 0; p < pixels; p++) gradient[p] += by * W.data[i * pixels + p];
        }
        return { scores, gradient };
      },
    };
  }

  // Convolution without padding, ReLU, the largest of each 2x2, linear.
  function convnet(tensors, [rows, columns]) {
    const kernels = tensors["conv.weight"], offsets = tensors["conv.bias"].data;
    const V = tensors["linear.weight"], bias = tensors["linear.bias"].data;
    const [channels, , size] = kernels.shape, [classes, units] = V.shape;
    const high = (rows - size + 1) >> 1, wide = (columns - size + 1) >> 1;
    const window = (x, channel, row, column) => {
      let sum = offsets[channel];
      for (let i = 0; i < size; i++) {
        for (let j = 0; j < size; j++) {
          sum += kernels.data[(channel * size + i) * size + j] * x[(row + i) * columns + column + j];
        }
      }
      return sum;
    };
    const prepare = (x) => {
      const pooled = new Float64Array(units), from = new Int32Array(units).fill(-1);
      for (let unit = 0; unit < units; unit++) {
        const channel = Math.floor(unit / (high * wide));
        const row = 2 * (Math.floor(unit / wide) % high), column = 2 * (unit % wide);
        for (let corner = 0; corner < 4; corner++) {
          const r = row + (corner >> 1), c = column + (corner & 1);
          const value = window(x, channel, r, c);
          if (value > pooled[unit]) [pooled[unit], from[unit]] = [value, r * columns + c];
        }
      }
      const scores = Float64Array.from(bias);
      for (let j = 0; j < classes * units; j++) {
        scores[Math.floor(j / units)] += V.data[j] * pooled[j % units];
      }
      return { from, scores };
    };
    return {
      scores: (x) => prepare(x).scores,
      gradient(x, pull) {
        const { from, scores } = prepare(x), weights = pull(scores);
        const gradient = new Float64Array(rows * columns);
        for (let unit = 0; unit < units; unit++) {
          if (from[unit] < 0) continue;
          let by = 0;
          for (let k = 0; k < classes; k++) by += weights[k] * V.data[k * units + unit];
          const channel = Math.floor(unit / (high * wide));
          for (let i = 0; i < size; i++) {
            for (let j = 0; j < size; j++) {
              gradient[from[unit] + i * columns + j] +=
                by * kernels.data[(channel * size + i) * size + j];
            }
          }
        }
        return { scores, gradient };
      },
    };
  }

  const KINDS = {
    reupload: (tensors, shape, classes) => reupload(tensors, shape[0] * shape[1], classes, false),
    split: (tensors, shape, classes) => reupload(tensors, shape[0] * shape[1], classes, true),
    amplitude: (tensors, shape, classes) => amplitude(tensors, shape[0] * shape[1], classes),
    fourier: (tensors) => fourier(tensors),
    convnet: (tensors, shape) => convnet(tensors, shape),
  };

  // A model from { kind, tensors: { name: { shape, data } } }, data being base64 of float32.
  function model({ kind, tensors }, imageShape, classes) {
    const read = {};
    for (const [name, { shape, data }] of Object.entries(tensors)) {
      read[name] = { shape, data: decode.floats(data) };
    }
    return KINDS[kind](read, imageShape, classes);
  }

  globalThis.qbenchClassifiers = { decode, model };
})();
