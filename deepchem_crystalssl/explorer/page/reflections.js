// Indices of the lines of a powder pattern, for the unit cell as it is given.

import { cellOf, dot, reciprocalOf } from "#lattices";
import { angleOf, spacingOf } from "#radiation";

/** @typedef {import("#lattices").Structure} Structure */
/** @typedef {import("#lattices").Vector} Vector */

/**
 * Equivalent reflections: one of them, the spacing (Å), and how many there are.
 * @typedef {{ hkl: Vector, d: number, multiplicity: number, weight: number }} Reflection
 */

const MOST_INDICES = 2e6;
const SAME_WEIGHT = 1e-3;
const FAINT = 1e-3;

/**
 * For each line the reflections of the lattice that lie there, the strongest first.
 *
 * Equivalent are reflections that the symmetry of the lattice makes so and, with the sites of the structure, only those
 * of one intensity; those that the sites extinguish are left out then.
 * @param {number[]} angles  two theta of the lines, degrees
 * @param {{ lattice: Vector[], numbers?: number[], frac_coords?: Vector[] }} structure
 * @param {number} wavelength  Å
 * @param {number} [tolerance]  degrees
 * @returns {Reflection[][]}
 */
export function reflectionsOf(angles, structure, wavelength, tolerance = 0.012) {
  /** @type {{ hkl: Vector, d: number }[][]} */
  const near = angles.map(() => []), order = angles.map((_, i) => i).sort((i, j) => angles[i] - angles[j]);
  const highest = Math.max(...angles, 0) + tolerance, lowest = Math.min(...angles, 180) - tolerance;
  for (const hkl of indicesUpTo(structure.lattice, spacingOf(Math.min(highest, 179.99), wavelength))) {
    const d = hkl.d, angle = angleOf(d, wavelength);
    if (!(angle >= lowest)) continue;
    const line = nearestOf(angle, order, angles);
    if (Math.abs(angles[line] - angle) <= tolerance) near[line].push(hkl);
  }
  const { numbers, frac_coords: fractions } = structure;
  const operations = symmetryOf(structure.lattice);
  return near.map((all) => {
    const weighed = all.map((one) => ({ ...one, name: orbitOf(one.hkl, operations),
      weight: numbers?.length && fractions ? squaredFactor(one.hkl, one.d, numbers, fractions) : 1 }));
    const most = Math.max(...weighed.map(({ weight }) => weight), 0);
    return gathered(weighed.filter(({ weight }) => weight > FAINT * most)).sort((one, other) => other.weight - one.weight);
  });
}

/**
 * Indices, of hkl and -h-k-l only one, whose spacing is at least so large.
 * @param {Vector[]} lattice
 * @param {number} smallest  Å
 * @returns {{ hkl: Vector, d: number }[]}
 */
function indicesUpTo(lattice, smallest) {
  const { a, b, c } = cellOf(lattice), reciprocal = reciprocalOf(lattice), found = [];
  const [h0, k0, l0] = [a, b, c].map((length) => Math.floor(length / smallest));
  if (h0 * k0 * l0 * 4 > MOST_INDICES) return [];
  const g = reciprocal.map((row) => reciprocal.map((other) => dot(row, other)));
  for (let h = 0; h <= h0; h++) for (let k = h ? -k0 : 0; k <= k0; k++) for (let l = h || k ? -l0 : 1; l <= l0; l++) {
    const squared = h * h * g[0][0] + k * k * g[1][1] + l * l * g[2][2] + 2 * (h * k * g[0][1] + h * l * g[0][2] + k * l * g[1][2]);
    const d = 1 / Math.sqrt(squared);
    if (d >= smallest) found.push({ hkl: [h, k, l], d });
  }
  return found;
}

/**
 * The place of the value that is nearest to an angle.
 * @param {number} angle
 * @param {number[]} order  places of the values from the smallest to the largest
 * @param {number[]} angles
 */
function nearestOf(angle, order, angles) {
  let low = 0, high = order.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (angles[order[middle]] < angle) low = middle;
    else high = middle;
  }
  return Math.abs(angles[order[low]] - angle) < Math.abs(angles[order[high]] - angle) ? order[low] : order[high];
}

/**
 * Squared structure factor with form factors that fall off alike: it tells what is extinguished and what is equivalent.
 * @param {Vector} hkl
 * @param {number} d
 * @param {number[]} numbers
 * @param {Vector[]} fractions
 */
function squaredFactor(hkl, d, numbers, fractions) {
  let real = 0, imaginary = 0;
  for (let site = 0; site < numbers.length; site++) {
    const phase = 2 * Math.PI * dot(hkl, fractions[site]), form = numbers[site] * Math.exp(-1.5 / (4 * d * d));
    real += form * Math.cos(phase);
    imaginary += form * Math.sin(phase);
  }
  return real * real + imaginary * imaginary;
}

/**
 * A name that reflections share if the symmetry of the lattice takes one to the other.
 * @param {Vector} hkl
 * @param {number[][][]} operations
 */
const orbitOf = (hkl, operations) => representative(operations.map((rows) => rows.map((row) => dot(row, hkl)))).join();

/**
 * Equivalent reflections as one.
 * @param {{ hkl: Vector, d: number, name: string, weight: number }[]} all
 * @returns {Reflection[]}
 */
function gathered(all) {
  /** @type {(typeof all)[]} */
  const groups = [];
  for (const one of all) {
    const group = groups.find(([first]) => first.name === one.name && Math.abs(first.weight - one.weight) <= SAME_WEIGHT * first.weight);
    if (group) group.push(one);
    else groups.push([one]);
  }
  return groups.map((group) => ({
    hkl: representative(group.flatMap(({ hkl }) => [hkl, hkl.map((index) => -index || 0)])), d: group[0].d,
    multiplicity: 2 * group.length, weight: 2 * group.length * group[0].weight,
  }));
}

/**
 * The one of equivalent indices that is usually written: with the fewest negative ones, then the largest.
 * @param {Vector[]} all
 * @returns {Vector}
 */
export function representative(all) {
  const negative = (/** @type {Vector} */ hkl) => hkl.filter((index) => index < 0).length;
  return all.reduce((best, hkl) => {
    const order = negative(best) - negative(hkl) || hkl[0] - best[0] || hkl[1] - best[1] || hkl[2] - best[2];
    return order > 0 ? hkl : best;
  }).map((index) => index || 0);
}

/**
 * The symmetry of a lattice as matrices that act on indices.
 * @param {Vector[]} lattice
 * @returns {number[][][]}
 */
function symmetryOf(lattice) {
  const g = reciprocalOf(lattice), metric = g.map((row) => g.map((other) => dot(row, other)));
  const product = (/** @type {Vector} */ one, /** @type {Vector} */ other) =>
    one.reduce((sum, value, i) => sum + value * (metric[i][0] * other[0] + metric[i][1] * other[1] + metric[i][2] * other[2]), 0);
  const close = (/** @type {number} */ value, /** @type {number} */ wanted, /** @type {number} */ scale) => Math.abs(value - wanted) < 2e-4 * scale;
  const steps = [-1, 0, 1], rows = steps.flatMap((h) => steps.flatMap((k) => steps.map((l) => [h, k, l])));
  const [first, second, third] = [0, 1, 2].map((i) => rows.filter((row) => close(product(row, row), metric[i][i], metric[i][i])));
  const fits = (/** @type {Vector} */ one, /** @type {Vector} */ other, /** @type {number} */ i, /** @type {number} */ j) =>
    close(product(one, other), metric[i][j], Math.sqrt(metric[i][i] * metric[j][j]));
  // Images of a*, b* and c* with their lengths and angles; indices are carried along with them.
  return first.flatMap((a) => second.filter((b) => fits(a, b, 0, 1)).flatMap((b) => third.filter((c) => fits(a, c, 0, 2) && fits(b, c, 1, 2))
    .map((c) => [0, 1, 2].map((i) => [a[i], b[i], c[i]]))));
}
