// A histogram of a column, in which a range is chosen by dragging or typed.

import { make, svg } from "#elements";

const BINS = 40, WIDTH = 280, HEIGHT = 44;

/**
 * How many values fall into equal bins of an axis.
 *
 * @param {import("#axes").Axis} axis
 * @param {Uint8Array} counted  1 for each value that counts.
 * @returns {number[]}
 */
export function binsOf(axis, counted) {
  const bins = new Array(BINS).fill(0), edge = axis.place(axis.extent[1]);
  for (let row = 0; row < axis.at.length; row++) {
    if (!counted[row] || Number.isNaN(axis.at[row])) continue;
    bins[Math.min(BINS - 1, Math.max(0, Math.floor(((axis.at[row] + edge) / (2 * edge)) * BINS)))]++;
  }
  return bins;
}

/** The value at a fraction of an axis. @param {import("#axes").Axis} axis @param {number} fraction */
export function valueAt({ extent: [low, high], isLogarithmic }, fraction) {
  return isLogarithmic ? low * (high / low) ** fraction : low + (high - low) * fraction;
}

/**
 * @param {import("#axes").Axis} axis
 * @param {string} name  For people.
 * @param {(range: [number, number] | null) => void} onRange
 * @returns {{ element: HTMLElement, show: (counted: Uint8Array, range: [number, number] | undefined) => void }}
 */
export function histogram(axis, name, onRange) {
  const element = make("div", "histogram"), low = make("input"), high = make("input");
  const figure = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  const bars = svg("g", {}), window = svg("rect", { y: 0, height: HEIGHT, class: "range" });
  figure.append(bars, window);
  for (const [input, words] of /** @type {[HTMLInputElement, string][]} */ ([[low, "at least"], [high, "at most"]])) {
    input.type = "text";
    input.inputMode = "decimal";
    input.setAttribute("aria-label", `${name} ${words}`);
    input.placeholder = String(+axis.extent[input === low ? 0 : 1].toPrecision(3));
    input.onchange = () => {
      const [from, to] = [low.value.trim() === "" ? -Infinity : Number(low.value), high.value.trim() === "" ? Infinity : Number(high.value)];
      const isRange = from <= to && (from > -Infinity || to < Infinity);
      element.classList.toggle("wrong", !(from <= to));
      if (from <= to) onRange(isRange ? [from, to] : null);
    };
  }
  const typed = make("div", "typed");
  typed.append(low, "to", high);
  element.append(make("span", "", name), figure, typed);

  /** @type {number | null} */
  let start = null;
  const fraction = (/** @type {PointerEvent} */ event) => {
    const box = figure.getBoundingClientRect();
    return Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
  };
  const between = (/** @type {number} */ a, /** @type {number} */ b) => /** @type {[number, number]} */ (
    [Math.min(a, b), Math.max(a, b)].map((f) => +valueAt(axis, f).toPrecision(4)));
  figure.onpointerdown = (event) => { start = fraction(event); figure.setPointerCapture(event.pointerId); };
  figure.onpointermove = (event) => { if (start !== null) place(between(start, fraction(event))); };
  figure.onpointerup = (event) => {
    const from = start;
    start = null;
    if (from !== null) onRange(Math.abs(fraction(event) - from) < 0.01 ? null : between(from, fraction(event)));
  };
  figure.onpointercancel = () => { start = null; };

  /** @param {[number, number] | undefined} range */
  function place(range) {
    const edge = axis.place(axis.extent[1]);
    const at = (/** @type {number} */ v) => Math.min(1, Math.max(0, (axis.place(v) + edge) / (2 * edge))) * WIDTH;
    const [from, to] = range ? [range[0] === -Infinity ? 0 : at(range[0]), range[1] === Infinity ? WIDTH : at(range[1])] : [0, 0];
    window.setAttribute("x", String(from));
    window.setAttribute("width", String(Math.max(0, to - from)));
  }

  /** @param {Uint8Array} counted @param {[number, number] | undefined} range */
  function show(counted, range) {
    const bins = binsOf(axis, counted), most = Math.max(1, ...bins), step = WIDTH / BINS;
    bars.replaceChildren(...bins.map((count, i) => {
      const height = count ? Math.max(1, (HEIGHT * Math.sqrt(count)) / Math.sqrt(most)) : 0; // rare values are seen, too
      return svg("rect", { x: i * step, y: HEIGHT - height, width: step - 1, height });
    }));
    place(range);
    low.value = range && range[0] !== -Infinity ? String(range[0]) : "";
    high.value = range && range[1] !== Infinity ? String(range[1]) : "";
  }
  return { element, show };
}
