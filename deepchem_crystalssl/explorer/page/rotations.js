// Orientations of a view as unit quaternions x, y, z, w, as 3Dmol.js holds them.

import { cross, dot, lengthOf } from "#lattices";

/** @typedef {import("#lattices").Vector} Vector */
/** @typedef {[number, number, number, number]} Quaternion */

/**
 * The rotation by an angle in degrees about an axis of the view: 0 to the right, 1 upwards, 2 towards the eye.
 * @param {number} axis
 * @param {number} degrees
 * @returns {Quaternion}
 */
export function turn(axis, degrees) {
  const half = (degrees * Math.PI) / 360, sine = Math.sin(half);
  return [axis === 0 ? sine : 0, axis === 1 ? sine : 0, axis === 2 ? sine : 0, Math.cos(half)];
}

/**
 * One rotation after another.
 * @param {Quaternion} then
 * @param {Quaternion} first
 * @returns {Quaternion}
 */
export function after([x, y, z, w], [a, b, c, d]) {
  return [w * a + x * d + y * c - z * b, w * b - x * c + y * d + z * a, w * c + x * b - y * a + z * d, w * d - x * a - y * b - z * c];
}

/**
 * The orientation in which a vector of the lattice points to the eye, and c (or b, along c) upwards.
 * @param {Vector[]} lattice
 * @param {number} axis  0, 1 or 2
 * @returns {Quaternion}
 */
export function viewAlong(lattice, axis) {
  const toEye = unit(lattice[axis]), guide = lattice[axis === 2 ? 1 : 2], beside = dot(guide, toEye);
  const up = unit(guide.map((value, i) => value - beside * toEye[i]));
  return fromRows([cross(up, toEye), up, toEye]);
}

/** @param {Vector} vector */
const unit = (vector) => { const length = lengthOf(vector); return vector.map((value) => value / length); };

/**
 * The rotation that takes the rows of a matrix to the axes of the view.
 * @param {Vector[]} rows
 * @returns {Quaternion}
 */
function fromRows([x, y, z]) {
  const four = [1 + x[0] - y[1] - z[2], 1 - x[0] + y[1] - z[2], 1 - x[0] - y[1] + z[2], 1 + x[0] + y[1] + z[2]];
  const largest = four.indexOf(Math.max(...four)), s = 2 * Math.sqrt(four[largest]);
  // Whichever component is the largest is divided by, for accuracy.
  if (largest === 3) return [(z[1] - y[2]) / s, (x[2] - z[0]) / s, (y[0] - x[1]) / s, s / 4];
  if (largest === 0) return [s / 4, (x[1] + y[0]) / s, (x[2] + z[0]) / s, (z[1] - y[2]) / s];
  if (largest === 1) return [(x[1] + y[0]) / s, s / 4, (y[2] + z[1]) / s, (x[2] - z[0]) / s];
  return [(x[2] + z[0]) / s, (y[2] + z[1]) / s, s / 4, (y[0] - x[1]) / s];
}
