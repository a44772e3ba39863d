// Lattices: rows are the vectors a, b and c in Å, as everywhere in the package.

/** @typedef {[number, number, number] | number[]} Vector */

/** A crystal: lattice (Å), atomic numbers and fractional coordinates of its sites.
 * @typedef {{ lattice: Vector[], numbers: number[], frac_coords: Vector[] }} Structure
 */

/** @typedef {{ a: number, b: number, c: number, alpha: number, beta: number, gamma: number, volume: number }} Cell */

/**
 * @param {Vector} one
 * @param {Vector} other
 */
export const dot = (one, other) => one[0] * other[0] + one[1] * other[1] + one[2] * other[2];

/**
 * @param {Vector} one
 * @param {Vector} other
 * @returns {Vector}
 */
export const cross = (one, other) => [
  one[1] * other[2] - one[2] * other[1], one[2] * other[0] - one[0] * other[2], one[0] * other[1] - one[1] * other[0],
];

/** @param {Vector} vector */
export const lengthOf = (vector) => Math.sqrt(dot(vector, vector));

/**
 * @param {Vector} one
 * @param {Vector} other
 * @returns {Vector}
 */
export const minus = (one, other) => [one[0] - other[0], one[1] - other[1], one[2] - other[2]];

/**
 * The point with some coordinates along the rows of a matrix.
 * @param {Vector[]} rows
 * @param {Vector} at
 * @returns {Vector}
 */
export const along = (rows, at) => [0, 1, 2].map((i) => at[0] * rows[0][i] + at[1] * rows[1][i] + at[2] * rows[2][i]);

/** @param {Vector[]} lattice */
export const volumeOf = (lattice) => Math.abs(dot(lattice[0], cross(lattice[1], lattice[2])));

/**
 * The reciprocal lattice, without the factor 2 pi: the length of h a* + k b* + l c* is 1 / d.
 * @param {Vector[]} lattice
 * @returns {Vector[]}
 */
export function reciprocalOf([a, b, c]) {
  const signed = dot(a, cross(b, c));
  return [cross(b, c), cross(c, a), cross(a, b)].map((row) => row.map((value) => value / signed));
}

/**
 * Lengths (Å), angles (degrees) and volume (Å³) of a unit cell.
 * @param {Vector[]} lattice
 * @returns {Cell}
 */
export function cellOf(lattice) {
  const [a, b, c] = lattice.map(lengthOf);
  const angle = (/** @type {number} */ i, /** @type {number} */ j) =>
    (Math.acos(Math.max(-1, Math.min(1, dot(lattice[i], lattice[j]) / (lengthOf(lattice[i]) * lengthOf(lattice[j]))))) * 180) / Math.PI;
  return { a, b, c, alpha: angle(1, 2), beta: angle(0, 2), gamma: angle(0, 1), volume: volumeOf(lattice) };
}
