// The file host: a `model` for explorer.js that answers by itself, from the network in the file.

import forward from "./forward.js";

const { Network, size } = forward;
const SLICE = 30; // milliseconds of work after which the page may draw
const FAINT = 16; // of 255: a picture with less contrast shows nothing
const MOST_LISTED = 50; // images named in an answer
const EXPLAINS = ["occlusion"];

// --- arrays as JSON -------------------------------------------------------------------------

const TYPES = { uint8: Uint8Array, float32: Float32Array, float16: Uint16Array };

function decode({ shape, type, data }) {
  const text = atob(data);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
  const numbers = new TYPES[type](bytes.buffer);
  if (numbers.length !== size(shape)) throw new Error(`an array has ${numbers.length} numbers, expected ${shape.join(" x ")}`);
  return type === "float16" ? Float32Array.from(numbers, half) : numbers;
}

// The number that 16 bits stand for: sign, 5 bits of exponent, 10 of fraction.
function half(bits) {
  const exponent = (bits >> 10) & 31;
  const fraction = (bits & 1023) / 1024;
  const size = exponent ? (1 + fraction) * 2 ** (exponent - 15) : fraction * 2 ** -14;
  return bits >> 15 ? -size : size;
}

function encode(numbers, shape) {
  const bytes = new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength);
  let text = "";
  for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return { shape, type: numbers instanceof Uint8Array ? "uint8" : "float32", data: btoa(text) };
}

const best = (numbers) => numbers.indexOf(Math.max(...numbers));

// --- preparation ----------------------------------------------------------------------------
// A plane is { height, width, pixels }, numbers from 0 to 255.

// A drawn or photographed digit as those of MNIST were made, for evenly lit pictures: light ink on
// black, fitted into 20 x 20 of 28 x 28 pixels, its center of mass in the middle.
// glassbox.data.prepare takes more trouble with shadows, dirt and thin strokes.
function prepareDigit(picture, size, step) {
  const found = gray(picture);
  step("gray", [found]);
  const paper = median(border(found));
  const sign = paper > 127 ? -1 : 1;
  const strongest = found.pixels.reduce((most, value) => Math.max(most, sign * (value - paper)), 0);
  if (strongest < FAINT) throw new Error("the picture is blank: no ink stands out from the ground");
  const ink = { ...found, pixels: found.pixels.map((value) => Math.max(0, (255 * sign * (value - paper)) / strongest)) };
  step("ink", [ink]);
  const box = cropped(ink, boxOf(ink));
  step("cropped", [box]);
  const scale = Math.round((20 / 28) * size) / Math.max(box.height, box.width);
  const fitted = resized(box, Math.max(1, Math.round(box.height * scale)), Math.max(1, Math.round(box.width * scale)));
  step("fitted", [fitted]);
  return [centered(fitted, size)];
}

function gray(planes) {
  if (planes.length < 3) return planes[0];
  const [red, green, blue] = planes.map(({ pixels }) => pixels);
  return { ...planes[0], pixels: red.map((value, i) => 0.299 * value + 0.587 * green[i] + 0.114 * blue[i]) };
}

function border({ height, width, pixels }) {
  return pixels.filter((_, i) => {
    const row = Math.floor(i / width);
    return row === 0 || row === height - 1 || i % width === 0 || i % width === width - 1;
  });
}

function median(numbers) {
  return Float32Array.from(numbers).sort()[numbers.length >> 1];
}

// [top, bottom, left, right) of what is lighter than half of white.
function boxOf({ height, width, pixels }) {
  let [top, bottom, left, right] = [height, 0, width, 0];
  pixels.forEach((value, i) => {
    if (value < 128) return;
    const [row, column] = [Math.floor(i / width), i % width];
    [top, bottom] = [Math.min(top, row), Math.max(bottom, row + 1)];
    [left, right] = [Math.min(left, column), Math.max(right, column + 1)];
  });
  return [top, bottom, left, right];
}

function cropped({ width, pixels }, [top, bottom, left, right]) {
  const inside = pixels.filter((_, i) => {
    const [row, column] = [Math.floor(i / width), i % width];
    return row >= top && row < bottom && column >= left && column < right;
  });
  return { height: bottom - top, width: right - left, pixels: inside };
}

// The middle of a plane, with sides in the ratio of height to width.
function middleOf(plane, height, width) {
  const scale = Math.min(plane.height / height, plane.width / width);
  const [rows, columns] = [Math.round(height * scale), Math.round(width * scale)];
  const [top, left] = [(plane.height - rows) >> 1, (plane.width - columns) >> 1];
  return cropped(plane, [top, top + rows, left, left + columns]);
}

function centered({ height, width, pixels }, size) {
  let [mass, down, across] = [0, 0, 0];
  pixels.forEach((value, i) => {
    mass += value;
    down += value * Math.floor(i / width);
    across += value * (i % width);
  });
  const start = (side, middle) => Math.min(Math.max(Math.round(size / 2 - middle), 0), size - side);
  const [top, left] = [start(height, down / mass), start(width, across / mass)];
  const out = new Float32Array(size * size);
  pixels.forEach((value, i) => (out[(top + Math.floor(i / width)) * size + left + (i % width)] = value));
  return { height: size, width: size, pixels: out };
}

// First across, then down.
function resized({ height, width, pixels }, outHeight, outWidth) {
  const columns = turned(along(pixels, height, width, outWidth), height, outWidth);
  return { height: outHeight, width: outWidth, pixels: turned(along(columns, outWidth, height, outHeight), outWidth, outHeight) };
}

// Rows of another length: shorter ones hold means of the pixels that each covers, in longer ones
// pixels lie on straight lines between their neighbors.
function along(pixels, rows, length, outLength) {
  const out = new Float32Array(rows * outLength);
  const scale = length / outLength;
  const reach = scale > 1 ? scale / 2 : 1;
  for (let to = 0; to < outLength; to++) {
    const middle = (to + 0.5) * scale - 0.5;
    const weights = [];
    for (let from = Math.max(0, Math.ceil(middle - reach)); from <= Math.min(length - 1, middle + reach); from++) {
      weights.push([from, scale > 1 ? 1 : 1 - Math.abs(from - middle)]);
    }
    const total = weights.reduce((sum, [, weight]) => sum + weight, 0);
    for (const [from, weight] of weights) {
      for (let row = 0; row < rows; row++) out[row * outLength + to] += (weight / total) * pixels[row * length + from];
    }
  }
  return out;
}

function turned(pixels, rows, columns) {
  return Float32Array.from(pixels, (_, i) => pixels[(i % rows) * columns + Math.floor(i / rows)]);
}

// --- the answers ----------------------------------------------------------------------------

// saved: what glassbox.explorer.single_file.record writes.
function networkOf({ describe, layers, ...settings }) {
  return new Network({
    ...settings,
    input_shape: describe.input_shape,
    layers: describe.layers.map((layer, number) => {
      const arrays = Object.entries(layers[number].arrays).map(([name, array]) => [name, decode(array)]);
      return { ...layer, ...layers[number], parameters: Object.fromEntries(arrays), shapes: layer.parameters };
    }),
  });
}

// A `model` of what was saved.
function open(saved) {
  const { samples, describe: described } = saved;
  const { input_shape, classes, range: [low, high] } = described;
  const digits = "0123456789" === classes.slice(0, 10).join("");
  const network = networkOf(saved);
  const stored = samples.map(({ image, label }) => ({ pixels: decode(image), label }));
  const answersBefore = stored.map(({ pixels }) => best(network.run(pixels)));

  function pixelsOf({ image }) {
    if (String(image?.shape) !== String(input_shape)) {
      throw new Error(`image: expected the shape ${input_shape.join(" x ")}, got ${image?.shape?.join(" x ")}`);
    }
    return decode(image);
  }

  // What `answer` returns behind a pass of the request's image, with the request's changes.
  function seen(request, answer) {
    const pixels = pixelsOf(request);
    return network.changed(request.weights, () => {
      network.run(pixels, request.off);
      return answer();
    });
  }

  const look = (request) =>
    seen(request, () => ({
      input: encode(network.input.output, input_shape),
      maps: network.layers.map(({ output, output_shape }) => encode(output, output_shape)),
      scores: [...network.scores()],
      probabilities: [...network.chances()],
    }));

  const sum = (request) => seen(request, () => network.sum(request.layer, request.place));

  function sample({ index }) {
    if (samples[index]) return { ...samples[index], index };
    throw new Error(`index: expected a number from 0 to ${samples.length - 1}, got ${index}`);
  }

  function prepare({ image }) {
    const [channels, height, width] = image.shape;
    const all = decode(image);
    const picture = Array.from({ length: channels }, (_, c) => ({
      height,
      width,
      pixels: Float32Array.from(all.subarray(c * height * width, (c + 1) * height * width)),
    }));
    const steps = [];
    const step = (name, planes) => {
      const joined = Uint8Array.from(planes.flatMap(({ pixels }) => [...pixels]), Math.round);
      steps.push({ name, image: encode(joined, [planes.length, planes[0].height, planes[0].width]) });
    };
    const [wanted, outHeight, outWidth] = input_shape;
    if (digits && wanted === 1 && outHeight === outWidth) {
      step("centered", prepareDigit(picture, outHeight, step));
    } else {
      const planes = wanted === 1 ? [gray(picture)] : Array.from({ length: wanted }, (_, c) => picture[c] ?? picture[0]);
      step("resized", planes.map((plane) => resized(middleOf(plane, outHeight, outWidth), outHeight, outWidth)));
    }
    const raw = Array.from(decode(steps.at(-1).image), (value) => low + (value / 255) * (high - low));
    const bytes = low >= 0 && high > 1 && high <= 255;
    return { image: encode(bytes ? Uint8Array.from(raw, Math.round) : Float32Array.from(raw), input_shape), steps };
  }

  function rescore(request) {
    const answers = network.changed(request.weights, () => stored.map(({ pixels }) => best(network.run(pixels, request.off))));
    const right = (given) => given.filter((answer, k) => answer === stored[k].label).length / stored.length;
    return {
      accuracy: right(answers),
      before: right(answersBefore),
      count: stored.length,
      changed: [...answers.keys()].filter((k) => answers[k] !== answersBefore[k]).slice(0, MOST_LISTED),
    };
  }

  // How much the score of a class falls where a patch covers the picture with its mean color, for
  // each pixel the mean of the patches that cover it: glassbox.explain.occlusion.
  async function explain(request) {
    if (!EXPLAINS.includes(request.method)) throw new Error(`method: a file answers ${EXPLAINS.join(", ")}, got ${request.method}`);
    const pixels = pixelsOf(request);
    const [channels, height, width] = input_shape;
    const area = height * width;
    const patch = Math.max(1, Math.floor(Math.min(height, width) / 7));
    const stride = Math.max(1, patch >> 1);
    const means = Array.from({ length: channels }, (_, c) => pixels.subarray(c * area, (c + 1) * area).reduce((a, b) => a + b, 0) / area);
    const colors = pixels instanceof Uint8Array ? means.map(Math.round) : means;
    const scores = (given) => network.changed(request.weights, () => network.run(given, request.off, true));
    const chosen = request.class ?? request.label ?? best(scores(pixels));
    const score = (given) => scores(given)[chosen];
    const whole = score(pixels);
    const [falls, counts] = [new Float32Array(area), new Float32Array(area)];
    let started = performance.now();
    for (const top of starts(height, patch, stride)) {
      for (const left of starts(width, patch, stride)) {
        const covered = pixels.slice();
        const places = Array.from({ length: patch * patch }, (_, k) => (top + Math.floor(k / patch)) * width + left + (k % patch));
        for (const at of places) colors.forEach((color, c) => (covered[c * area + at] = color));
        const fall = whole - score(covered);
        for (const at of places) {
          falls[at] += fall;
          counts[at] += 1;
        }
        if (performance.now() - started < SLICE) continue;
        await new Promise((go) => setTimeout(go));
        started = performance.now();
      }
    }
    const text = `how much the score of '${classes[chosen]}' falls where a patch of ${patch} x ${patch} covers the image`;
    return { map: encode(falls.map((fall, at) => fall / counts[at]), [height, width]), class: chosen, text };
  }

  const words = { describe: () => ({ ...described, can: Object.keys(words), explains: EXPLAINS }), look, sum, prepare, explain };
  if (samples.length) words.sample = sample;
  if (stored.some(({ label }) => label !== null)) words.rescore = rescore;

  const listeners = new Set();

  async function send(request) {
    let answer;
    try {
      if (!Object.hasOwn(words, request.ask)) throw new Error(`ask: expected one of ${Object.keys(words).join(", ")}, got ${request.ask}`);
      answer = await words[request.ask](request);
    } catch (error) {
      answer = { error: error.message };
    }
    for (const listener of listeners) listener({ ...answer, id: request.id }, []);
  }

  return {
    send: (request) => void setTimeout(() => send(request)),
    on: (_, listener) => listeners.add(listener),
    off: (_, listener) => listeners.delete(listener),
  };
}

// Where patches begin so that they cover a length, the last one at its end.
function starts(length, patch, stride) {
  return [...new Set(Array.from({ length: Math.ceil((length - patch) / stride) + 1 }, (_, k) => Math.min(k * stride, length - patch)))];
}

export default { open, networkOf };
