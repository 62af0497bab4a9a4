// The forward pass of one image through a network, and the sum behind any of its numbers.
//
// Arrays lie as in the framework, without its samples: (channels, height, width) or (units,), the
// last axis first.  A layer holds its `output` as a Float32Array that every pass fills anew.
// Numbers are added up in double precision and rounded once.

const INPUT = "input"; // the address of the scaled image in front of the first layer
const MOST_TERMS = 4000; // of a sum; of more, the largest are listed

const size = (shape) => shape.reduce((product, length) => product * length, 1);

// --- scaling --------------------------------------------------------------------------------

// Raw pixels as the first layer takes them; see glassbox.data.dataset.Scaling.
function scale(pixels, { name, low, high, mean, std }, x, channels) {
  const area = x.length / channels;
  let shift = 0;
  let span = 1;
  if (name === "per-image" || name === "min-max") {
    const [least, most] = extremes(pixels);
    if (name === "min-max") [shift, span] = [least, most - least || 1];
    else {
      [shift, span] = meanAndDeviation(pixels);
      if (most === least || span < 1e-18) [shift, span] = [least, 1];
    }
  } else if (name !== "none") [shift, span] = [low, high - low];
  for (let i = 0; i < x.length; i++) {
    const channel = Math.floor(i / area);
    x[i] = ((pixels[i] - shift) / span - (mean[channel] ?? 0)) / (std[channel] ?? 1);
  }
}

function extremes(numbers) {
  let [least, most] = [Infinity, -Infinity];
  for (const number of numbers) {
    least = Math.min(least, number);
    most = Math.max(most, number);
  }
  return [least, most];
}

function meanAndDeviation(numbers) {
  let [sum, squares] = [0, 0];
  for (const number of numbers) sum += number;
  const mean = sum / numbers.length;
  for (const number of numbers) squares += (number - mean) ** 2;
  return [mean, Math.sqrt(squares / numbers.length)];
}

// --- activations ----------------------------------------------------------------------------
// In place, on an array of `channels` times `area` numbers.

function leaky(y, { slope }) {
  for (let i = 0; i < y.length; i++) if (y[i] < 0) y[i] *= slope;
}

function sigmoid(y) {
  for (let i = 0; i < y.length; i++) {
    const e = Math.exp(-Math.abs(y[i]));
    y[i] = (y[i] >= 0 ? 1 : e) / (1 + e);
  }
}

function softmax(y, { word }, channels) {
  const area = y.length / channels;
  for (let at = 0; at < area; at++) {
    let [largest, total] = [-Infinity, 0];
    for (let i = at; i < y.length; i += area) largest = Math.max(largest, y[i]);
    for (let i = at; i < y.length; i += area) total += Math.exp(y[i] - largest);
    for (let i = at; i < y.length; i += area) {
      const z = y[i] - largest;
      y[i] = word === "softmax" ? Math.exp(z) / total : z - Math.log(total);
    }
  }
}

const ACTIVATIONS = {
  identity: () => {},
  relu: leaky,
  leaky_relu: leaky,
  relu6: (y) => y.forEach((z, i) => (y[i] = Math.min(Math.max(z, 0), 6))),
  sigmoid,
  tanh: (y) => y.forEach((z, i) => (y[i] = Math.tanh(z))),
  softmax,
  log_softmax: softmax,
};

// --- layers ---------------------------------------------------------------------------------
// Each fills layer.output, as it is before its activation, from the layer's source.

function copy(layer) {
  layer.output.set(layer.source.output);
}

// Fills layer.padded, whose border stays 0.
function pad({ source, window, padded, paddedWidth }) {
  const [channels, height, width] = source.output_shape;
  const [top, bottom, left] = window.padding;
  let from = 0;
  for (let c = 0; c < channels; c++) {
    for (let i = 0; i < height; i++) {
      let to = (c * (height + top + bottom) + top + i) * paddedWidth + left;
      for (let j = 0; j < width; j++) padded[to++] = source.output[from++];
    }
  }
}

// One output channel after the other, so that its sums stay in the processor's cache, and four taps
// at a time, so that each sum is loaded and stored once for four products.
function convolve(layer) {
  pad(layer);
  const { padded: x, sums, offsets, taps, output, window } = layer;
  const { weight, bias } = layer.parameters;
  const [, columns] = window.output;
  const right = window.stride[1];
  const down = window.stride[0] * layer.paddedWidth;
  for (let o = 0, first = 0; o < layer.output_shape[0]; o++, first += taps) {
    sums.fill(bias ? bias[o] : 0);
    for (let tap = 0; tap < taps; tap += 4) {
      const w0 = weight[first + tap];
      const w1 = tap + 1 < taps ? weight[first + tap + 1] : 0;
      const w2 = tap + 2 < taps ? weight[first + tap + 2] : 0;
      const w3 = tap + 3 < taps ? weight[first + tap + 3] : 0;
      const [p0, p1, p2, p3] = [offsets[tap], offsets[tap + 1], offsets[tap + 2], offsets[tap + 3]];
      for (let k = 0, row = 0; k < sums.length; row += down) {
        const end = k + columns;
        for (let at = row; k < end; at += right) {
          sums[k++] += w0 * x[at + p0] + w1 * x[at + p1] + w2 * x[at + p2] + w3 * x[at + p3];
        }
      }
    }
    output.set(sums, o * sums.length);
  }
}

function multiply(layer) {
  const x = layer.source.output;
  const { weight, bias } = layer.parameters;
  for (let o = 0, w = 0; o < layer.output.length; o++) {
    let sum = 0;
    for (let i = 0; i < x.length; i++) sum += weight[w++] * x[i];
    layer.output[o] = sum + (bias ? bias[o] : 0);
  }
}

// Calls meet(index of the output, indices of the pixels in its window) for every window.
function pool(layer, meet) {
  const [channels, height, width] = layer.source.output_shape;
  const [, oh, ow] = layer.output_shape;
  let to = 0;
  for (let c = 0; c < channels; c++) {
    for (let i = 0; i < oh; i++) {
      const rows = layer.met[0][i];
      for (let j = 0; j < ow; j++) meet(layer, to++, c * height, rows, layer.met[1][j], width, i, j);
    }
  }
}

function largest({ source: { output: x }, output }, to, first, rows, columns, width) {
  let best = -Infinity;
  for (let a = 0; a < rows.length; a++) {
    const row = (first + rows[a]) * width;
    for (let b = 0; b < columns.length; b++) best = Math.max(best, x[row + columns[b]]);
  }
  output[to] = best;
}

function mean({ source: { output: x }, output, counts }, to, first, rows, columns, width, i, j) {
  let sum = 0;
  for (let a = 0; a < rows.length; a++) {
    const row = (first + rows[a]) * width;
    for (let b = 0; b < columns.length; b++) sum += x[row + columns[b]];
  }
  output[to] = sum / (counts[0][i] * counts[1][j]);
}

function meanOfAll({ source, output }) {
  const area = source.output.length / output.length;
  for (let c = 0, from = 0; c < output.length; c++) {
    let sum = 0;
    for (let k = 0; k < area; k++) sum += source.output[from++];
    output[c] = sum / area;
  }
}

function normalize(layer) {
  const { source, output, output_shape, epsilon, parameters: p } = layer;
  const area = output.length / output_shape[0];
  for (let c = 0, i = 0; c < output_shape[0]; c++) {
    const factor = p.weight[c] / Math.sqrt(p.running_var[c] + epsilon);
    for (let k = 0; k < area; k++, i++) {
      output[i] = (source.output[i] - p.running_mean[c]) * factor + p.bias[c];
    }
  }
}

function add({ added: [main, shortcut], output }) {
  for (let i = 0; i < output.length; i++) output[i] = main.output[i] + shortcut.output[i];
}

const KINDS = {
  Conv2D: convolve,
  Dense: multiply,
  MaxPool2D: (layer) => pool(layer, largest),
  AvgPool2D: (layer) => pool(layer, mean),
  GlobalAvgPool2D: meanOfAll,
  BatchNorm: normalize,
  Residual: add,
  Flatten: copy,
  Dropout: copy, // in use it passes everything on
};

// The taps of a window, and the pixels that they meet, for each output along an axis.
function meetings(layer, axis) {
  const { kernel, stride, dilation, padding, output } = layer.window;
  const length = layer.source.output_shape[1 + axis];
  return Array.from({ length: output[axis] }, (_, i) => {
    const start = i * stride[axis] - padding[2 * axis];
    const pixels = Array.from({ length: kernel[axis] }, (_, tap) => start + tap * dilation[axis]);
    return pixels.filter((pixel) => pixel >= 0 && pixel < length);
  });
}

// What a convolution needs beside its output; `offsets` are the places of its taps in the padded
// image, those of one channel after those of another, up to a multiple of four.
function makeRoom(layer) {
  const { kernel, dilation, padding: [top, bottom, left, right], output } = layer.window;
  const [channels, height, width] = layer.source.output_shape;
  const area = (height + top + bottom) * (width + left + right);
  layer.paddedWidth = width + left + right;
  layer.padded = new Float64Array(channels * area);
  layer.sums = new Float64Array(size(output));
  layer.taps = channels * size(kernel);
  layer.offsets = new Int32Array(Math.ceil(layer.taps / 4) * 4);
  for (let tap = 0; tap < layer.taps; tap++) {
    const [c, a, b] = placeOf([channels, ...kernel], tap);
    layer.offsets[tap] = c * area + a * dilation[0] * layer.paddedWidth + b * dilation[1];
  }
}

// --- the network ----------------------------------------------------------------------------

class Network {
  // layers: as `describe` lists them, each with the numbers that it computes with:
  // parameters (Float32Arrays), window, activation, counts, epsilon.
  constructor({ input_shape, scaling, layers, softmax, probabilities }) {
    Object.assign(this, { scaling, softmax, probabilities });
    this.input = { address: INPUT, output_shape: input_shape };
    this.layers = layers.map((layer) => ({ ...layer }));
    this.byAddress = new Map([this.input, ...this.layers].map((layer) => [layer.address, layer]));
    for (const layer of this.byAddress.values()) {
      layer.output = new Float32Array(size(layer.output_shape));
      if (layer === this.input) continue;
      layer.source = this.find(layer.from);
      layer.added = layer.adds?.map((address) => this.find(address));
      layer.compute = KINDS[layer.kind] ?? copy;
      if (layer.window) layer.met = [meetings(layer, 0), meetings(layer, 1)];
      if (layer.kind === "Conv2D") makeRoom(layer);
    }
    this.last = this.layers.at(-1);
  }

  find(address) {
    const found = this.byAddress.get(address);
    if (found) return found;
    throw new Error(`layer: there is none at ${address}; expected one of ${[...this.byAddress.keys()].join(", ")}`);
  }

  // Every layer's output for raw pixels, with channels set to 0 behind the activations:
  // off = {address: [channel, ...]}.  bare: the last layer goes without its activation.
  run(pixels, off, bare = false) {
    for (const [address, channels] of Object.entries(off ?? {})) {
      const { name, output_shape: [count] } = this.find(address);
      const known = channels.every((channel) => Number.isInteger(channel) && channel >= 0 && channel < count);
      if (!known) throw new Error(`off: ${name} has the channels 0 to ${count - 1}, got ${channels}`);
    }
    scale(pixels, this.scaling, this.input.output, this.input.output_shape[0]);
    for (const layer of this.layers) {
      const { output, activation } = layer;
      const [channels] = layer.output_shape;
      layer.compute(layer);
      if (activation && !(bare && layer === this.last)) ACTIVATIONS[activation.word](output, activation, channels);
      layer.off = off?.[layer.address] ?? [];
      const area = output.length / channels;
      for (const channel of layer.off) output.fill(0, channel * area, (channel + 1) * area);
    }
    return this.last.output;
  }

  // What `answer` returns while parameters are changed: changes = [{layer, parameter, index, value}, ...].
  changed(changes, answer) {
    const undo = [];
    try {
      for (const { layer, parameter, index, value } of changes ?? []) {
        const { name, shapes, parameters } = this.find(layer);
        const known = shapes?.[parameter] && isInside(index, shapes[parameter]);
        if (!known || !Number.isFinite(value) || !Number.isFinite(Math.fround(value))) {
          throw new Error(`weights: ${name} has no number ${parameter} [${index}] that ${value} could replace`);
        }
        const at = indexOf(shapes[parameter], index);
        const before = parameters[parameter][at];
        undo.unshift(() => (parameters[parameter][at] = before));
        parameters[parameter][at] = value;
      }
      return answer();
    } finally {
      for (const back of undo) back();
    }
  }

  // The scores of the last pass, as CNN.scores gives them.
  scores() {
    const scores = this.last.output.slice();
    if (this.softmax) softmax(scores, { word: "softmax" }, scores.length);
    return scores;
  }

  // The probabilities of the last pass, as CNN.predict_proba gives them.
  chances() {
    const chances = this.scores();
    if (this.probabilities === "shares") {
      const total = chances.reduce((sum, score) => sum + score, 0);
      return chances.map((score) => (total === 0 ? 1 / chances.length : score / total));
    }
    if (this.probabilities === "softmax") softmax(chances, { word: "softmax" }, chances.length);
    return chances;
  }

  // The sum behind one number of the last pass.
  sum(address, place) {
    const layer = this.find(address);
    if (layer === this.input || !isInside(place, layer.output_shape)) {
      throw new Error(`place: expected one inside ${layer.output_shape.join(" x ")} of a layer, got [${place}]`);
    }
    const found = {
      from: layer.from,
      parts: [],
      bias: null,
      activation: nameOf(layer.activation),
      ...(SUMS[layer.kind] ?? activated)(layer, place),
      result: valueAt(layer, place),
      field: this.field(layer, place),
    };
    if (layer.off.includes(place[0])) found.formula = `0, for it is switched off (else ${found.formula})`;
    return found;
  }

  // The region [top, bottom, left, right) of the image that a number can depend on.
  field(layer, place) {
    const [row, column] = place.length === 3 ? place.slice(1) : [place[0], 0];
    const regions = new Map([[layer.address, [row, row + 1, column, column + 1]]]);
    for (const each of [...this.layers].reverse()) {
      const region = regions.get(each.address);
      if (!region) continue;
      const before = each.adds ? region : regionBefore(each, region);
      for (const source of each.adds ?? [each.from]) regions.set(source, both(regions.get(source), before));
    }
    return regions.get(INPUT);
  }
}

// --- the sum behind a number ----------------------------------------------------------------

const short = (number) => String(Number(number.toPrecision(6)));
const nameOf = (activation) => (activation && activation.word !== "identity" ? activation.word : null);
const plane = (shape) => (shape.length === 3 ? shape.slice(1) : [shape[0], 1]);

function isInside(place, shape) {
  return place?.length === shape.length && place.every((at, axis) => Number.isInteger(at) && at >= 0 && at < shape[axis]);
}

function indexOf(shape, place) {
  return place.reduce((sum, at, axis) => sum * shape[axis] + at, 0);
}

function placeOf(shape, index) {
  return shape.map((length, axis) => Math.floor(index / size(shape.slice(axis + 1))) % length);
}

function valueAt(layer, place) {
  return layer.output[indexOf(layer.output_shape, place)];
}

function part(name, layer, place) {
  return { name, value: valueAt(layer, place), place, from: layer.address };
}

function taps(layer, [, i, j]) {
  return [layer.met[0][i], layer.met[1][j]];
}

// Places in the source and the weights that meet them, for the layers that add up products.
const WEIGHTED = {
  Conv2D(layer, [o, i, j]) {
    const [rows, columns] = taps(layer, [o, i, j]);
    const { stride, dilation, padding } = layer.window;
    const terms = [];
    for (let c = 0; c < layer.source.output_shape[0]; c++) {
      for (const row of rows) {
        for (const column of columns) {
          const a = (row - i * stride[0] + padding[0]) / dilation[0];
          const b = (column - j * stride[1] + padding[2]) / dilation[1];
          terms.push([[c, row, column], layer.parameters.weight[indexOf(layer.shapes.weight, [o, c, a, b])]]);
        }
      }
    }
    return terms;
  },
  Dense(layer, [unit]) {
    const { output, output_shape } = layer.source;
    const first = unit * output.length;
    return Array.from(output, (_, k) => [placeOf(output_shape, k), layer.parameters.weight[first + k]]);
  },
  AvgPool2D(layer, [c, i, j]) {
    const [rows, columns] = taps(layer, [c, i, j]);
    const weight = 1 / (layer.counts[0][i] * layer.counts[1][j]);
    return rows.flatMap((row) => columns.map((column) => [[c, row, column], weight]));
  },
  GlobalAvgPool2D({ source }, [c]) {
    const [, height, width] = source.output_shape;
    return Array.from({ length: height * width }, (_, k) => [[c, Math.floor(k / width), k % width], 1 / (height * width)]);
  },
};

function products(layer, place) {
  return WEIGHTED[layer.kind](layer, place).map(([at, weight]) => {
    const value = valueAt(layer.source, at);
    return { place: at, weight, value, product: weight * value };
  });
}

function total(terms, bias) {
  return terms.reduce((sum, { product }) => sum + product, 0) + (bias ?? 0);
}

function weighted(layer, place) {
  const all = products(layer, place);
  const bias = layer.parameters.bias?.[place[0]] ?? null;
  const before = total(all, bias);
  let formula = `sum of ${all.length} products`;
  if (bias !== null) formula += ` ${short(before - bias)} + bias ${short(bias)}`;
  const order = [...all.keys()].sort((i, j) => Math.abs(all[j].product) - Math.abs(all[i].product));
  const kept = new Set(order.slice(0, MOST_TERMS));
  const rest = all.filter((_, k) => !kept.has(k));
  return {
    kind: "weighted",
    terms: all.filter((_, k) => kept.has(k)),
    left_out: rest.length,
    left_out_sum: total(rest),
    bias,
    before,
    formula: around(layer, formula),
    parts: beside(layer, place, (at) => total(products(layer, at), layer.parameters.bias?.[at[0]])),
  };
}

function around({ activation }, formula) {
  return nameOf(activation) ? `${nameOf(activation)}(${formula})` : formula;
}

const mixes = (activation) => /softmax/.test(activation?.word);

// What a softmax at the end of a layer divides by: the sums of all channels at this place.
function beside(layer, place, sumAt) {
  if (!mixes(layer.activation)) return [];
  return Array.from({ length: layer.output_shape[0] }, (_, channel) => {
    const at = [channel, ...place.slice(1)];
    return { name: "before", value: sumAt(at), place: at, from: layer.address };
  });
}

function winner(layer, place) {
  const [rows, columns] = taps(layer, place);
  const candidates = rows.flatMap((row) =>
    columns.map((column) => {
      const at = [place[0], row, column];
      return { place: at, value: valueAt(layer.source, at) };
    }),
  );
  const won = candidates.reduce((best, each) => (each.value > best.value ? each : best));
  return {
    kind: "winner",
    candidates,
    winner: won,
    before: won.value,
    formula: `the largest of ${candidates.length} numbers, at [${won.place.join(", ")}]`,
  };
}

function normalized(layer, place) {
  const x = part("x", layer.source, place);
  const { weight, bias, running_mean: mean, running_var: variance } = layer.parameters;
  const numbers = Object.entries({ mean, variance, weight, bias }).map(([name, all]) => ({ name, value: all[place[0]] }));
  const [m, v, w, b] = numbers.map(({ value }) => value);
  return {
    kind: "formula",
    before: ((x.value - m) / Math.sqrt(v + layer.epsilon)) * w + b,
    formula: `(${short(x.value)} - mean) / sqrt(variance + ${layer.epsilon}) * weight + bias`,
    parts: [x, ...numbers],
  };
}

function summed(layer, place) {
  const [main, shortcut] = layer.added;
  const parts = [part("main path", main, place), part("shortcut", shortcut, place)];
  const formula = parts.map(({ value }) => short(value)).join(" + ");
  const sumAt = (at) => valueAt(main, at) + valueAt(shortcut, at);
  return {
    kind: "formula",
    before: sumAt(place),
    formula: around(layer, formula),
    parts: [...parts, ...beside(layer, place, sumAt)],
  };
}

function passed(why, at) {
  return (layer, place) => {
    const x = part("x", layer.source, at(layer, place));
    return { kind: "formula", before: x.value, formula: `${why}, x = ${short(x.value)}`, parts: [x] };
  };
}

function activated(layer, place) {
  const { source, activation } = layer;
  const x = part("x", source, place);
  const channels = mixes(activation) ? [...Array(source.output_shape[0]).keys()] : [place[0]];
  const formula = activation.word === "softmax" ? `exp(x) / sum of ${channels.length} exp` : `${activation.word}(x)`;
  return {
    kind: "formula",
    before: x.value,
    formula: `${formula}, x = ${short(x.value)}`,
    activation: activation.word,
    parts: channels.map((channel) => part("x", source, [channel, ...place.slice(1)])),
  };
}

const SUMS = {
  Conv2D: weighted,
  Dense: weighted,
  AvgPool2D: weighted,
  GlobalAvgPool2D: weighted,
  MaxPool2D: winner,
  BatchNorm: normalized,
  Residual: summed,
  Dropout: passed("x, unchanged in use", (_, place) => place),
  Flatten: passed("the same number in a row", ({ source }, [unit]) => placeOf(source.output_shape, unit)),
};

// --- receptive fields -----------------------------------------------------------------------

// The region of a layer's input that a region of its output is made of, without padding.
function regionBefore(layer, region) {
  const [top, bottom, left, right] = region;
  const shape = layer.source.output_shape;
  const [height, width] = plane(shape);
  if (!(bottom > top && right > left)) return [0, 0, 0, 0];
  if (layer.window) return [...reach(layer.met[0].slice(top, bottom)), ...reach(layer.met[1].slice(left, right))];
  const seesAll = layer.kind === "Dense" || layer.kind === "GlobalAvgPool2D" || (mixes(layer.activation) && shape.length === 1);
  if (seesAll) return [0, height, 0, width];
  if (String(plane(layer.output_shape)) === String([height, width])) return region;
  if (bottom - top > 1) return [0, height, 0, width];
  const [, row, column] = placeOf(shape, top); // of a flattened volume
  return [row, row + 1, column, column + 1];
}

function reach(pixels) {
  const all = pixels.flat();
  return all.length ? [Math.min(...all), Math.max(...all) + 1] : [0, 0];
}

// The smallest region that holds both; empty ones do not count.
function both(one, two) {
  if (!one || !one[1]) return two;
  if (!two[1]) return one;
  return [Math.min(one[0], two[0]), Math.max(one[1], two[1]), Math.min(one[2], two[2]), Math.max(one[3], two[3])];
}

export default { Network, size };
