// From the values of a column to codes of colours.

/**
 * @typedef {object} NumberScale
 * @property {Uint8Array} codes  From 1 to ``steps``, 0 where the value is unknown.
 * @property {number} low  The first percentile of the values,
 * @property {number} high  and the 99th: colours range from the one to the other.
 * @property {boolean} isLogarithmic  What spans decades is coloured by its logarithm.
 * @property {number} known  Number of values that are known.
 *
 * @typedef {object} KindScale
 * @property {Uint8Array} codes
 * @property {{ code: number, name: string, count: number }[]} named  Categories with a colour of their own.
 * @property {number} others  Crystals of other categories, or of none.
 */

/** @param {ArrayLike<number>} values @param {number} steps @returns {NumberScale} */
export function scaleOfNumbers(values, steps) {
  const known = Float64Array.from(values).filter(Number.isFinite).sort();
  const low = known[Math.floor(known.length * 0.01)] ?? 0, high = known[Math.floor(known.length * 0.99)] ?? 0;
  const isLogarithmic = low > 0 && high / low > 30, scaled = isLogarithmic ? Math.log : (/** @type {number} */ v) => v;
  const from = scaled(low), span = scaled(high) - from || 1;
  const codes = Uint8Array.from(values, (v) => Number.isFinite(v)
    ? 1 + Math.max(0, Math.min(steps - 1, Math.floor(((scaled(Math.max(v, low)) - from) / span) * steps))) : 0);
  return { codes, low, high, isLogarithmic, known: known.length };
}

/** @param {ArrayLike<number>} values @param {string[]} categories @param {number} most @returns {KindScale} */
export function scaleOfKinds(values, categories, most) {
  const counts = new Array(categories.length).fill(0);
  for (let row = 0; row < values.length; row++) if (values[row] < categories.length) counts[values[row]]++;
  const largest = counts.map((_, code) => code).sort((a, b) => counts[b] - counts[a]).slice(0, most).sort((a, b) => a - b);
  const place = new Uint8Array(65536);
  largest.forEach((code, i) => { place[code] = i + 1; });
  const named = largest.map((code) => ({ code, name: categories[code], count: counts[code] }));
  const others = values.length - named.reduce((sum, { count }) => sum + count, 0);
  return { codes: Uint8Array.from(values, (code) => place[code]), named, others };
}
