// The explorer's front end: draws what a network makes of an image, layer by layer, and shows the
// sum behind every number. An anywidget module: all that it knows of the network it asks of `model`,
// so a page, a notebook and a single file show the same.
//
//   1 elements   2 asking   3 numbers and colors   4 maps   5 layers   6 the image
//   7 scores     8 the panel of sums   9 what is changed   10 explanations   11 training
//   12 the guide   13 the whole

// --- 1 elements -------------------------------------------------------------------------------

/** An element: what begins with "on" listens, true and false are properties, all else attributes. */
function h(tag, given = {}, ...inside) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (value === null || value === undefined) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (typeof value === "boolean") made[name] = value;
    else if (name === "style") made.style.cssText = value; // a page may forbid the attribute
    else made.setAttribute(name, value);
  }
  made.append(...inside.flat().filter((each) => each || each === 0));
  return made;
}

const button = (text, onclick, given = {}) => h("button", { type: "button", onclick, ...given }, text);

function select(label, options, onchange) {
  const made = h("select", { onchange: () => onchange(made.value), "aria-label": label });
  for (const [value, text] of options) made.append(h("option", { value }, text));
  return [h("label", {}, `${label} `, made), made];
}

/** Buttons of which one is pressed: [[value, text], ...]. */
function choice(label, options, onchoose) {
  const buttons = options.map(([value, text]) => button(text, () => made.choose(value)));
  const made = h("div", { role: "group", "aria-label": label, class: "choice" }, buttons);
  made.choose = (value, tell = true) => {
    options.forEach(([each], k) => buttons[k].setAttribute("aria-pressed", each === value));
    if (tell) onchoose(value);
  };
  return made;
}

const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

/** Buttons in rows of which one is in the order of Tab, and arrows lead to the others. */
function roving(grid, columns) {
  const all = () => [...grid.querySelectorAll("button")];
  all().forEach((each, k) => (each.tabIndex = k ? -1 : 0));
  grid.addEventListener("keydown", (event) => {
    const list = all();
    const [down, right] = ARROWS[event.key] ?? [0, 0];
    const to = list[list.indexOf(event.target) + down * columns + right];
    if (!to || to === event.target) return;
    event.preventDefault();
    list.forEach((each) => (each.tabIndex = each === to ? 0 : -1));
    to.focus();
  });
  return grid;
}

// --- 2 asking ---------------------------------------------------------------------------------

/** Questions to the host, by number; what comes without a number is an event. */
class Host {
  constructor(model, onevent) {
    this.model = model;
    this.onevent = onevent;
    this.number = Math.floor(Math.random() * 2 ** 30) * 2 ** 20; // views of one model share its replies
    this.waiting = new Map();
    model.on("msg:custom", this.hear);
  }

  ask(word, more = {}) {
    const id = ++this.number;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.model.send({ id, ask: word, ...more });
    });
  }

  hear = (message) => {
    if (message.event) return this.onevent(message);
    const asked = this.waiting.get(message.id);
    this.waiting.delete(message.id);
    if (message.error) asked?.reject(new Error(message.error));
    else asked?.resolve(message);
  };

  close() {
    this.model.off?.("msg:custom", this.hear);
  }
}

/** A call that runs `work` one at a time; calls meanwhile count as one, and the last one counts. */
function latest(work, fail) {
  let running = false;
  let wanted = false;
  return async () => {
    wanted = true;
    if (running) return;
    running = true;
    while (wanted) {
      wanted = false;
      await work().catch(fail);
    }
    running = false;
  };
}

/** Note in the browser's timeline how long something took, the last time alone. */
function measured(name, start) {
  if (start === undefined) return;
  performance.clearMeasures(name);
  performance.measure(name, { start });
}

const TYPES = { uint8: Uint8Array, float32: Float32Array };

/** {shape, type, data: base64} as {shape, type, data: typed array}. */
function decode({ shape, type, data }) {
  const text = atob(data);
  const bytes = new Uint8Array(text.length);
  for (let k = 0; k < text.length; k++) bytes[k] = text.charCodeAt(k);
  return { shape, type, data: new TYPES[type](bytes.buffer) };
}

function encode({ shape, type, data }) {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  let text = "";
  for (let k = 0; k < bytes.length; k += 8192) text += String.fromCharCode(...bytes.subarray(k, k + 8192));
  return { shape, type, data: btoa(text) };
}

// --- 3 numbers and colors ---------------------------------------------------------------------

function show(number, digits = 4) {
  if (number === null || !Number.isFinite(number)) return "not finite";
  const size = Math.abs(number);
  if (size && (size < 1e-3 || size >= 1e5)) return number.toExponential(2);
  return String(Number(number.toPrecision(digits)));
}

/** A number for a small cell, in at most five characters; "-.25" is -0.25. */
function brief(number) {
  if (number === null || !Number.isFinite(number)) return "none";
  const size = Math.abs(number);
  if (size >= 1e4) return number.toExponential(0);
  if (size && size < 5e-4) return "≈ 0";
  const digits = size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3;
  return String(Number(number.toFixed(digits))).replace(/^(-?)0\./, "$1.");
}

const percent = (share) => (Number.isFinite(share) ? `${(100 * share).toFixed(1)} %` : "not finite");
const count = (number) => number.toLocaleString("en");
const several = (number, thing) => `${count(number)} ${thing}${number === 1 ? "" : "s"}`;
const times = (shape) => shape.join(" × ");

// Blue for negative and orange for positive numbers can be told apart by color-blind readers, too.
const STOPS = {
  light: [[5, 48, 97], [33, 102, 172], [146, 197, 222], [255, 255, 255], [253, 184, 99], [214, 88, 4], [112, 34, 3]],
  dark: [[206, 232, 255], [79, 160, 235], [17, 66, 122], [14, 16, 20], [122, 54, 4], [245, 138, 30], [255, 232, 190]],
};
const STEPS = 255; // colors on each side of zero
const NOT_FINITE = 0xffd000d0;

function colorTable(stops) {
  const table = new Uint32Array(2 * STEPS + 1);
  for (let k = 0; k < table.length; k++) {
    const at = (k / (table.length - 1)) * (stops.length - 1);
    const low = Math.min(Math.floor(at), stops.length - 2);
    const [r, g, b] = stops[low].map((from, c) => Math.round(from + (at - low) * (stops[low + 1][c] - from)));
    table[k] = 0xff000000 | (b << 16) | (g << 8) | r;
  }
  return table;
}

const COLORS = { light: colorTable(STOPS.light), dark: colorTable(STOPS.dark) };
const darkMode = matchMedia("(prefers-color-scheme: dark)");
const colors = () => COLORS[darkMode.matches ? "dark" : "light"];

function colorOf(number, scale) {
  if (number === null || !Number.isFinite(number)) return NOT_FINITE;
  const share = scale ? Math.max(-1, Math.min(1, number / scale)) : 0;
  return colors()[STEPS + Math.round(share * STEPS)];
}

/** CSS for a cell: the color of a number, and a text color that can be read on it. */
function cellStyle(number, scale) {
  const color = colorOf(number, scale);
  const rgb = [color & 255, (color >> 8) & 255, (color >> 16) & 255];
  const [r, g, b] = rgb.map((part) => (part / 255) ** 2.2);
  const light = 0.2126 * r + 0.7152 * g + 0.0722 * b;
  return `background:rgb(${rgb.join(" ")});color:${light > 0.179 ? "#000" : "#fff"}`;
}

/** The largest size of a finite number. */
function scaleOf(data) {
  let most = 0;
  for (const number of data) {
    const size = Math.abs(number);
    if (size > most && size < Infinity) most = size;
  }
  return most;
}

/** Numbers of a signed scale on a canvas, one pixel each. */
function paint(canvas, data, height, width, scale) {
  resize(canvas, height, width);
  const picture = new ImageData(width, height);
  const pixels = new Uint32Array(picture.data.buffer);
  const table = colors();
  for (let k = 0; k < data.length; k++) {
    const share = scale ? data[k] / scale : 0;
    pixels[k] = Number.isFinite(data[k])
      ? table[STEPS + Math.round(Math.max(-1, Math.min(1, share)) * STEPS)]
      : NOT_FINITE;
  }
  canvas.getContext("2d").putImageData(picture, 0, 0);
}

/** A raw image (channels, height, width) in its own colors: gray, or its first three channels. */
function paintRaw(canvas, image, [low, high]) {
  const [channels, height, width] = image.shape;
  resize(canvas, height, width);
  const picture = new ImageData(width, height);
  const size = height * width;
  for (let k = 0; k < size; k++)
    for (let c = 0; c < 3; c++)
      picture.data[4 * k + c] = (255 * (image.data[k + (channels < 3 ? 0 : c) * size] - low)) / (high - low);
  for (let k = 0; k < size; k++) picture.data[4 * k + 3] = 255;
  canvas.getContext("2d").putImageData(picture, 0, 0);
}

function resize(canvas, height, width) {
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
}

const legend = (scale) =>
  scale
    ? h("span", { class: "legend", title: "One scale for the whole layer" }, show(-scale, 3), h("i"), show(scale, 3))
    : h("span", { class: "legend" }, "all zero");

// --- 4 maps -----------------------------------------------------------------------------------

/** One map, or the units of a layer as cells: a canvas whose pixels can be chosen. */
class MapView {
  constructor(layer, channel, stack) {
    Object.assign(this, { layer, channel, stack });
    this.canvas = h("canvas", { role: "button", tabindex: "-1" });
    this.cursor = h("i", { class: "cursor", hidden: true });
    this.patch = h("i", { class: "patch", hidden: true });
    this.frame = h("div", { class: "frame" }, this.canvas, this.cursor, this.patch);
    this.element = h("figure", { class: layer.cells ? "map cells" : "map" }, this.frame);
    if (layer.cells) {
      this.element.style.maxWidth = `${layer.columns * 22}px`;
    } else {
      const caption = h("figcaption", {}, String(channel));
      if (layer.filters && stack.ontoggle) {
        this.switch = button("on", () => stack.toggle(layer, channel), {
          "aria-label": `${layer.name}, filter ${channel}: on`, "aria-pressed": "true",
        });
        caption.append(this.switch);
      }
      this.element.append(caption);
    }
    const listen = (type, act) => this.canvas.addEventListener(type, act);
    listen("click", (event) => this.choose(this.under(event)));
    listen("pointermove", (event) => stack.read(this, ...this.under(event)));
    listen("pointerleave", () => stack.read(null));
    listen("keydown", (event) => this.key(event));
    listen("focus", () => this.canvas.matches(":focus-visible") && this.at(this.layer.row, this.layer.column));
    listen("blur", () => this.at(null));
    this.at(null);
  }

  under(event) {
    const { width, height } = this.canvas.getBoundingClientRect();
    const { rows, columns } = this.layer;
    return [
      Math.max(0, Math.min(rows - 1, Math.floor((event.offsetY / height) * rows))),
      Math.max(0, Math.min(columns - 1, Math.floor((event.offsetX / width) * columns))),
    ];
  }

  /** Where a row and column of the canvas lie in the layer's output; null behind the last unit. */
  place(row, column) {
    const { cells, columns, units, output_shape } = this.layer;
    if (!cells) return [this.channel, row, column];
    const unit = row * columns + column;
    if (unit >= units) return null;
    return output_shape.length === 1 ? [unit] : [unit, 0, 0];
  }

  choose([row, column]) {
    const place = this.place(row, column);
    if (!place) return;
    Object.assign(this.layer, { row, column });
    this.stack.focusable(this);
    this.stack.onchoose(this.layer.address, place);
  }

  /** Show the keyboard's pixel; null hides it. */
  at(row, column) {
    const { rows, columns, name } = this.layer;
    cover(this.cursor, row === null ? null : [row, row + 1, column, column + 1], rows, columns);
    const what = this.layer.cells ? "units" : `map ${this.channel}`;
    const keys = "arrows move, Enter shows the sum" + (this.layer.filters ? ", o switches off" : "");
    const read = row === null ? "" : `. ${this.stack.said(this, row, column)}`;
    this.canvas.setAttribute("aria-label", `${name}, ${what}: ${keys}${read}`);
    if (row !== null) this.stack.read(this, row, column);
  }

  key(event) {
    const { layer } = this;
    const step = ARROWS[event.key];
    const jump = { PageUp: -1, PageDown: 1 }[event.key];
    if (step) {
      const column = layer.column + step[1];
      if (column >= 0 && column < layer.columns) {
        layer.row = Math.max(0, Math.min(layer.rows - 1, layer.row + step[0]));
        layer.column = column;
        this.at(layer.row, column);
      } else if (this.stack.move(this, step[1])) {
        layer.column = step[1] > 0 ? 0 : layer.columns - 1;
        this.stack.focused(layer).at(layer.row, layer.column);
      }
    } else if (jump) this.stack.move(this, jump);
    else if (event.key === "Enter" || event.key === " ") this.choose([layer.row, layer.column]);
    else if (event.key === "o") {
      const place = this.place(layer.row, layer.column);
      if (layer.filters && place) this.stack.toggle(layer, place[0]);
    } else return;
    event.preventDefault();
  }

  paint({ data }, scale) {
    const { rows, columns, cells } = this.layer;
    const size = rows * columns;
    paint(this.canvas, cells ? data : data.subarray(this.channel * size, (this.channel + 1) * size), rows, columns, scale);
  }
}

/** Lay an element over the pixels [top, bottom, left, right) of a map; null hides it. */
function cover(element, box, rows, columns) {
  element.hidden = !box;
  if (!box) return;
  const [top, bottom, left, right] = box;
  const parts = { top: top / rows, height: (bottom - top) / rows, left: left / columns, width: (right - left) / columns };
  for (const [side, share] of Object.entries(parts)) element.style[side] = `${100 * share}%`;
}

/** The smallest box [top, bottom, left, right) around places (channel, row, column). */
function boxOf(places) {
  const rows = places.map((place) => place[1]);
  const columns = places.map((place) => place[2]);
  return [Math.min(...rows), Math.max(...rows) + 1, Math.min(...columns), Math.max(...columns) + 1];
}

// --- 5 layers ---------------------------------------------------------------------------------

const FIRST = 32; // maps of a layer that are shown before "show all"
const INPUT = "input";

/** A layer with what its drawing needs: whether it is cells, and how many rows and columns. */
function laidOut(layer) {
  const [units, height = 1, width = 1] = layer.output_shape;
  const cells = height * width === 1;
  const columns = cells ? (units <= 40 ? units : Math.ceil(Math.sqrt(4 * units))) : width;
  const rows = cells ? Math.ceil(units / columns) : height;
  return { ...layer, cells, units, columns, rows, row: 0, column: 0 };
}

/** The layers of a network, one below the other, each with its maps. */
class Stack {
  constructor(description, { onchoose, ontoggle }) {
    Object.assign(this, { onchoose, ontoggle });
    const input = {
      address: INPUT, name: INPUT, kind: "the image as the network sees it", text: "", filters: 0,
      output_shape: description.input_shape, parameters: {},
    };
    this.layers = new Map([input, ...description.layers].map((each) => [each.address, laidOut(each)]));
    this.values = new Map();
    this.caption = h("p", { class: "caption", hidden: true }, description.title);
    this.element = h("div", { class: "stack" }, this.caption, [...this.layers.values()].map((each) => this.section(each)));
  }

  section(layer) {
    const { address, name, kind, text, output_shape, cells, units } = layer;
    layer.legend = h("span");
    layer.readout = h("span", { class: "readout" });
    const lines = units <= 10 ? 1 : units <= 20 ? 2 : 3;
    layer.grid = h("div", { class: "maps", style: `--count:${Math.ceil(units / lines)}` });
    layer.views = [];
    this.add(layer, cells ? 1 : Math.min(units, FIRST));
    layer.views[0].canvas.tabIndex = 0;
    const more = !cells && units > FIRST && button(`show all ${units}`, () => {
      this.add(layer, units);
      this.paintLayer(layer);
      more.remove();
    });
    const about = [kind === name ? "" : kind, text, times(output_shape)].filter(Boolean).join(" · ");
    return h(
      "section",
      { class: `layer depth${address.split(".").length - 1}`, "aria-label": `${name}, ${about}`, "data-address": address },
      h("header", {}, h("h2", {}, name), h("span", { class: "about" }, about), layer.legend, layer.readout),
      layer.grid,
      more,
    );
  }

  add(layer, upTo) {
    while (layer.views.length < upTo) {
      const view = new MapView(layer, layer.views.length, this);
      layer.views.push(view);
      layer.grid.append(view.element);
    }
  }

  /** Draw what was found: {address: array}; what is missing is hidden. */
  paint(values, off) {
    this.values = values;
    this.off = off;
    for (const layer of this.layers.values()) this.paintLayer(layer);
  }

  paintLayer(layer) {
    const found = this.values.get(layer.address);
    layer.scale = found ? scaleOf(found.data) : 0;
    layer.legend.replaceChildren(found ? legend(layer.scale) : "no difference: the shapes differ");
    layer.grid.hidden = !found;
    const off = this.off?.[layer.address] ?? [];
    for (const view of layer.views) {
      if (found) view.paint(found, layer.scale);
      const isOff = !layer.cells && off.includes(view.channel);
      view.element.classList.toggle("off", isOff);
      if (view.switch) {
        view.switch.textContent = isOff ? "off" : "on";
        view.switch.setAttribute("aria-pressed", String(!isOff));
        view.switch.setAttribute("aria-label", `${layer.name}, filter ${view.channel}: ${isOff ? "off" : "on"}`);
      }
    }
  }

  said({ layer, channel }, row, column) {
    const { cells, columns, units, output_shape } = layer;
    const k = row * columns + column;
    if (cells && k >= units) return "";
    const data = this.values.get(layer.address)?.data;
    const where = cells ? `unit ${k}` : `map ${channel}, row ${row}, column ${column}`;
    return `${where}: ${data ? show(data[cells ? k : channel * output_shape[1] * output_shape[2] + k]) : ""}`;
  }

  /** Print a number beside the layer's name. */
  read(view, row, column) {
    if (this.reading && this.reading !== view?.layer.readout) this.reading.textContent = "";
    this.reading = view?.layer.readout;
    if (view) this.reading.textContent = this.said(view, row, column);
  }

  toggle(layer, channel) {
    this.ontoggle?.(layer.address, channel);
  }

  focused(layer) {
    return layer.views.find((view) => view.canvas.tabIndex === 0);
  }

  focusable(view) {
    for (const each of view.layer.views) each.canvas.tabIndex = each === view ? 0 : -1;
  }

  move(view, step) {
    const next = view.layer.views[view.channel + step];
    if (!next) return false;
    this.focusable(next);
    next.canvas.focus();
    return true;
  }

  /** Frame a number, and on the layer it comes from the box that it reads; null: nothing. */
  mark(chosen, source) {
    for (const layer of this.layers.values()) {
      for (const view of layer.views) {
        let box = null;
        if (chosen?.layer === layer.address) box = this.boxAt(layer, view, chosen.place);
        view.patch.classList.toggle("chosen", Boolean(box));
        if (!box && source?.layer === layer.address && !layer.cells) {
          if (source.channels.has(view.channel)) box = source.box;
        }
        cover(view.patch, box, layer.rows, layer.columns);
      }
    }
  }

  boxAt(layer, view, [channel, row, column]) {
    if (layer.cells) [row, column] = [Math.floor(channel / layer.columns), channel % layer.columns];
    else if (channel !== view.channel) return null;
    return [row, row + 1, column, column + 1];
  }

  /** Bring a number into view, with the keyboard's place on it. */
  reveal(address, place) {
    const layer = this.layers.get(address);
    const channel = layer.cells ? 0 : place[0];
    this.add(layer, channel + 1);
    this.paintLayer(layer);
    const view = layer.views[channel];
    const box = this.boxAt(layer, view, place);
    Object.assign(layer, { row: box[0], column: box[2] });
    this.focusable(view);
    view.element.scrollIntoView({ block: "nearest", behavior: still.matches ? "auto" : "smooth" });
  }
}

const still = matchMedia("(prefers-reduced-motion: reduce)");

// --- 6 the image ------------------------------------------------------------------------------

const UNDOS = 50;
const MOST_SIDE = 384; // of a photograph that is sent to be prepared

/** The image: drawn, one of the test images, or a photograph. */
class Drawing {
  constructor(description, host, { onchange, fail, say }) {
    Object.assign(this, { host, onchange, fail, say });
    this.range = description.range ?? [0, 255];
    this.shape = description.input_shape;
    this.samples = description.can.includes("sample") ? description.samples : 0;
    const bytes = this.range[0] === 0 && this.range[1] === 255;
    this.image = this.blank(bytes ? "uint8" : "float32");
    this.index = this.label = null; // of a test image; the label may be another that was chosen
    this.past = [];
    this.pen = [Math.floor(this.shape[1] / 2), Math.floor(this.shape[2] / 2)];
    this.canvas = h("canvas", {
      tabindex: "0", role: "application", class: "draw",
      "aria-label": "Drawing area: arrows move the pen, space draws, Shift with arrows draws a line, " +
        "Backspace erases, z takes back, c clears",
    });
    this.cursor = h("i", { class: "cursor", hidden: true });
    this.patch = h("i", { class: "field", hidden: true });
    this.frame = h("div", { class: "frame" }, this.canvas, this.cursor, this.patch);
    this.frame.style.aspectRatio = `${this.shape[2]} / ${this.shape[1]}`;
    this.listen();
    this.element = h("div", { class: "drawing" }, this.frame, this.tools(), this.sampler(), this.photograph(description));
    this.paint();
  }

  blank(type) {
    const size = this.shape.reduce((a, b) => a * b);
    return { shape: this.shape, type, data: new TYPES[type](size).fill(this.range[0]) };
  }

  tools() {
    const color = h("input", { type: "color", value: "#ffffff", "aria-label": "color of the pen" });
    const named = { "aria-label": "width of the pen", title: "width of the pen" };
    const width = h("input", { type: "range", min: 0.5, max: 4, step: 0.25, value: 1.25, ...named });
    this.settings = { color, width };
    this.erase = button("erase", () => this.erase.setAttribute("aria-pressed", String(!this.erasing)), {
      "aria-pressed": "false",
    });
    this.undoButton = button("undo", () => this.undo());
    this.undoButton.disabled = true;
    const clear = button("clear", () => this.clear());
    return h("div", { class: "row" }, clear, this.undoButton, this.erase,
      width, this.shape[0] >= 3 && color);
  }

  get erasing() {
    return this.erase.getAttribute("aria-pressed") === "true";
  }

  sampler() {
    if (!this.samples) return null;
    const last = this.samples - 1;
    this.number = h("input", {
      type: "number", min: "0", max: String(last), value: "0", "aria-label": `test image, 0 to ${last}`,
      onchange: () => this.load(Math.max(0, Math.min(last, Math.round(this.number.valueAsNumber || 0)))),
    });
    this.order = 0;
    const go = (step) => this.load(((this.index ?? 0) + step + this.samples) % this.samples);
    return h("div", { class: "row samples" }, h("label", {}, "image ", this.number),
      button("◀", () => go(-1), { "aria-label": "previous test image" }),
      button("▶", () => go(1), { "aria-label": "next test image" }),
      // the same order in every visit: steps of the golden ratio reach all parts of the set
      button("random", () => this.load(Math.floor(((++this.order * 0.6180339887) % 1) * this.samples))));
  }

  photograph({ can }) {
    if (!can.includes("prepare")) return null;
    const file = h("input", {
      type: "file", accept: "image/*", hidden: true, onchange: () => this.prepare(file.files[0]),
    });
    this.steps = h("div", { class: "steps" });
    return h("div", {
      class: "drop",
      ondragover: (event) => event.preventDefault(),
      ondrop: (event) => {
        event.preventDefault();
        this.prepare(event.dataTransfer.files[0]);
      },
    }, button("photograph", () => file.click()), " or drop or paste one", file, this.steps);
  }

  listen() {
    const on = (type, act) => this.canvas.addEventListener(type, act);
    let last = null;
    const to = (event) => {
      const { width, height } = this.canvas.getBoundingClientRect();
      return [(event.offsetY / height) * this.shape[1] - 0.5, (event.offsetX / width) * this.shape[2] - 0.5];
    };
    on("pointerdown", (event) => {
      if (event.button) return;
      this.canvas.setPointerCapture(event.pointerId);
      this.remember();
      last = to(event);
      this.line(last, last);
    });
    on("pointermove", (event) => {
      if (!last) return;
      for (const each of event.getCoalescedEvents?.() ?? [event]) {
        const next = to(each);
        this.line(last, next);
        last = next;
      }
    });
    for (const type of ["pointerup", "pointercancel"]) on(type, () => (last = null));
    on("focus", () => this.movePen(0, 0));
    on("blur", () => (this.cursor.hidden = true));
    on("keydown", (event) => {
      if (event.altKey || (event.metaKey && event.key !== "z")) return;
      const step = ARROWS[event.key];
      if (step) {
        const from = [...this.pen];
        this.movePen(...step);
        if (event.shiftKey) this.stroke(from, this.pen);
      } else if (event.key === " ") this.stroke(this.pen, this.pen);
      else if (event.key === "Backspace" || event.key === "Delete") this.stroke(this.pen, this.pen, true);
      else if (event.key === "z") this.undo();
      else if (event.key === "c" && !event.ctrlKey) this.clear();
      else return;
      event.preventDefault();
    });
  }

  movePen(down, right) {
    const [, rows, columns] = this.shape;
    const pen = this.pen;
    pen[0] = Math.max(0, Math.min(rows - 1, pen[0] + down));
    pen[1] = Math.max(0, Math.min(columns - 1, pen[1] + right));
    cover(this.cursor, [pen[0], pen[0] + 1, pen[1], pen[1] + 1], rows, columns);
    if (down || right) this.say(`pen at row ${pen[0]}, column ${pen[1]}`);
  }

  stroke(from, to, erase = this.erasing) {
    this.remember();
    this.line(from, to, erase);
  }

  /** Draw from one place to another with a soft edge. */
  line([fromRow, fromColumn], [toRow, toColumn], erase = this.erasing) {
    const [channels, rows, columns] = this.shape;
    const radius = (this.settings.width.valueAsNumber * Math.min(rows, columns)) / 28;
    const [low, high] = this.range;
    const { value } = this.settings.color;
    const ink = [1, 3, 5].map((at) => low + ((high - low) * parseInt(value.slice(at, at + 2), 16)) / 255);
    const [down, right] = [toRow - fromRow, toColumn - fromColumn];
    const length = down * down + right * right;
    const { data } = this.image;
    const [top, bottom] = [Math.min(fromRow, toRow) - radius - 1, Math.max(fromRow, toRow) + radius + 1];
    const [left, end] = [Math.min(fromColumn, toColumn) - radius - 1, Math.max(fromColumn, toColumn) + radius + 1];
    for (let r = Math.max(0, Math.floor(top)); r <= Math.min(rows - 1, bottom); r++)
      for (let k = Math.max(0, Math.floor(left)); k <= Math.min(columns - 1, end); k++) {
        const nearest = length ? ((r - fromRow) * down + (k - fromColumn) * right) / length : 0;
        const along = Math.max(0, Math.min(1, nearest));
        const away = Math.hypot(r - fromRow - along * down, k - fromColumn - along * right);
        const share = Math.max(0, Math.min(1, radius + 0.5 - away));
        for (let c = 0; c < channels; c++) {
          const at = (c * rows + r) * columns + k;
          const goal = erase ? low : channels >= 3 ? ink[Math.min(c, 2)] : high;
          const drawn = data[at] + share * (goal - data[at]);
          // one stroke passes a pixel many times: gray ink only ever adds, so its edge stays soft
          data[at] = erase || channels >= 3 ? drawn : Math.max(data[at], low + share * (high - low));
        }
      }
    this.changed("drew");
  }

  /** Keep the image for undo, with the label where that is about to become another. */
  remember(label) {
    this.past.push({ image: { ...this.image, data: this.image.data.slice() }, ...label });
    if (this.past.length > UNDOS) this.past.shift();
    this.undoButton.disabled = false;
  }

  undo() {
    if (!this.past.length) return;
    Object.assign(this, this.past.pop());
    this.undoButton.disabled = !this.past.length;
    this.changed("undo");
  }

  clear() {
    this.remember({ label: this.label });
    Object.assign(this, { image: this.blank(this.image.type), label: null });
    this.changed("cleared");
  }

  /** Take an image over, such as a test image. */
  take(image, what, label) {
    this.remember({ label: this.label });
    Object.assign(this, { image: { ...image, data: image.data.slice() }, label });
    this.changed(what);
  }

  changed(what) {
    this.paint();
    this.onchange(what);
  }

  paint() {
    paintRaw(this.canvas, this.image, this.range);
  }

  async load(index) {
    const found = await this.host.ask("sample", { index }).catch(this.fail);
    if (!found) return;
    this.index = index;
    this.number.value = index;
    this.take(decode(found.image), "sample", found.label);
  }

  /** Send a photograph to be prepared, at most MOST_SIDE pixels wide and high. */
  async prepare(file) {
    if (!file) return;
    try {
      const picture = await createImageBitmap(file);
      const shrink = Math.min(1, MOST_SIDE / Math.max(picture.width, picture.height));
      const [width, height] = [picture.width, picture.height].map((side) => Math.max(1, Math.round(side * shrink)));
      const canvas = h("canvas", { width, height });
      const context = canvas.getContext("2d");
      context.fillStyle = "#fff"; // behind what is transparent
      context.fillRect(0, 0, width, height);
      context.drawImage(picture, 0, 0, width, height);
      const pixels = context.getImageData(0, 0, width, height).data;
      const size = width * height;
      const data = new Uint8Array(3 * size);
      for (let k = 0; k < size; k++) for (let c = 0; c < 3; c++) data[c * size + k] = pixels[4 * k + c];
      const image = encode({ shape: [3, height, width], type: "uint8", data });
      const found = await this.host.ask("prepare", { image });
      this.steps.replaceChildren(
        ...found.steps.map(({ name, image: step }) => {
          const shown = h("canvas", { role: "img", "aria-label": name });
          paintRaw(shown, decode(step), [0, 255]);
          return h("figure", {}, shown, h("figcaption", {}, name));
        }),
      );
      this.take(decode(found.image), "photograph", null);
    } catch (error) {
      this.fail(error);
    }
  }

  /** Shade what lies outside the part of the image that a number depends on; null: nothing. */
  shade(field) {
    cover(this.patch, field, this.shape[1], this.shape[2]);
  }
}

// --- 7 scores ---------------------------------------------------------------------------------

const TOP = 10; // classes that are shown before "show all"

/** How sure the networks are of each class. */
class Scores {
  constructor() {
    this.list = h("ol", { class: "bars", "aria-label": "Probability of each class" });
    this.verdict = h("p", { class: "verdict", "aria-live": "polite" });
    this.all = false;
    this.more = button("", () => {
      this.all = !this.all;
      this.paint();
    });
    this.element = h("section", { class: "scores", "aria-label": "Scores" },
      h("h2", {}, "Scores"), this.verdict, this.list, this.more);
  }

  /** Probabilities of one network, or of two side by side. */
  show(classes, label, found) {
    Object.assign(this, { classes, label, found });
    this.paint();
  }

  paint() {
    const { classes, label, found } = this;
    const [{ probabilities, scores }, other] = found;
    let order = probabilities.map((_, k) => k);
    const best = (shares) => order.reduce((a, b) => (shares[b] > shares[a] ? b : a));
    const said = found.map((each) => classes[best(each.probabilities)]);
    const text = `${said[0]}, ${percent(probabilities[best(probabilities)])}`;
    const verdict = other ? `${text}; the other says ${said[1]}, ${percent(other.probabilities[best(other.probabilities)])}` : text;
    const loss = found[0].loss === undefined ? "" : ` · loss ${show(found[0].loss)}`;
    if (this.verdict.textContent !== verdict + loss) this.verdict.textContent = verdict + loss;
    if (classes.length > TOP && !this.all) {
      order = order.sort((a, b) => probabilities[b] - probabilities[a] || a - b).slice(0, TOP);
    }
    this.more.hidden = classes.length <= TOP;
    this.more.textContent = this.all ? `the ${TOP} most likely` : `all ${classes.length} classes`;
    while (this.list.children.length > order.length) this.list.lastChild.remove();
    while (this.list.children.length < order.length) {
      this.list.append(h("li", {}, h("span"), h("i", {}, h("b"), h("b")), h("output")));
    }
    order.forEach((k, at) => {
      const row = this.list.children[at];
      const [name, bars, value] = row.children;
      name.textContent = label === k ? `${classes[k]} ✓` : classes[k];
      name.title = label === k ? `${classes[k]}: the label` : classes[k];
      const shares = [probabilities[k], other?.probabilities[k]];
      [...bars.children].forEach((bar, n) => {
        bar.hidden = shares[n] === undefined;
        bar.style.width = `${100 * (shares[n] || 0)}%`;
      });
      value.textContent = shares.filter((each) => each !== undefined).map(percent).join(" | ");
      value.title = `score ${show(scores[k])}`;
      row.classList.toggle("label", label === k);
    });
  }
}

// --- 8 the panel of sums ----------------------------------------------------------------------

const BLOCKS = 3; // input channels of a sum that are shown before "show all"
const ROWS = 12; // lines of a list that are shown before "show more"
const TRAIL = 6; // steps of the trail that are shown
const LARGE = 7; // kernels wider than this show colors without numbers
const PADDING = { class: "padding", title: "padding" };

const placeText = (place) => `[${place.join(", ")}]`;
const placeWords = (place) =>
  place.length === 1 ? `unit ${place[0]}` : `map ${place[0]}, row ${place[1]}, column ${place[2]}`;
const largestOf = (terms) =>
  terms.reduce((a, b) => (Math.abs(b.product) > Math.abs(a.product) ? b : a), { product: 0 });

/** For each row (axis 0) or column (axis 1) of the input that a window reads, which one of the kernel meets it. */
function taps({ stride, dilation, padding }, seen, axis, at) {
  const start = at * stride[axis] - padding[2 * axis];
  return new Map(seen.map((row) => [row, (row - start) / dilation[axis]]));
}

/** What stands behind the number that was clicked, and the way back through the layers. */
class Panel {
  constructor(app) {
    this.app = app;
    this.trail = [];
    this.at = -1;
    this.heading = h("h2", { "aria-live": "polite" });
    this.steps = h("ol", { class: "trail", "aria-label": "Numbers visited" });
    this.body = h("div", { class: "body" });
    this.backButton = button("◀", () => this.travel(-1), { "aria-label": "Back" });
    this.forwardButton = button("▶", () => this.travel(1), { "aria-label": "Forward" });
    this.followButton = button("largest term", () => this.follow(), {
      title: "Go to the number behind the largest term (key n)", class: "follow",
    });
    const close = button("×", () => this.close(), { "aria-label": "Close the panel" });
    this.element = h("aside", { class: "panel", "aria-label": "The sum behind a number", hidden: true },
      h("div", { class: "row" }, this.backButton, this.forwardButton, this.followButton, close),
      this.steps, this.heading, this.body);
  }

  get entry() {
    return this.trail[this.at];
  }

  /** Show another number, and forget what was ahead on the trail. */
  go(entry) {
    this.trail = [...this.trail.slice(0, this.at + 1), entry];
    this.at = this.trail.length - 1;
    this.arrive();
  }

  travel(step) {
    if (!this.trail[this.at + step]) return;
    this.at += step;
    this.arrive();
  }

  follow() {
    if (this.next) this.go(this.next);
  }

  arrive() {
    Object.assign(this, { blocks: BLOCKS, rows: ROWS, clickedAt: performance.now() });
    this.next = null;
    if (this.entry.place) this.app.stack.reveal(this.entry.layer, this.entry.place);
    return this.refresh();
  }

  close() {
    this.trail = [];
    this.at = -1;
    this.next = null;
    this.element.hidden = true;
    this.app.stack.mark(null, null);
    this.app.drawing.shade(null);
  }

  /** Ask again for what is shown: the image, a filter or the direction may be others now. */
  async refresh() {
    const { entry, app } = this;
    if (!entry) return;
    const { layers } = app.stack;
    const layer = layers.get(entry.layer);
    const place = layer && (entry.place ?? entry.index);
    if (!place || (entry.place && entry.place.some((number, k) => number >= layer.output_shape[k]))) return this.close();
    const word = entry.parameter ? "weight" : app.backward ? "back" : "sum";
    const pixel = entry.layer === INPUT && word === "sum";
    const found = pixel ? {} : await app.ask(word, entry).catch(app.fail);
    if (!found || entry !== this.entry) return;
    const focus = this.element.getRootNode().activeElement?.dataset?.key;
    this.source = { layer: null, channels: new Set(), box: null };
    this.next = null;
    const where = entry.parameter ? ` ${entry.parameter} ${placeText(entry.index)}` : `, ${placeWords(entry.place)}`;
    const value = pixel ? app.input.data[this.offset(layer, entry.place)] : found.result ?? found.value;
    const what = word === "back" ? "gradient of " : "";
    this.heading.replaceChildren(`${what}${layer.name}${where} = `, h("output", {}, show(value, 9)));
    const parts = pixel ? this.pixel(layer, entry) : this[word](found, layer, entry);
    this.body.replaceChildren(...parts.filter(Boolean));
    this.element.hidden = false;
    app.stack.mark(entry.place ? entry : null, this.source);
    const [row, column] = (entry.layer === INPUT && entry.place.slice(1)) || [];
    app.drawing.shade(found.field ?? (row === undefined ? null : [row, row + 1, column, column + 1]));
    this.paintTrail();
    if (focus) this.element.querySelector(`[data-key="${focus}"]`)?.focus({ preventScroll: true });
    this.clickedAt = measured("sum shown", this.clickedAt);
    app.did(entry.layer === INPUT ? "input" : word);
  }

  paintTrail() {
    const { layers } = this.app.stack;
    const first = Math.max(0, Math.min(this.at - TRAIL + 2, this.trail.length - TRAIL));
    this.steps.replaceChildren(
      ...this.trail.slice(first, first + TRAIL).map((entry, k) => {
        const name = layers.get(entry.layer)?.name ?? entry.layer;
        const text = `${name}${entry.parameter ? ` ${entry.parameter}` : ""} ${placeText(entry.place ?? entry.index)}`;
        const at = first + k;
        return h("li", {}, button(text, () => this.travel(at - this.at), at === this.at ? { "aria-current": "step" } : {}));
      }),
    );
    this.backButton.disabled = !this.at;
    this.forwardButton.disabled = this.at === this.trail.length - 1;
    this.followButton.disabled = !this.next;
  }

  /** A button that leads to a number of a layer. */
  to(layer, place, text = placeText(place), given = {}) {
    const name = this.app.stack.layers.get(layer)?.name ?? layer;
    return button(text, () => this.go({ layer, place }), {
      "aria-label": `${text}: go to ${name}, ${placeWords(place)}`, "data-key": `${layer} ${place}`, ...given,
    });
  }

  offset({ output_shape: [, height = 1, width = 1] }, [channel, row = 0, column = 0]) {
    return (channel * height + row) * width + column;
  }

  pixel(layer, { place }) {
    const raw = this.app.drawing.image.data[this.offset(layer, place)];
    return [h("p", {}, `A pixel of the image, ${show(raw)} before it was scaled. There is nothing behind it.`)];
  }

  // --- the sum --------------------------------------------------------------------------------

  sum(found, layer, entry) {
    const off = this.app.off[entry.layer]?.includes(entry.place[0]);
    const terms = found.terms ?? [];
    const parts = [off && h("p", {}, "Switched off: its output is set to 0.")];
    if (found.kind === "weighted") {
      this.reads(found.from, terms);
      const most = largestOf(terms);
      if (most.place) this.next = { layer: found.from, place: most.place };
      parts.push(this.equation(found), ...this.terms(found, layer, entry));
    } else if (found.kind === "winner") {
      this.reads(found.from, found.candidates);
      this.next = { layer: found.from, place: found.winner.place };
      const text = `The largest of ${found.candidates.length} numbers of ${this.nameOf(found.from)}:`;
      parts.push(h("p", {}, text), this.window(found));
    } else if (found.formula) parts.push(h("p", {}, h("code", {}, found.formula)));
    if (found.parts?.length) {
      const own = found.parts.find((each) => each.place);
      const source = (part) => part.from ?? found.from;
      if (!this.next && own) {
        this.next = { layer: source(own), place: own.place };
        this.reads(source(own), [own]);
      }
      const link = (part) => this.to(source(part), part.place, `${this.nameOf(source(part))} ${placeText(part.place)}`);
      parts.push(this.list(found.parts, [
        ["part", (part) => part.name],
        ["value", (part) => show(part.value)],
        ["of", (part) => (part.place ? link(part) : "")],
      ]));
    }
    return [...parts, this.tools(found, layer, entry)];
  }

  nameOf = (address) => this.app.stack.layers.get(address)?.name ?? address;

  reads(layer, terms) {
    const volume = terms.length && terms[0].place.length === 3;
    this.source = volume
      ? { layer, box: boxOf(terms.map((term) => term.place)), channels: new Set(terms.map((term) => term.place[0])) }
      : this.source;
  }

  equation({ terms, left_out, left_out_sum, bias, before, activation, result }) {
    const sum = terms.reduce((total, term) => total + term.product, left_out_sum ?? 0);
    const bold = (number) => h("b", {}, show(number));
    return h("p", { class: "equation" },
      h("span", {}, `sum of ${several(terms.length + (left_out ?? 0), "product")} `, bold(sum)),
      (bias ?? null) !== null && h("span", {}, "+ bias ", bold(bias), " = ", bold(before)),
      activation && h("span", {}, `${activation}( ${show(before)} ) = `, bold(result)));
  }

  terms(found, layer, entry) {
    const { terms, left_out, left_out_sum } = found;
    const [name, shape] = Object.entries(layer.parameters).find(([, each]) => each.length > 1) ?? [null, []];
    const rest = left_out > 0 &&
      h("p", {}, `${count(left_out)} smaller products are not listed; together ${show(left_out_sum)}.`);
    if (!terms.length) return [rest];
    if (terms[0].place.length === 3 && shape.length !== 2) return [...this.grids(found, layer, entry, name, shape), rest];
    const source = this.imageOf(found.from);
    const features = ({ place }) => this.offset(this.app.stack.layers.get(found.from), place);
    const ordered = [...terms].sort((a, b) => Math.abs(b.product) - Math.abs(a.product));
    const list = this.list(ordered, [
      [this.nameOf(found.from), (term) => this.to(found.from, term.place)],
      ["weight", (term) => this.weightButton(entry.layer, name, [entry.place[0], features(term)], term.weight)],
      ["value", (term) => show(term.value)],
      ["product", (term) => show(term.product)],
    ]);
    return [source && this.products(source, terms, features, found.from), list, rest];
  }

  /** The layer with maps whose numbers stand in a row in this one's input, if there is one. */
  imageOf(address) {
    let layer = this.app.stack.layers.get(address);
    while (layer && layer.cells && layer.kind === "Flatten") layer = this.app.stack.layers.get(layer.from);
    return layer && !layer.cells ? layer : null;
  }

  /** The products of a dense layer where they lie on the maps that it sees. */
  products(source, terms, offset, from) {
    const [channels, rows, columns] = source.output_shape;
    const size = rows * columns;
    const data = new Float32Array(channels * size);
    for (const term of terms) data[offset(term)] = term.product;
    const scale = scaleOf(data);
    const maps = Array.from({ length: channels }, (_, channel) => {
      const canvas = h("canvas", {
        role: "img", "aria-label": `products of map ${channel}`, title: `products of map ${channel}`,
        onclick: (event) => {
          const box = canvas.getBoundingClientRect();
          const row = Math.min(rows - 1, Math.floor((event.offsetY / box.height) * rows));
          const column = Math.min(columns - 1, Math.floor((event.offsetX / box.width) * columns));
          const flat = this.app.stack.layers.get(from).cells;
          this.go({ layer: from, place: flat ? [channel * size + row * columns + column] : [channel, row, column] });
        },
      });
      paint(canvas, data.subarray(channel * size, (channel + 1) * size), rows, columns, scale);
      return canvas;
    });
    return h("div", {}, h("p", {}, `Products as they lie on the maps of ${source.name} `, legend(scale)),
      h("div", { class: "products" }, maps));
  }

  weightButton(layer, parameter, index, value, given = {}) {
    if (!this.app.can("weight") || !parameter) return show(value);
    return button(brief(value), () => this.go({ layer, parameter, index }), {
      title: show(value),
      "aria-label": `${brief(value)}: ${parameter} ${placeText(index)}`, "data-key": `${parameter} ${index}`, ...given,
    });
  }

  /** For every channel that a window reads: its numbers, the weights, and their products. */
  grids(found, layer, entry, name, shape) {
    const source = this.app.stack.layers.get(found.from);
    const { terms } = found;
    const { window } = layer; // without one it reads all of its maps
    const [rows, columns] = window?.kernel ?? source.output_shape.slice(1);
    const [down, right] = [0, 1].map((axis) => {
      const seen = terms.map((term) => term.place[1 + axis]);
      return window ? taps(window, seen, axis, entry.place[1 + axis]) : new Map(seen.map((row) => [row, row]));
    });
    const channels = new Map();
    for (const term of terms) {
      const [channel, row, column] = term.place;
      const block = channels.get(channel) ?? { sum: 0, cells: Array(rows * columns).fill(null) };
      block.sum += term.product;
      block.cells[down.get(row) * columns + right.get(column)] = term;
      channels.set(channel, block);
    }
    const ordered = [...channels].sort(([, a], [, b]) => Math.abs(b.sum) - Math.abs(a.sum));
    const parts = ordered.slice(0, this.blocks).map(([channel, { sum, cells }]) => {
      const grid = (key, title, make) => {
        const scale = scaleOf(terms.map((term) => term[key]));
        const given = (term) => ({ title: show(term[key]), style: cellStyle(term[key], scale) });
        const inside = cells.map((term, k) => (term ? make(term, given(term), k) : h("span", PADDING)));
        return h("div", {}, h("p", {}, title), this.cells(title, columns, inside));
      };
      const plain = (key) => (term, given) => h("span", given, brief(term[key]));
      const weight = (term, given, k) => {
        const index = [entry.place[0], channel, Math.floor(k / columns), k % columns];
        return this.weightButton(entry.layer, name, index, term.weight, given);
      };
      return h("div", { class: "block" },
        grid("value", `map ${channel} of ${source.name}`, (term, given) =>
          this.to(found.from, term.place, brief(term.value), given)),
        h("span", { class: "sign" }, "×"),
        grid("weight", name ?? "share", this.app.can("weight") && name ? weight : plain("weight")),
        h("span", { class: "sign" }, "="),
        grid("product", `sum ${show(sum)}`, plain("product")));
    });
    const all = ordered.length > this.blocks && button(`show all ${ordered.length} maps`, () => {
      this.blocks = Infinity;
      this.refresh();
    }, { "data-key": "all" });
    return [...parts, all];
  }

  window({ candidates, winner, from }) {
    const [top, bottom, left, right] = boxOf(candidates.map((each) => each.place));
    const scale = scaleOf(candidates.map((each) => each.value));
    const columns = right - left;
    const cells = Array.from({ length: (bottom - top) * columns }, () => h("span", PADDING));
    for (const { place, value } of candidates) {
      const won = String(place) === String(winner.place) ? "won" : null;
      const given = { class: won, style: cellStyle(value, scale), title: show(value) };
      cells[(place[1] - top) * columns + place[2] - left] = this.to(from, place, brief(value), given);
    }
    return this.cells("the window", columns, cells);
  }

  /** Cells in rows, between whose buttons the arrows move. */
  cells(label, columns, inside) {
    const kind = columns > LARGE ? "grid tiny" : "grid";
    return roving(h("div", { class: kind, role: "group", "aria-label": label, style: `--columns:${columns}` }, inside), columns);
  }

  /** A table of the first of some rows: columns are [head, (row) => what stands there]. */
  list(rows, columns) {
    const shown = rows.slice(0, this.rows).map((row) => h("tr", {}, columns.map(([, cell]) => h("td", {}, cell(row)))));
    const more = rows.length - shown.length;
    return h("div", { class: "list" },
      h("table", {},
        h("thead", {}, h("tr", {}, columns.map(([head]) => h("th", { scope: "col" }, head)))),
        h("tbody", {}, shown)),
      more > 0 && button(`show more (${count(more)})`, () => {
        this.rows += 100;
        this.refresh();
      }, { "data-key": "more" }));
  }

  tools(found, layer, entry) {
    const { app } = this;
    const field = h("canvas", { role: "img", "aria-label": "measured field", hidden: true });
    const note = h("p", {});
    const measure = app.explains.includes("field") && button("measured field", async () => {
      const answer = await app.ask("explain", { method: "field", ...entry }).catch(app.fail);
      if (!answer) return;
      const { data, shape } = decode(answer.map);
      const [rows, columns] = shape.slice(-2);
      paint(field, data.subarray(0, rows * columns), rows, columns, scaleOf(data));
      field.hidden = false;
      note.replaceChildren(answer.text ?? "", " ", legend(scaleOf(data)));
    });
    const channel = entry.place[0];
    const off = app.off[entry.layer]?.includes(channel);
    const unit = `${layer.cells ? "unit" : "filter"} ${channel}`;
    return h("div", { class: "tools" }, h("div", { class: "row" },
      layer.filters > 0 && button(`switch ${unit} ${off ? "on" : "off"}`,
        () => app.toggle(entry.layer, channel), { "data-key": "off" }),
      layer.parameters.bias && app.can("weight") && button("bias",
        () => this.go({ layer: entry.layer, parameter: "bias", index: [channel] })),
      layer.filters > 0 && app.explains.includes("most_exciting") && button("images that excite it most",
        () => app.explain.excite(entry.layer, channel)),
      measure), field, note);
  }

  // --- gradients and weights ------------------------------------------------------------------

  back(found) {
    const { terms = [], next, text } = found;
    this.reads(next, terms);
    const most = largestOf(terms);
    if (most.place && next) this.next = { layer: next, place: most.place };
    const ordered = [...terms].sort((a, b) => Math.abs(b.product) - Math.abs(a.product));
    return [
      text && h("p", {}, text),
      terms.length > 0 && this.list(ordered, [
        [this.nameOf(next), (term) => this.to(term.layer ?? next, term.place)],
        ["weight", (term) => show(term.weight)],
        ["gradient", (term) => show(term.gradient)],
        ["product", (term) => show(term.product)],
      ]),
    ];
  }

  weight(found, layer, { parameter, index }) {
    const { app } = this;
    const address = layer.address;
    const set = (value) => app.setWeight(address, parameter, index, value);
    const input = h("input", {
      type: "number", step: "any", value: found.value, "aria-label": "another value", "data-key": "value",
      onchange: () => Number.isFinite(input.valueAsNumber) && set(input.valueAsNumber),
    });
    const terms = [...(found.terms ?? [])].sort((a, b) => Math.abs(b.product) - Math.abs(a.product));
    const columns = [
      ["output at", (term) => this.to(address, term.output)],
      ["its gradient", (term) => show(term.gradient)],
      ["input at", (term) => (term.input ? this.to(layer.from, term.input) : "")],
      ["value", (term) => show(term.value)],
      ["product", (term) => show(term.product)],
    ];
    return [
      h("div", { class: "row" }, h("label", {}, "another value ", input),
        app.weightChange(address, parameter, index) && button("put back", () => set(null))),
      found.text && h("p", {}, found.text),
      found.gradient === undefined
        ? h("p", {}, app.can("back") ? "Choose a label to see where its gradient comes from." : "")
        : h("p", {}, "gradient ", h("b", {}, show(found.gradient))),
      terms.length > 0 && this.list(terms, columns),
    ];
  }
}

// --- 9 what is changed ------------------------------------------------------------------------

/** Filters that are switched off and weights that are set by hand, and what they do to the answers. */
class Changes {
  constructor(app) {
    this.app = app;
    this.list = h("ul", { class: "chips" });
    this.result = h("div", { class: "result", "aria-live": "polite" });
    this.button = app.can("rescore") && button("score the test images again", () => this.rescore(), { class: "rescore" });
    this.none = h("p", {},
      "Nothing yet. Each map has a button that switches it off; the panel of a weight sets another value.");
    this.reset = button("put all back", () => app.changeNothing());
    this.element = h("section", { class: "changes", "aria-label": "What is changed" },
      h("h2", {}, "Changed"), this.none, this.list, h("div", { class: "row" }, this.button, this.reset), this.result);
    this.paint();
  }

  paint() {
    const { app } = this;
    const name = (address) => app.stack?.layers.get(address)?.name ?? address;
    const filters = Object.entries(app.off).flatMap(([address, channels]) =>
      channels.map((channel) => [`${name(address)} ${channel} off`, () => app.toggle(address, channel)]));
    const weights = app.weights.map(({ layer, parameter, index, value }) =>
      [`${name(layer)} ${parameter} ${placeText(index)} = ${show(value)}`, () => app.setWeight(layer, parameter, index, null)]);
    const all = [...filters, ...weights];
    this.list.replaceChildren(...all.map(([text, undo]) =>
      h("li", {}, text, button("×", undo, { "aria-label": `put back: ${text}` }))));
    this.none.hidden = all.length > 0;
    this.reset.hidden = !all.length;
    if (this.button) this.button.disabled = !all.length;
    this.result.replaceChildren();
    app.explain?.stale();
  }

  async rescore() {
    this.result.replaceChildren("scoring ...");
    const found = await this.app.ask("rescore").catch(this.app.fail);
    if (!found) return this.result.replaceChildren();
    this.result.replaceChildren(
      h("p", {}, "Right: ", h("b", {}, `${percent(found.before)} → ${percent(found.accuracy)}`),
        ` of ${count(found.count)} test images`),
      found.changed.length ? this.app.indices("Answers that changed", found.changed) : "No answer changed.",
    );
  }
}

// --- 10 explanations --------------------------------------------------------------------------

const METHODS = {
  saliency: "saliency: which pixels move the score",
  occlusion: "occlusion: what if a part is covered",
  grad_cam: "Grad-CAM: where its maps speak for a class",
  most_exciting: "images that excite a filter most",
  fgsm: "FGSM: a step that fools the network",
};

/** Why the network answers as it does: a method, what it needs, and what it found. */
class Explain {
  constructor(app) {
    this.app = app;
    const options = Object.entries(METHODS).filter(([method]) => app.explains.includes(method));
    const [methodLabel, method] = select("method", options, () => this.choose(method.value));
    const classes = app.description.classes.map((name, k) => [String(k), name]);
    const [classLabel, chosen] = select("class", [["", "the network's answer"], ...classes], () => this.run());
    const [layerLabel, layer] = select("layer", [], () => this.run());
    this.filter = h("input", { "aria-label": "filter", type: "number", min: "0", value: "0", onchange: () => this.run() });
    const most = app.drawing.range[1] - app.drawing.range[0];
    const step = most >= 16 ? 1 : most / 256; // bytes move by whole numbers
    this.epsilon = h("input", {
      "aria-label": "epsilon", type: "range", min: 0, max: most / 4, step,
      value: Math.max(step, most / 32), oninput: () => this.run(),
    });
    this.size = h("output");
    Object.assign(this, { method, layer, chosen });
    this.fields = {
      class: classLabel, layer: layerLabel, filter: h("label", {}, "filter ", this.filter),
      epsilon: h("label", {}, "epsilon ", this.epsilon, this.size),
    };
    this.result = h("div", { class: "result", "aria-live": "polite" });
    this.run = latest(() => this.explain(), app.fail);
    this.element = h("section", { class: "explain", "aria-label": "Explanations", hidden: !options.length },
      h("h2", {}, "Explain"), methodLabel, Object.values(this.fields),
      button("explain", () => this.run(), { class: "run" }), this.result);
    if (options.length) this.choose(method.value, false);
  }

  choose(method, run = true) {
    this.method.value = method;
    const needs = { grad_cam: ["class", "layer"], most_exciting: ["layer", "filter"], fgsm: ["epsilon"] }[method] ?? ["class"];
    for (const [name, field] of Object.entries(this.fields)) field.hidden = !needs.includes(name);
    const cam = method === "grad_cam";
    const layers = [...this.app.stack.layers.values()].slice(1).filter((each) => (cam ? !each.cells : each.filters));
    const option = ([value, text]) => h("option", { value }, text);
    this.layer.replaceChildren(...layers.map(({ address, name }) => option([address, name])));
    if (cam) this.layer.prepend(option(["", "the last with more than one pixel"]));
    this.layer.selectedIndex = 0;
    if (run) this.run();
  }

  /** The images that excite one filter most. */
  excite(address, channel) {
    this.choose("most_exciting", false);
    this.layer.value = address;
    this.filter.value = channel;
    this.element.scrollIntoView({ block: "nearest" });
    this.run();
  }

  /** What is shown, or still asked for, was found before something changed. */
  stale() {
    this.fresh = false;
    this.result.classList.add("stale");
  }

  async explain() {
    const { app } = this;
    const method = this.method.value;
    const asked = { method };
    const visible = (name) => !this.fields[name].hidden;
    if (visible("class") && this.chosen.value) asked.class = Number(this.chosen.value);
    if (visible("layer") && this.layer.value) asked.layer = this.layer.value;
    if (visible("filter")) asked.filter = this.filter.valueAsNumber || 0;
    if (visible("epsilon")) {
      asked.epsilon = this.epsilon.valueAsNumber;
      this.size.textContent = show(asked.epsilon, 3);
      if (app.label !== null) asked.class = app.label;
    }
    const image = app.drawing.image;
    this.fresh = true;
    const found = await app.ask("explain", asked);
    const parts = [found.text && h("p", {}, found.text)];
    const layer = app.stack.layers.get(found.layer)?.name;
    if (layer && !found.text?.includes(layer)) parts.push(h("p", {}, `Layer: ${layer}`));
    if (found.images) parts.push(this.gallery(found.images));
    else if (method === "fgsm") parts.push(this.fooled(decode(found.image), image, found.probabilities));
    else parts.push(this.maps(decode(found.map), image, method));
    this.result.replaceChildren(...parts.filter(Boolean));
    this.result.classList.toggle("stale", !this.fresh);
    app.did(method === "fgsm" ? "fooled" : "explained");
  }

  figure(text, draw) {
    const canvas = h("canvas", { role: "img", "aria-label": text });
    draw(canvas);
    return h("figure", {}, canvas, h("figcaption", {}, text));
  }

  /** The raw signed map, and the positive part of it over the image; a map of zeros stays empty. */
  maps({ shape, data }, image, method) {
    const [rows, columns] = shape.slice(-2);
    const channels = shape.length === 3 ? shape[0] : 1;
    const scale = scaleOf(data);
    const names = channels === 1 ? ["signed"] : Array.from({ length: channels }, (_, k) => `channel ${k}`);
    const size = rows * columns;
    const signed = names.map((name, k) => this.figure(name, (canvas) =>
      paint(canvas, data.subarray(k * size, (k + 1) * size), rows, columns, scale)));
    const positive = method === "grad_cam";
    const share = Array.from({ length: size }, (_, k) => {
      const sizes = names.map((name, c) => (positive ? Math.max(0, data[c * size + k]) : Math.abs(data[c * size + k])));
      return Math.max(...sizes);
    });
    const most = scaleOf(share);
    const over = this.figure(positive ? "positive part, over the image" : "its size, over the image", (canvas) => {
      paintRaw(canvas, image, this.app.drawing.range);
      const context = canvas.getContext("2d");
      const picture = context.getImageData(0, 0, canvas.width, canvas.height);
      for (let r = 0; r < canvas.height; r++)
        for (let c = 0; c < canvas.width; c++) {
          const k = Math.floor((r * rows) / canvas.height) * columns + Math.floor((c * columns) / canvas.width);
          const part = most ? share[k] / most : 0;
          [245, 138, 30].forEach((ink, at) => {
            const pixel = 4 * (r * canvas.width + c) + at;
            picture.data[pixel] = (1 - 0.8 * part) * picture.data[pixel] + 0.8 * part * ink;
          });
        }
      context.putImageData(picture, 0, 0);
    });
    return h("div", {}, legend(scale), h("div", { class: "gallery" }, signed, over));
  }

  gallery(images) {
    return h("div", { class: "gallery" }, images.map(({ index, value, image, place, field }) => {
      const figure = this.figure(`${index}: ${show(value, 3)}`, (canvas) => paintRaw(canvas, decode(image), this.app.drawing.range));
      const seen = h("i", { class: "patch" });
      cover(seen, field, ...image.shape.slice(1));
      figure.prepend(h("div", { class: "frame" }, figure.firstChild, seen));
      const look = button(figure.lastChild.textContent, () => this.app.drawing.load(index), {
        title: `look at test image ${index}; the filter answers most at ${placeText(place)}`,
      });
      figure.lastChild.replaceChildren(look);
      return figure;
    }));
  }

  fooled(after, before, probabilities) {
    const { app } = this;
    const { classes } = app.description;
    const best = (shares) => shares.reduce((most, share, k) => (share > shares[most] ? k : most), 0);
    const line = (shares) => `${classes[best(shares)]}, ${percent(shares[best(shares)])}`;
    const difference = Float32Array.from(after.data, (pixel, k) => pixel - before.data[k]);
    const [, rows, columns] = before.shape;
    const scale = scaleOf(difference);
    return h("div", {},
      h("p", {}, `Before: ${line(app.found[0].probabilities)}. After: `, h("b", {}, line(probabilities)), "."),
      h("div", { class: "gallery" },
        this.figure("with the step", (canvas) => paintRaw(canvas, after, app.drawing.range)),
        this.figure(`the step, ±${show(scale, 3)}`, (canvas) =>
          paint(canvas, difference.subarray(0, rows * columns), rows, columns, scale))),
      button("look at this image", () => app.drawing.take(after, "fgsm", app.label)));
  }
}

// --- 11 training ------------------------------------------------------------------------------

/** The state of a training, its losses, and buttons to stop and step it. */
class Training {
  constructor(app) {
    this.app = app;
    this.text = h("p", { "aria-live": "off" });
    this.curve = h("canvas", { role: "img", "aria-label": "loss of the last steps", width: "320", height: "64" });
    this.epochs = h("span", { class: "about" });
    const send = (word) => app.host.ask("training", { do: word }).then(({ state }) => this.show(state), app.fail);
    const act = (word) => button(word, () => send(word));
    this.buttons = Object.fromEntries(["pause", "go on", "step", "stop"].map((word) => [word, act(word)]));
    this.buttons.step.textContent = "one step";
    this.element = h("section", { class: "training", "aria-label": "Training", hidden: true },
      h("h2", {}, "Training"), this.text, this.curve, this.epochs,
      h("div", { class: "row" }, app.can("training") && Object.values(this.buttons)));
  }

  show(state) {
    if (!state) return;
    this.element.hidden = false;
    const { step, epoch, epochs, loss, accuracy, history = [], recent = [] } = state;
    const known = (value) => value !== null && value !== undefined;
    const parts = [state.state, `epoch ${epoch} of ${epochs}`, `step ${count(step)}`];
    if (known(loss)) parts.push(`loss ${show(loss)}`);
    if (known(accuracy)) parts.push(`right ${percent(accuracy)}`);
    this.text.textContent = parts.join(" · ");
    const last = history.at(-1);
    const right = last?.validation_accuracy ?? last?.accuracy;
    const where = known(last?.validation_accuracy) ? " in validation" : "";
    this.epochs.textContent = known(right) ? `epoch ${last.epoch}: ${percent(right)} right${where}` : "";
    const running = state.state === "running";
    const paused = state.state === "paused";
    this.buttons.pause.disabled = !running;
    this.buttons["go on"].disabled = this.buttons.step.disabled = !paused;
    this.buttons.stop.disabled = !(running || paused);
    this.draw(recent.filter(([, value]) => Number.isFinite(value)));
  }

  draw(recent) {
    const { width, height } = this.curve;
    const context = this.curve.getContext("2d");
    context.clearRect(0, 0, width, height);
    this.curve.hidden = recent.length < 2;
    if (this.curve.hidden) return;
    const most = Math.max(...recent.map(([, loss]) => loss)) || 1;
    const [first, last] = [recent[0][0], recent.at(-1)[0]];
    context.strokeStyle = getComputedStyle(this.app.element).color;
    context.beginPath();
    for (const [step, loss] of recent) {
      context.lineTo(((step - first) / (last - first || 1)) * (width - 2) + 1, height - 2 - (loss / most) * (height - 4));
    }
    context.stroke();
    const ends = `from ${show(recent[0][1])} to ${show(recent.at(-1)[1])}`;
    this.curve.setAttribute("aria-label", `loss of steps ${first} to ${last}, ${ends}`);
  }
}

// --- 12 the guide -----------------------------------------------------------------------------

// what to do, the control that it is about, and the word that tells that it was done
const CARDS = [
  ["Draw a 3 and watch the first layer.", ".drawing .frame", "drew"],
  ["Click a bright pixel of a map and read its sum.", ".layer:nth-of-type(2) .maps", "sum"],
  ["Follow the largest term, step by step, back to the image.", ".follow", "input"],
  ["Switch one filter off. What changes behind it?", ".layer:nth-of-type(2) .maps", "off"],
  ["See where the network looks.", ".explain .run", "explained"],
  ["Fool the network: choose FGSM and a small epsilon.", ".explain .run", "fooled"],
];

/** Things to do, one after the other; each notices when it was done. */
class Guide {
  constructor(app) {
    this.app = app;
    const missing = { explained: app.explain.element.hidden, fooled: !app.explains.includes("fgsm") };
    this.cards = CARDS.filter(([, , event]) => !missing[event]);
    this.done = new Set();
    this.at = 0;
    this.text = h("p", { "aria-live": "polite" });
    this.marks = h("span", { class: "marks", "aria-hidden": "true" });
    const close = button("×", () => this.close(), { "aria-label": "Close the guide" });
    this.element = h("section", { class: "guide", "aria-label": "Guide" }, this.marks, this.text,
      button("previous", () => this.turn(-1)), button("next", () => this.turn(1)), close);
    this.paint();
  }

  turn(step) {
    this.at = (this.at + step + this.cards.length) % this.cards.length;
    this.paint();
  }

  paint() {
    const [text, target] = this.cards[this.at];
    this.text.textContent = `${this.at + 1} of ${this.cards.length}: ${text}${this.done.has(this.at) ? " Done." : ""}`;
    this.marks.textContent = this.cards.map((_, k) => (this.done.has(k) ? "●" : "○")).join("");
    this.light(target);
  }

  light(target) {
    for (const each of this.app.element.querySelectorAll(".lit")) each.classList.remove("lit");
    if (target) this.app.element.querySelector(target)?.classList.add("lit");
  }

  /** Something was done; the card that asked for it goes on to the next that is open. */
  notice(what) {
    const at = this.cards.findIndex(([, , event]) => event === what);
    if (at < 0 || this.done.has(at) || this.element.hidden) return;
    this.done.add(at);
    while (this.done.has(this.at) && this.at < this.cards.length - 1) this.at++;
    this.paint();
  }

  close() {
    this.element.hidden = true;
    this.light(null);
  }
}

// --- 13 the whole -----------------------------------------------------------------------------

/** The page: what is looked at, what is changed, and the parts that show it. */
class Explorer {
  constructor(model, element) {
    this.element = element;
    this.host = new Host(model, (event) => this.happened(event));
    this.alert = h("p", { class: "alert", role: "alert" });
    this.live = h("p", { class: "live", role: "status" });
    this.network = this.wanted = 0; // shown, and asked for
    this.other = null; // the network beside it, an index
    this.view = "both";
    this.backward = false;
    this.off = {};
    this.weights = [];
    this.found = [];
    this.refresh = latest(() => this.look(), this.fail);
    darkMode.addEventListener("change", this.repaint);
    this.start().catch(this.fail);
  }

  repaint = () => this.refresh();

  fail = (error) => {
    const dismiss = button("×", () => this.alert.replaceChildren(), { "aria-label": "Dismiss" });
    this.alert.replaceChildren(error.message, " ", dismiss);
    if (!this.alert.isConnected) this.element.prepend(this.alert);
  };

  say = (text) => (this.live.textContent = text);

  can(word) {
    return this.description.can.includes(word);
  }

  get explains() {
    return this.can("explain") ? this.description.explains ?? [...Object.keys(METHODS), "field"] : [];
  }

  get label() {
    return this.drawing.label;
  }

  /** A question about the image as it is and the network with what is changed. */
  ask(word, more = {}) {
    const { network, off, weights } = this;
    const label = this.label === null || word === "explain" ? {} : { label: this.label };
    const image = word === "rescore" ? {} : { image: encode(this.drawing.image) };
    return this.host.ask(word, { network, off, weights, ...image, ...label, ...more });
  }

  async start() {
    this.description = await this.host.ask("describe", { network: this.network });
    this.drawing = new Drawing(this.description, this.host, {
      onchange: (what) => this.imageChanged(what), fail: this.fail, say: this.say,
    });
    this.scores = new Scores();
    this.makeStack();
    this.changes = new Changes(this);
    this.explain = new Explain(this);
    this.training = new Training(this);
    this.panel = new Panel(this);
    this.guide = new Guide(this);
    this.title = h("h1");
    this.about = h("span", { class: "about" });
    this.choices = h("div", { class: "choices" });
    this.stacks = h("div", { class: "stacks" });
    this.element.replaceChildren(
      h("header", { class: "top" }, this.title, this.about, this.choices),
      this.alert, this.live, this.guide.element, this.training.element,
      h("div", { class: "columns" },
        h("div", { class: "left" }, this.drawing.element, this.scores.element, this.explain.element, this.changes.element),
        this.stacks, this.panel.element),
    );
    this.element.addEventListener("keydown", this.key);
    this.element.addEventListener("paste", this.paste);
    this.head();
    this.guide.paint();
    this.training.show(this.description.training);
    if (this.drawing.samples) await this.drawing.load(0);
    else this.refresh();
  }

  key = (event) => {
    if (event.target.closest("input, select") || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "n") this.panel.follow();
    else if (event.key === "Escape") this.panel.close();
  };

  paste = (event) => {
    const file = [...event.clipboardData.files].find((each) => each.type.startsWith("image/"));
    if (file && this.can("prepare")) this.drawing.prepare(file);
  };

  makeStack() {
    const make = (description) => new Stack(description, {
      onchoose: (layer, place) => this.panel.go({ layer, place }),
      ontoggle: (layer, channel) => this.toggle(layer, channel),
    });
    this.stack = make(this.description);
  }

  /** The line of the network's name, and what can be chosen above the maps. */
  head() {
    const { description } = this;
    const { networks, classes } = description;
    this.title.textContent = description.title;
    const parameters = `${count(description.parameters)} parameters`;
    this.about.textContent = `${times(description.input_shape)} pixels · ${parameters} · ${classes.length} classes`;
    const parts = [];
    const titles = networks.map(({ title }, k) => [String(k), title]);
    const epochs = networks.map(({ epoch }, k) => [epoch, k]).filter(([epoch]) => epoch !== null && epoch !== undefined);
    if (networks.length > 1) {
      const [label, list] = select("network", titles, (value) => this.useNetwork(Number(value)));
      list.value = String(this.network);
      parts.push(label);
    }
    if (epochs.length > 1) {
      const at = Math.max(0, epochs.findIndex(([, k]) => k === this.network));
      const shown = h("output", {}, epochs.some(([, k]) => k === this.network) ? String(epochs[at][0]) : "–");
      const slider = h("input", { type: "range", max: epochs.length - 1, value: at, "aria-label": "epoch" });
      const use = latest(() => this.useNetwork(epochs[slider.valueAsNumber][1], false), this.fail);
      slider.addEventListener("input", () => {
        shown.textContent = String(epochs[slider.valueAsNumber][0]);
        use();
      });
      parts.push(h("label", {}, "epoch ", slider, shown));
    }
    const [labels, label] = select("label", [["", "none"], ...classes.map((name, k) => [String(k), name])],
      (value) => this.useLabel(value === "" ? null : Number(value)));
    this.labels = label;
    parts.push(labels);
    if (this.can("back")) {
      this.direction = choice("Direction", [[false, "forward: values"], [true, "backward: gradients"]], (value) => this.turn(value));
      parts.push(this.direction);
    }
    const beside = titles.map(([k, title]) => [k, Number(k) === this.network ? "the same, with nothing changed" : title]);
    const [compare, other] = select("beside", [["", "nothing"], ...beside], (value) => this.compare(value === "" ? null : Number(value)));
    other.value = this.other === null ? "" : String(this.other);
    this.views = choice("Maps of both", [["both", "both"], ["difference", "difference"]], (value) => {
      this.view = value;
      this.refresh();
    });
    this.views.choose(this.view, false);
    this.views.hidden = this.other === null;
    this.differ = h("div", { class: "result" });
    const disagree = this.can("disagree") && button("where do they disagree?", () => this.disagree());
    if (disagree) disagree.hidden = this.other === null || this.other === this.network;
    parts.push(compare, this.views, disagree, this.differ);
    this.choices.replaceChildren(...parts.filter(Boolean));
    this.useLabel(this.label, false);
  }

  // --- what is chosen -------------------------------------------------------------------------

  async useNetwork(network, anew = true) {
    this.wanted = network;
    const description = await this.host.ask("describe", { network }).catch(this.fail);
    if (!description || this.wanted !== network) return; // else another was chosen meanwhile
    const same = JSON.stringify(description.layers) === JSON.stringify(this.description.layers);
    Object.assign(this, { network, description });
    if (!same) {
      Object.assign(this, { off: {}, weights: [] });
      this.panel.close();
      this.makeStack();
      this.explain.choose(this.explain.method.value, false);
    }
    this.changes.paint();
    this.training.show(description.training);
    if (anew) this.head();
    else this.title.textContent = description.title;
    await this.refresh();
  }

  useLabel(label, refresh = true) {
    this.drawing.label = label;
    this.labels.value = label === null ? "" : String(label);
    if (this.direction) {
      this.direction.lastChild.disabled = label === null;
      this.direction.choose(this.backward && label !== null, false);
    }
    if (label === null) this.backward = false;
    if (refresh) this.refresh();
  }

  turn(backward) {
    this.backward = backward;
    this.refresh();
  }

  async compare(other) {
    this.other = other;
    this.beside = null;
    if (other !== null) {
      const description = await this.host.ask("describe", { network: other }).catch(this.fail);
      if (!description || this.other !== other) return;
      this.beside = new Stack(description, { onchoose: (layer, place) => this.lookBeside(layer, place) });
      this.beside.element.classList.add("beside");
      this.beside.caption.hidden = false;
    }
    this.head();
    this.refresh();
  }

  /** A number of the second network: the panel is about the first, so it takes the same place there. */
  lookBeside(layer, place) {
    const own = this.stack.layers.get(layer);
    const fits = own && place.length === own.output_shape.length;
    if (fits && place.every((number, k) => number < own.output_shape[k])) this.panel.go({ layer, place });
  }

  imageChanged(what) {
    this.useLabel(this.label, false);
    this.explain?.stale();
    this.did(what);
    this.changedAt ??= performance.now();
    return this.refresh();
  }

  toggle(address, channel) {
    const off = new Set(this.off[address]);
    if (!off.delete(channel)) off.add(channel);
    this.off = { ...this.off, [address]: [...off].sort((a, b) => a - b) };
    if (!off.size) delete this.off[address];
    this.say(`${this.stack.layers.get(address).name} ${channel} is ${off.has(channel) ? "off" : "on"}`);
    this.changes.paint();
    this.did("off");
    this.refresh();
  }

  weightChange(layer, parameter, index) {
    const key = String([layer, parameter, index]);
    return this.weights.find((each) => String([each.layer, each.parameter, each.index]) === key);
  }

  /** Set a weight by hand; null puts it back. */
  setWeight(layer, parameter, index, value) {
    const others = this.weights.filter((each) => each !== this.weightChange(layer, parameter, index));
    this.weights = value === null ? others : [...others, { layer, parameter, index, value }];
    this.changes.paint();
    this.refresh();
  }

  changeNothing() {
    Object.assign(this, { off: {}, weights: [] });
    this.changes.paint();
    this.refresh();
  }

  did(what) {
    this.guide?.notice(what);
  }

  /** A list of test images to look at. */
  indices(title, found) {
    return h("div", {}, h("p", {}, `${title}:`), h("div", { class: "row indices" },
      found.map((index) => button(String(index), () => this.drawing.load(index), { title: `test image ${index}` }))));
  }

  async disagree() {
    const found = await this.host.ask("disagree", { network: this.network, other: this.other }).catch(this.fail);
    if (!found) return;
    const [one, two] = found.accuracies;
    const text = `They differ on ${count(found.count)} test images; right are ${percent(one)} and ${percent(two)}.`;
    this.differ.replaceChildren(h("p", {}, text), found.indices.length ? this.indices("Look at", found.indices) : "");
  }

  happened({ event, ...more }) {
    if (!this.panel) return; // not drawn yet
    if (event === "training") {
      this.training.show(more);
      this.explain.stale();
      this.refresh();
    } else if (event === "networks") this.useNetwork(this.wanted);
  }

  // --- looking --------------------------------------------------------------------------------

  async look() {
    const label = this.backward ? { label: this.label } : { label: undefined };
    const asked = [this.ask("look", label)];
    const { other, beside, stack } = this;
    if (beside) asked.push(this.ask("look", { network: other, off: {}, weights: [], ...label }));
    const found = await Promise.all(asked);
    if (stack !== this.stack || beside !== this.beside) return; // it is asked again for the others
    this.found = found;
    const values = found.map((each, k) => {
      const input = decode(each.input);
      const layers = [...(k ? beside : stack).layers.keys()].slice(1);
      const shown = this.backward && each.gradients ? each.gradients : each.maps;
      return new Map([[INPUT, input], ...shown.map((map, at) => [layers[at], decode(map)])]);
    });
    this.input = values[0].get(INPUT);
    const shown = [this.stack.element];
    this.stack.caption.hidden = !beside;
    if (beside && this.view === "difference") {
      const own = other === this.network ? `${this.description.title} as changed` : this.description.title;
      this.stack.caption.textContent = `${own} minus ${beside.caption.textContent}`;
      this.stack.paint(differences(...values), this.off);
    } else {
      this.stack.caption.textContent = this.description.title;
      this.stack.paint(values[0], this.off);
      if (beside) {
        beside.paint(values[1], {});
        shown.push(beside.element);
      }
    }
    if (this.stacks.children.length !== shown.length || shown.some((each, k) => this.stacks.children[k] !== each)) {
      this.stacks.replaceChildren(...shown);
      this.guide.paint();
    }
    this.scores.show(this.description.classes, this.label, found);
    this.changedAt = measured("maps drawn", this.changedAt);
    await this.panel.refresh();
  }

  close() {
    darkMode.removeEventListener("change", this.repaint);
    this.host.close();
  }
}

/** The maps of the first minus those of the second, where both have the same shape. */
function differences(one, two) {
  const found = new Map();
  for (const [address, { shape, data }] of one) {
    const other = two.get(address);
    if (String(other?.shape) !== String(shape)) continue;
    found.set(address, { shape, data: data.map((number, k) => number - other.data[k]) });
  }
  return found;
}

export default {
  render({ model, el }) {
    // the attribute keeps JupyterLab's shortcuts away from keys that are ours
    const element = h("div", { class: "glassbox-explorer", "data-lm-suppress-shortcuts": "true" });
    el.append(element);
    const explorer = new Explorer(model, element);
    return () => explorer.close();
  },
};
