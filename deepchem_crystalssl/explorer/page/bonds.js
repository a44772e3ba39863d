// Which atoms are drawn as bonded, across the faces of the cell too.
//
// Two atoms are bonded where they are not farther apart than the sum of their covalent radii and 15 % of it (but at least
// 0.2 Å). Two exceptions concern metals: atoms that both have a partner that is more electronegative than either of them
// are not bonded to each other (Ti and Ti of an oxide), and between metals only the first shell counts.

import { COVALENT_RADII, ELECTRONEGATIVITIES } from "#element_values";
import { along, lengthOf, reciprocalOf } from "#lattices";

/** @typedef {import("#lattices").Structure} Structure */
/** @typedef {import("#lattices").Vector} Vector */
/** A site next to another: which, in which cell, and how far. @typedef {{ site: number, image: Vector, distance: number }} Neighbor */

const MORE = 0.15;
const LEAST = 0.2;
/** The difference of electronegativities from which one of two partners is the ligand. */
export const POLAR = 0.3;
const NOT_METALS = new Set([1, 2, 5, 6, 7, 8, 9, 10, 14, 15, 16, 17, 18, 32, 33, 34, 35, 36, 51, 52, 53, 54, 85, 86]);
const SHELL = 1.12;
const SAME_SITE = 0.1;

/** @param {number} number */
const radius = (number) => COVALENT_RADII[number - 1] ?? 1.69;
/** @param {number} number */
export const electronegativity = (number) => ELECTRONEGATIVITIES[number - 1] ?? 1.5;

/**
 * Fractional coordinates in the cell; those at its far faces, within a tolerance, are moved to the near ones.
 * @param {Vector[]} fractions
 * @param {number} [tolerance]
 * @returns {Vector[]}
 */
export function intoCell(fractions, tolerance = 0.002) {
  return fractions.map((one) => one.map((f) => { const inside = f - Math.floor(f); return inside > 1 - tolerance ? inside - 1 : inside; }));
}

/**
 * The bonded neighbours of every site, each as often as it has images.
 * @param {Structure} structure
 * @returns {Neighbor[][]}
 */
export function bondsOf(structure) {
  const near = contactsOf(structure), chi = structure.numbers.map(electronegativity);
  const metal = structure.numbers.map((number) => !NOT_METALS.has(number));
  // How electronegative the most electronegative partner of a site is, and how near its nearest.
  const highest = near.map((all) => Math.max(...all.map(({ site }) => chi[site]), 0));
  const nearest = near.map((all) => Math.min(...all.map(({ distance }) => distance), Infinity));
  return near.map((all, one) => all.filter(({ site, distance }) => {
    const more = Math.max(chi[one], chi[site]) + POLAR;
    if ((metal[one] || metal[site]) && highest[one] >= more && highest[site] >= more) return false;
    return !(metal[one] && metal[site]) || distance <= SHELL * Math.max(nearest[one], nearest[site]);
  }));
}

/**
 * Neighbours within the sum of the radii and some more.
 * @param {Structure} structure
 * @returns {Neighbor[][]}
 */
function contactsOf({ lattice, numbers, frac_coords: fractions }) {
  const inside = intoCell(fractions), points = inside.map((at) => along(lattice, at)), radii = numbers.map(radius);
  const reach = (/** @type {number} */ sum) => sum + Math.max(LEAST, MORE * sum);
  const farthest = reach(2 * Math.max(...radii));
  const margins = reciprocalOf(lattice).map((row) => farthest * lengthOf(row)), [na, nb, nc] = margins.map((margin) => Math.floor(margin + 1));
  /** @type {Neighbor[][]} */
  const found = numbers.map(() => []);
  for (let i = -na; i <= na; i++) for (let j = -nb; j <= nb; j++) for (let k = -nc; k <= nc; k++) {
    const image = [i, j, k], [sx, sy, sz] = along(lattice, image);
    for (let one = 0; one < points.length; one++) {
      // Seen from the other cell, the site must be in it or near.
      if (image.some((shift, axis) => inside[one][axis] - shift < -margins[axis] - 0.01 || inside[one][axis] - shift > 1 + margins[axis])) continue;
      const [px, py, pz] = [points[one][0] - sx, points[one][1] - sy, points[one][2] - sz];
      for (let other = 0; other < points.length; other++) {
        const at = points[other], dx = at[0] - px, dy = at[1] - py, dz = at[2] - pz;
        const squared = dx * dx + dy * dy + dz * dz;
        if (squared > farthest * farthest || squared < SAME_SITE * SAME_SITE) continue;
        if (squared <= reach(radii[one] + radii[other]) ** 2) found[one].push({ site: other, image, distance: Math.sqrt(squared) });
      }
    }
  }
  return found;
}
