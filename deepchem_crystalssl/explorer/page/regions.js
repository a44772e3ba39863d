// Names of regions of the map: the elements that the crystals of a region share and others lack.

/**
 * @typedef {object} Region
 * @property {number} x  Middle of its crystals, in pixels.
 * @property {number} y
 * @property {string} name
 * @property {number} size  Number of crystals.
 */

const LEAST_SHARE = 0.3, LEAST_GAIN = 2.5;

/**
 * Name the dense regions of what is on the screen.
 *
 * @param {ArrayLike<number>} px  Where each crystal is, in pixels; NaN outside the screen.
 * @param {ArrayLike<number>} py
 * @param {(row: number) => Iterable<string>} elementsOf
 * @param {Map<string, number>} shares  The share of all crystals that contain each element.
 * @param {number} tile  Length of the sides of a region in pixels.
 * @param {number} least  Number of crystals below which a region has no name.
 * @returns {Region[]}  The largest first; neighbouring regions of one name are named once.
 */
export function nameRegions(px, py, elementsOf, shares, tile, least) {
  /** @type {Map<string, number[]>} */
  const tiles = new Map();
  for (let row = 0; row < px.length; row++) {
    if (Number.isNaN(px[row])) continue;
    const key = `${Math.floor(px[row] / tile)} ${Math.floor(py[row] / tile)}`;
    const rows = tiles.get(key);
    if (rows) rows.push(row); else tiles.set(key, [row]);
  }
  /** @type {Region[]} */
  const named = [];
  for (const rows of [...tiles.values()].filter((one) => one.length >= least).sort((a, b) => b.length - a.length)) {
    const name = commonElements(rows, elementsOf, shares);
    if (!name) continue;
    const middle = (/** @type {ArrayLike<number>} */ of) => rows.reduce((sum, row) => sum + of[row], 0) / rows.length;
    const [mx, my] = [middle(px), middle(py)];
    const near = named.some((one) => Math.hypot(one.x - mx, one.y - my) < tile * (one.name === name ? 2.2 : 0.6));
    if (!near) named.push({ x: mx, y: my, name, size: rows.length });
  }
  return named;
}

/** @param {number[]} rows @param {(row: number) => Iterable<string>} elementsOf @param {Map<string, number>} shares */
function commonElements(rows, elementsOf, shares) {
  /** @type {Map<string, number>} */
  const counts = new Map();
  const step = Math.max(1, Math.floor(rows.length / 300)); // a sample says as much
  let seen = 0;
  for (let i = 0; i < rows.length; i += step, seen++) for (const symbol of elementsOf(rows[i])) counts.set(symbol, (counts.get(symbol) ?? 0) + 1);
  return [...counts].map(([symbol, count]) => ({ symbol, share: count / seen, usual: shares.get(symbol) ?? 1 }))
    .filter(({ share, usual }) => share >= LEAST_SHARE && share >= LEAST_GAIN * usual || share >= 0.9)
    .sort((a, b) => b.share / b.usual - a.share / a.usual).slice(0, 3).map(({ symbol }) => symbol).join("–");
}
