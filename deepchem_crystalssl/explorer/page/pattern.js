// The simulated powder pattern of a crystal: its lines with their indices, for any radiation.

import { make, svg } from "#elements";
import { angleOf, K_ALPHA_1, spacingOf, withWavelength } from "#radiation";
import { reflectionsOf } from "#reflections";

/** @typedef {import("#lattices").Vector} Vector */
/** @typedef {import("#reflections").Reflection} Reflection */
/** @typedef {{ two_theta: number[], intensity: number[] }} Lines */
/** @typedef {{ lattice: Vector[], numbers?: number[], frac_coords?: Vector[] }} Lattice */
/** A line that is drawn: its spacing (Å), angle (degrees) and height, and its reflections.
 * @typedef {{ d: number, angle: number, height: number, reflections: Reflection[] }} Line
 */

const CU = 1.54056;
const RANGE = [5, 90];
const LAST_ANGLE = 165;
const [LEFT, RIGHT, TOP, BOTTOM] = [8, 372, 8, 122];
const IN_REACH = 14;
const LABEL_ROOM = 24;
const MOST_LABELS = 12;
const MOST_ZOOM = 40;

/** What the axis shows, of a spacing and a wavelength. @type {Record<string, { name: string, of: (d: number, wavelength: number) => number }>} */
const AXES = {
  angle: { name: "2θ / degrees", of: angleOf },
  d: { name: "d / Å", of: (d) => -d }, // large spacings are on the left, as small angles are
  q: { name: "Q / Å⁻¹", of: (d) => (2 * Math.PI) / d },
};

// What was chosen for one pattern holds for the next.
const chosen = { radiation: "Cu", wavelength: CU, axis: "angle" };

/**
 * A pattern with its tools.
 * @param {{ lines: Lines, lattice?: Vector[], structure?: Lattice }} options
 *   lines of Cu K-alpha 1; with the lattice they have indices, with the structure those that are not extinguished
 * @returns {Element}
 */
export function drawPattern({ lines, lattice, structure }) {
  const cell = structure ?? (lattice ? { lattice } : undefined);
  const reflections = cell ? reflectionsOf(lines.two_theta, cell, CU) : lines.two_theta.map(() => []);
  const spacings = lines.two_theta.map((angle, i) => reflections[i][0]?.d ?? spacingOf(angle, CU));
  const whole = make("div", "pattern-view"), frame = make("div", "pattern-frame"), readout = make("output", "pattern-readout");
  frame.tabIndex = 0;
  frame.setAttribute("role", "application");
  frame.setAttribute("aria-label", "Simulated powder pattern: left and right arrows go from line to line, plus and minus zoom, 0 shows all");
  const caption = make("p", "pattern-caption");
  const redraw = () => {
    const drawn = linesWith(lines, spacings, reflections, chosen.wavelength);
    frame.replaceChildren(figureOf(drawn, frame, readout));
    caption.textContent = captionOf(lines.two_theta.length, drawn.length, Boolean(cell));
  };
  whole.append(choices(redraw), frame, readout, caption);
  redraw();
  return whole;
}

/**
 * Lines with a wavelength, from small to large angles; those that it does not reach are left out.
 * @param {Lines} lines
 * @param {number[]} spacings
 * @param {Reflection[][]} reflections
 * @param {number} wavelength
 * @returns {Line[]}
 */
function linesWith(lines, spacings, reflections, wavelength) {
  const same = wavelength === CU, seen = spacings.map((d) => (angleOf(d, wavelength) <= LAST_ANGLE ? d : NaN));
  const heights = same ? lines.intensity : withWavelength(seen, lines.intensity, CU, wavelength);
  return spacings.map((d, i) => ({ d, angle: same ? lines.two_theta[i] : angleOf(seen[i], wavelength), height: heights[i], reflections: reflections[i] }))
    .filter(({ angle, height }) => Number.isFinite(angle) && Number.isFinite(height)).sort((one, other) => one.angle - other.angle);
}

/**
 * @param {number} all
 * @param {number} drawn
 * @param {boolean} indexed
 */
function captionOf(all, drawn, indexed) {
  const parts = [indexed ? "Indices are those of the cell shown." : ""];
  if (chosen.wavelength !== CU) parts.push("Intensities follow from those of Cu Kα1 by the Lorentz-polarisation factor; anomalous scattering is ignored.");
  if (drawn < all) parts.push(`${all - drawn} of ${all} lines are out of reach of this radiation.`);
  return parts.filter(Boolean).join(" ");
}

/**
 * @param {() => void} redraw
 * @returns {HTMLElement}
 */
function choices(redraw) {
  const bar = make("div", "pattern-tools"), own = /** @type {HTMLInputElement} */ (make("input"));
  const radiation = select("Radiation", [...[...K_ALPHA_1.keys()].map((name) => [name, `${name} Kα1`]), ["other", "other, Å"]], chosen.radiation);
  const axis = select("Axis", [["angle", "2θ"], ["d", "d"], ["q", "Q"]], chosen.axis);
  own.type = "number";
  own.min = "0.1";
  own.max = "5";
  own.step = "any";
  own.value = String(chosen.wavelength);
  own.setAttribute("aria-label", "Wavelength in Å");
  own.hidden = chosen.radiation !== "other";
  radiation.onchange = () => {
    chosen.radiation = radiation.value;
    own.hidden = radiation.value !== "other";
    chosen.wavelength = K_ALPHA_1.get(radiation.value) ?? +own.value;
    if (own.hidden) own.value = String(chosen.wavelength);
    redraw();
  };
  own.oninput = () => {
    own.setCustomValidity(own.validity.rangeUnderflow || own.validity.rangeOverflow || !own.value ? "A wavelength from 0.1 to 5 Å" : "");
    if (own.value && own.checkValidity()) { chosen.wavelength = +own.value; redraw(); }
  };
  axis.onchange = () => { chosen.axis = axis.value; redraw(); };
  bar.append(radiation, own, axis);
  return bar;
}

/**
 * @param {string} label
 * @param {string[][]} options  values and words
 * @param {string} value
 */
function select(label, options, value) {
  const element = /** @type {HTMLSelectElement} */ (make("select"));
  element.setAttribute("aria-label", label);
  for (const [one, words] of options) element.append(new Option(words, one, false, one === value));
  return element;
}

/**
 * The figure; it can be zoomed, and its lines are read by the pointer or by keys.
 * @param {Line[]} lines
 * @param {HTMLElement} frame
 * @param {HTMLElement} readout
 */
function figureOf(lines, frame, readout) {
  const figure = svg("svg", { class: "pattern", viewBox: "0 -18 380 168", "aria-hidden": "true" });
  const { of, name } = AXES[chosen.axis], wavelength = chosen.wavelength, values = lines.map(({ d, angle }) => (chosen.axis === "angle" ? angle : of(d, wavelength)));
  const ends = RANGE.map((angle) => of(spacingOf(angle, CU), wavelength));
  if (!Number.isFinite(ends[1])) ends[1] = LAST_ANGLE;
  if (chosen.axis === "d") ends[0] = Math.max(ends[0], Math.min(...values, ends[1]) * 1.08);
  if (chosen.axis === "angle" && wavelength === CU) [ends[0], ends[1]] = RANGE;
  let transform = d3.zoomIdentity, at = -1;
  const place = (/** @type {number} */ value) => transform.applyX(LEFT + ((value - ends[0]) / (ends[1] - ends[0])) * (RIGHT - LEFT));
  const tell = (/** @type {number} */ line) => {
    at = line;
    readout.replaceChildren(...(line < 0 ? [] : wordsOf(lines[line])));
    figure.querySelectorAll("line.reflection").forEach((one) => one.classList.toggle("chosen", Number(one.getAttribute("data-line")) === line));
  };
  const draw = () => {
    const value = (/** @type {number} */ x) => ends[0] + ((transform.invertX(x) - LEFT) / (RIGHT - LEFT)) * (ends[1] - ends[0]);
    figure.replaceChildren(svg("line", { class: "axis", x1: LEFT, x2: RIGHT, y1: BOTTOM, y2: BOTTOM }), ...ticks(value(LEFT), value(RIGHT), place),
      ...sticks(lines, values.map(place)), svg("text", { x: RIGHT, y: 148, "text-anchor": "end" }, name));
    tell(at);
  };
  const zoom = d3.zoom().scaleExtent([1, MOST_ZOOM]).extent([[LEFT, 0], [RIGHT, BOTTOM]]).translateExtent([[LEFT, 0], [RIGHT, BOTTOM]])
    // The wheel zooms once the pattern has been clicked, so that it does not stop a page that scrolls.
    .filter((event) => !event.button && (event.type !== "wheel" || event.ctrlKey || frame.contains(document.activeElement)))
    .on("zoom", (event) => { transform = event.transform; draw(); });
  const surface = d3.select(/** @type {SVGSVGElement} */ (figure)).call(/** @type {any} */ (zoom));
  surface.on("pointermove.read pointerdown.read", (event) => {
    const x = d3.pointer(event)[0], apart = values.map((value) => Math.abs(place(value) - x)), nearest = apart.indexOf(Math.min(...apart));
    tell(apart[nearest] <= IN_REACH ? nearest : -1);
  });
  frame.onkeydown = (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (step && lines.length) tell(at < 0 ? (step > 0 ? 0 : lines.length - 1) : Math.max(0, Math.min(lines.length - 1, at + step)));
    else if (event.key === "+" || event.key === "=") zoom.scaleBy(/** @type {any} */ (surface), 1.5, at < 0 ? undefined : [place(values[at]), 0]);
    else if (event.key === "-") zoom.scaleBy(/** @type {any} */ (surface), 1 / 1.5);
    else if (event.key === "0") zoom.transform(/** @type {any} */ (surface), d3.zoomIdentity);
    else return;
    event.preventDefault();
    event.stopPropagation();
    // What is read stays in sight.
    const x = at < 0 ? LEFT : place(values[at]);
    if (x < LEFT || x > RIGHT) zoom.translateBy(/** @type {any} */ (surface), ((LEFT + RIGHT) / 2 - x) / transform.k, 0);
  };
  draw();
  return figure;
}

/**
 * @param {number} from
 * @param {number} to
 * @param {(value: number) => number} place
 */
function ticks(from, to, place) {
  const rough = (to - from) / 9, power = 10 ** Math.floor(Math.log10(rough)), step = power * ([1, 2, 5, 10].find((one) => one * power >= rough) ?? 10);
  const found = [];
  for (let i = Math.ceil(from / step - 1e-9); i * step <= to + 1e-9 * step; i++) {
    const x = place(i * step), digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
    found.push(svg("line", { class: "axis", x1: x, x2: x, y1: BOTTOM, y2: BOTTOM + 4 }),
      svg("text", { x, y: BOTTOM + 15, "text-anchor": "middle" }, Math.abs(i * step).toFixed(digits)));
  }
  return found;
}

/**
 * Sticks with the indices of the highest, as far as there is room.
 * @param {Line[]} lines
 * @param {number[]} places
 */
function sticks(lines, places) {
  const seen = lines.flatMap((_, i) => (places[i] >= LEFT && places[i] <= RIGHT ? [i] : []));
  const top = (/** @type {number} */ i) => BOTTOM - lines[i].height * (BOTTOM - TOP);
  /** @type {Element[]} */
  const drawn = seen.map((i) => svg("line", { class: "reflection", "data-line": i, x1: places[i], x2: places[i], y1: BOTTOM, y2: top(i), "stroke-width": 1.3 }));
  /** @type {number[]} */
  const named = [];
  for (const i of [...seen].sort((one, other) => lines[other].height - lines[one].height)) {
    if (named.length === MOST_LABELS) break;
    const hidden = seen.some((other) => lines[other].height > lines[i].height && Math.abs(places[other] - places[i]) < LABEL_ROOM / 2);
    if (hidden || !lines[i].reflections.length || named.some((other) => Math.abs(places[other] - places[i]) < LABEL_ROOM)) continue;
    named.push(i);
    const label = svg("text", { class: "indices", x: Math.max(LEFT + 8, Math.min(RIGHT - 8, places[i])), y: top(i) - 4, "text-anchor": "middle" });
    label.append(...indices(lines[i].reflections[0].hkl, () => svg("tspan", { "text-decoration": "overline" })));
    drawn.push(label);
  }
  return drawn;
}

/**
 * Indices as they are written: a line above instead of a minus, spaces only where a number has two digits.
 * @param {Vector} hkl
 * @param {() => Element} barred
 * @returns {(string | Element)[]}
 */
function indices(hkl, barred) {
  const space = hkl.some((index) => Math.abs(index) > 9) ? " " : "";
  return hkl.flatMap((index, i) => {
    const part = index < 0 ? barred() : "";
    if (typeof part !== "string") part.textContent = String(-index);
    return [i ? space : "", part || String(index)];
  });
}

/**
 * A line in words.
 * @param {Line} line
 * @returns {(string | Element)[]}
 */
function wordsOf({ d, angle, height, reflections }) {
  const named = reflections.slice(0, 3).flatMap(({ hkl }, i) => [i ? ", " : "", ...indices(hkl, () => {
    const over = make("span");
    over.style.textDecoration = "overline";
    return over;
  })]);
  const strong = make("strong");
  strong.append(...named);
  return [strong, `${named.length ? "  " : ""}2θ ${angle.toFixed(2)}°  d ${d.toFixed(4)} Å  ${(100 * height).toFixed(height < 0.0995 ? 1 : 0)} %`];
}
