// Coordination polyhedra: an atom and its bonded partners that are more electronegative, as corners.

import { electronegativity, intoCell, POLAR } from "#bonds";
import { along, cross, dot, lengthOf, minus } from "#lattices";

/** @typedef {import("#bonds").Neighbor} Neighbor */
/** @typedef {import("#lattices").Structure} Structure */
/** @typedef {import("#lattices").Vector} Vector */

/**
 * A polyhedron around a site in the cell: its ligands, their places in Å, and the faces as lists of ligands, in turn
 * when seen from outside.
 * @typedef {object} Polyhedron
 * @property {number} site
 * @property {Neighbor[]} ligands
 * @property {Vector[]} corners
 * @property {number[][]} faces
 */

const FEWEST = 4;
const FLAT = 1e-3;

/**
 * The polyhedra of the sites that have at least four more electronegative partners around them, not in one plane.
 * @param {Structure} structure
 * @param {Neighbor[][]} bonds  of each site
 * @returns {Polyhedron[]}
 */
export function polyhedraOf({ lattice, numbers, frac_coords: fractions }, bonds) {
  const chi = numbers.map(electronegativity), inside = intoCell(fractions);
  return bonds.flatMap((all, site) => {
    const ligands = all.filter((one) => chi[one.site] - chi[site] >= POLAR);
    if (ligands.length < FEWEST) return [];
    const corners = ligands.map((one) => along(lattice, inside[one.site].map((f, i) => f + one.image[i])));
    const faces = hullOf(corners);
    return faces.length >= FEWEST ? [{ site, ligands, corners, faces }] : [];
  });
}

/**
 * The faces of the convex hull of a few points; points in one plane are one face. Nothing if all are in one plane.
 * @param {Vector[]} points
 * @returns {number[][]}
 */
export function hullOf(points) {
  /** @type {Map<string, number[]>} */
  const faces = new Map();
  for (let i = 0; i < points.length; i++) for (let j = i + 1; j < points.length; j++) for (let k = j + 1; k < points.length; k++) {
    const normal = cross(minus(points[j], points[i]), minus(points[k], points[i])), size = lengthOf(normal);
    if (size < FLAT) continue;
    const heights = points.map((point) => dot(minus(point, points[i]), normal) / size);
    const above = heights.some((height) => height > FLAT), below = heights.some((height) => height < -FLAT);
    if (above === below) continue;
    const corners = heights.flatMap((height, at) => (Math.abs(height) <= FLAT ? [at] : []));
    const outward = above ? normal.map((value) => -value) : normal;
    if (!faces.has(corners.join())) faces.set(corners.join(), inTurn(corners, points, outward));
  }
  return [...faces.values()];
}

/**
 * The corners of a face in turn, as seen from where its normal points.
 * @param {number[]} corners
 * @param {Vector[]} points
 * @param {Vector} normal
 */
function inTurn(corners, points, normal) {
  const middle = [0, 1, 2].map((i) => corners.reduce((sum, at) => sum + points[at][i], 0) / corners.length);
  const first = minus(points[corners[0]], middle), second = cross(normal, first);
  const angle = (/** @type {number} */ at) => {
    const from = minus(points[at], middle);
    return Math.atan2(dot(from, second) / lengthOf(second), dot(from, first) / lengthOf(first));
  };
  return [...corners].sort((one, other) => angle(one) - angle(other));
}
