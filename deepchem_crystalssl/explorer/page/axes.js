// Coordinates along the axes: those of the map, or of any two columns.

/**
 * @typedef {object} Axis
 * @property {string} name  The column, or "" for the map.
 * @property {Float32Array} at  (n,), from -1 to 1; NaN where the column says nothing.
 * @property {boolean} isLogarithmic
 * @property {(value: number) => number} place  The coordinate of a value.
 * @property {[number, number]} extent  Least and greatest value.
 * @property {string[] | null} categories
 */

const MARGIN = 0.94;

/**
 * An axis along numbers or categories. Numbers above zero that span decades are placed by their logarithm.
 *
 * @param {string} name
 * @param {ArrayLike<number>} values
 * @param {string[] | null} categories
 * @returns {Axis}
 */
export function axisOf(name, values, categories = null) {
  let low = Infinity, high = -Infinity, least = Infinity;
  const known = (/** @type {number} */ v) => (categories ? v < categories.length : Number.isFinite(v));
  for (let row = 0; row < values.length; row++) {
    const value = values[row];
    if (!known(value)) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
    if (value > 0) least = Math.min(least, value);
  }
  if (low > high) [low, high] = [0, 1];
  const isLogarithmic = !categories && low > 0 && high / least > 50;
  const scaled = isLogarithmic ? Math.log10 : (/** @type {number} */ v) => v;
  const from = scaled(low), span = scaled(high) - from || 1;
  const place = (/** @type {number} */ value) => (2 * (scaled(value) - from) / span - 1) * MARGIN;
  const at = Float32Array.from(values, (v) => (known(v) ? place(v) : NaN));
  return { name, at, isLogarithmic, place, extent: [low, high], categories };
}

/**
 * Values to be written along an axis: round ones, powers of ten on a logarithmic one.
 *
 * @param {Axis} axis
 * @param {number} count  About how many.
 * @returns {number[]}
 */
export function ticksOf({ extent: [low, high], isLogarithmic, categories }, count = 6) {
  if (categories) return Array.from(categories.keys()).filter((code) => code % Math.ceil(categories.length / count) === 0);
  if (isLogarithmic) {
    const first = Math.ceil(Math.log10(low)), last = Math.floor(Math.log10(high)), step = Math.max(1, Math.ceil((last - first) / count));
    return Array.from({ length: Math.max(0, Math.floor((last - first) / step) + 1) }, (_, i) => 10 ** (first + i * step));
  }
  const rough = (high - low || 1) / count, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough) ?? rough;
  const first = Math.ceil(low / step);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, i) => +((first + i) * step).toPrecision(12));
}
