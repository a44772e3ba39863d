// What the powder pages compute and write: spacings, the reading at an angle, and numbers and formulas in words.

/**
 * Reflections of a phase by increasing angle, as columns.
 * @typedef {{ two_theta: number[], d: number[], hkl: number[][], intensity: number[] }} Reflections
 * @typedef {{ top: number, two_theta: number[], measured: number[], calculated: number[], parts: number[][] }} Curve
 * @typedef {{ formula: string, reflections: Reflections }} DrawnPhase
 */

/**
 * @param {number} angle Two-theta, degrees.
 * @param {number} wavelength Å.
 * @returns {number} Spacing of the planes that reflect at this angle, Å.
 */
export const spacing = (angle, wavelength) => wavelength / (2 * Math.sin((angle * Math.PI) / 360));

/**
 * @param {number[]} sorted Increasing numbers.
 * @param {number} value
 * @returns {number} The place of the one that is nearest to a value; -1 if there are none.
 */
export function nearest(sorted, value) {
  if (!sorted.length) return -1;
  let low = 0, high = sorted.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (sorted[middle] <= value) low = middle; else high = middle;
  }
  return value - sorted[low] <= sorted[high] - value ? low : high;
}

/**
 * What is to be said of the pattern at an angle.
 * @param {Curve} curve
 * @param {DrawnPhase[]} phases
 * @param {number} wavelength Å.
 * @param {number} angle Two-theta, degrees.
 */
export function readingAt(curve, phases, wavelength, angle) {
  const place = nearest(curve.two_theta, angle);
  return {
    angle: curve.two_theta[place],
    d: spacing(curve.two_theta[place], wavelength),
    measured: curve.measured[place] * curve.top,
    calculated: curve.calculated[place] * curve.top,
    reflections: phases.flatMap((phase) => {
      const at = nearest(phase.reflections.two_theta, angle), list = phase.reflections;
      return at < 0 ? [] : [{ formula: phase.formula, hkl: list.hkl[at], two_theta: list.two_theta[at], d: list.d[at] }];
    }),
  };
}

/**
 * @param {Curve} curve
 * @param {number} low @param {number} high Angles, degrees.
 * @returns {{ least: number, most: number, misfit: number }} The lowest and the highest point between them (the lowest at most 0), and the
 *   largest difference of measured and calculated.
 */
export function extent(curve, low, high) {
  let least = 0, most = 0, misfit = 0;
  for (let i = 0; i < curve.two_theta.length; i++) {
    if (curve.two_theta[i] < low || curve.two_theta[i] > high) continue;
    const measured = curve.measured[i], calculated = curve.calculated[i];
    least = Math.min(least, measured);
    most = Math.max(most, measured, calculated);
    misfit = Math.max(misfit, Math.abs(measured - calculated));
  }
  return { least, most: most || 1, misfit };
}

/** @param {string} formula @returns {string} With numbers as subscripts. */
export const subscripted = (formula) =>
  formula.replace(/(?<=[A-Za-z)\]])[\d.]+/g, (digits) => digits.replace(/\d/g, (one) => "₀₁₂₃₄₅₆₇₈₉"[+one]));

/** @param {number[]} hkl @returns {string} */
export const inBrackets = (hkl) => `(${hkl.join(" ").replaceAll("-", "−")})`;

/** @param {number} fraction @param {number} error @returns {string} In percent; no error below 1 % is said. */
export const percent = (fraction, error) => `${(100 * fraction).toFixed(0)} ± ${Math.max(1, 100 * error).toFixed(0)} %`;

/** @param {number} value @returns {string} A number of counts. */
export const counts = (value) => (Math.abs(value) >= 100 ? Math.round(value).toLocaleString("en") : String(+value.toPrecision(3)))
  .replace("-", "−");

/**
 * @param {{ lengths: number[], angles: number[], changes: number[] }} cell Å, degrees, and changes of the lengths as fractions.
 * @returns {string} What symmetry does not fix: each length once, and angles that are neither right nor 120 degrees.
 */
export function cellWords({ lengths, angles, changes }) {
  const same = (/** @type {number} */ one, /** @type {number} */ other) => Math.abs(one - other) < 1e-4;
  const change = (/** @type {number} */ value) => `${value < 0 ? "−" : "+"}${Math.abs(100 * value).toFixed(2)} %`;
  const known = lengths.map((length, axis) => lengths.findIndex((one) => same(one, length)) === axis);
  return [
    ...lengths.flatMap((length, axis) => (known[axis] ? [`${"abc"[axis]} = ${length.toFixed(4)} Å (${change(changes[axis])})`] : [])),
    ...angles.flatMap((angle, axis) => (same(angle, 90) || same(angle, 120) ? [] : [`${"αβγ"[axis]} = ${angle.toFixed(2)}°`])),
  ].join(", ");
}

/** @param {string} text @returns {string[]} What stands in it between spaces, commas and dashes. */
export const symbolsIn = (text) => text.split(/[\s,;\-–]+/).filter(Boolean);

const WORDS = { high: "high confidence", fair: "fair confidence", low: "low confidence", none: "nothing fits" };
/** @param {keyof WORDS} confidence @param {number} probability @returns {string} */
export const chance = (confidence, probability) => `${WORDS[confidence]}, probability ${probability.toFixed(2)}`;

const SOURCES = { given: "as you gave it", file: "as the file says", assumed: "assumed, because the file names none" };
/** @param {{ label: string, source: keyof SOURCES, stated: number | null }} radiation @returns {string} */
export const radiationWords = ({ label, source, stated }) =>
  `${label} (${SOURCES[source]}${stated === null ? "" : `; the file says ${stated} Å`})`;

/** @param {string} name Of a file. @returns {string} The same without its suffix, of characters that any disk takes. */
export const stemOf = (name) => name.replace(/\.[A-Za-z0-9]{1,6}$/, "").replace(/[^\p{L}\p{N}_+-]+/gu, "_").slice(0, 60) || "pattern";
