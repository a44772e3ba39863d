// What is drawn of a crystal: atoms of some cells with those on their faces, bonds, polyhedra, edges of the cells.

import { bondsOf, intoCell } from "#bonds";
import { along } from "#lattices";
import { polyhedraOf } from "#polyhedra";

/** @typedef {import("#bonds").Neighbor} Neighbor */
/** @typedef {import("#lattices").Structure} Structure */
/** @typedef {import("#lattices").Vector} Vector */
/** @typedef {import("#polyhedra").Polyhedron} Polyhedron */

/**
 * An atom that is drawn: of which site, in which cell, where (Å), and the places of its partners in the list.
 * @typedef {{ site: number, image: Vector, position: Vector, bonds: number[] }} Atom
 */
/** A polyhedron that is drawn: of which site, and its faces as corners in Å.
 * @typedef {{ site: number, faces: Vector[][] }} Solid
 */
/** @typedef {{ atoms: Atom[], solids: Solid[] }} Scene */

// Polyhedra with more corners, as of Sr in a perovskite, would hide all others.
const MOST_CORNERS = 8;
const ON_FACE = 0.002;

/**
 * The bonds and polyhedra of a crystal, which are the same for any number of cells.
 * @param {Structure} structure
 */
export function connectionsOf(structure) {
  const bonds = bondsOf(structure);
  return { bonds, polyhedra: polyhedraOf(structure, bonds) };
}

/**
 * Atoms of n x n x n cells. A site on a face, an edge or a corner is drawn on all of them.
 * @param {Structure} structure
 * @param {{ bonds: Neighbor[][], polyhedra: Polyhedron[] }} connections
 * @param {{ cells: number, polyhedra: boolean }} options
 * @returns {Scene}
 */
export function sceneOf(structure, connections, { cells, polyhedra }) {
  const inside = intoCell(structure.frac_coords, ON_FACE), { lattice } = structure;
  /** @type {Map<string, number>} */
  const placeOf = new Map();
  /** @type {Atom[]} */
  const atoms = [];
  const key = (/** @type {number} */ site, /** @type {Vector} */ image) => `${site} ${image[0]} ${image[1]} ${image[2]}`;
  const add = (/** @type {number} */ site, /** @type {Vector} */ image) => {
    const name = key(site, image);
    if (placeOf.has(name)) return;
    placeOf.set(name, atoms.length);
    atoms.push({ site, image, position: along(lattice, inside[site].map((f, i) => f + image[i])), bonds: [] });
  };
  inside.forEach((at, site) => {
    const [first, second, third] = at.map((f) => Array.from({ length: Math.abs(f) < ON_FACE ? cells + 1 : cells }, (_, i) => i));
    for (const i of first) for (const j of second) for (const k of third) add(site, [i, j, k]);
  });
  const solids = polyhedra ? solidsOf(atoms.slice(), structure, connections.polyhedra, add) : [];
  for (const atom of atoms) {
    for (const { site, image } of connections.bonds[atom.site]) {
      const partner = placeOf.get(key(site, image.map((value, i) => value + atom.image[i])));
      if (partner !== undefined) atom.bonds.push(partner);
    }
  }
  return { atoms, solids };
}

/**
 * Polyhedra around the atoms that are drawn; corners outside of the cells are added to the atoms.
 * @param {Atom[]} atoms
 * @param {Structure} structure
 * @param {Polyhedron[]} polyhedra
 * @param {(site: number, image: Vector) => void} add
 */
function solidsOf(atoms, { lattice }, polyhedra, add) {
  const around = new Map(polyhedra.filter(({ corners }) => corners.length <= MOST_CORNERS).map((one) => [one.site, one]));
  return atoms.flatMap(({ site, image }) => {
    const one = around.get(site);
    if (!one) return [];
    for (const ligand of one.ligands) add(ligand.site, ligand.image.map((value, i) => value + image[i]));
    const shift = along(lattice, image);
    const corners = one.corners.map((corner) => corner.map((value, i) => value + shift[i]));
    return [{ site, faces: one.faces.map((face) => face.map((at) => corners[at])) }];
  });
}

/**
 * Edges of the cells as pairs of points, Å.
 * @param {Vector[]} lattice
 * @param {number} cells
 * @returns {[Vector, Vector][]}
 */
export function edgesOf(lattice, cells) {
  const places = Array.from({ length: cells + 1 }, (_, i) => i);
  return [0, 1, 2].flatMap((axis) => places.flatMap((i) => places.map((j) => {
    const from = [0, 0, 0];
    [from[(axis + 1) % 3], from[(axis + 2) % 3]] = [i, j];
    const to = from.slice();
    to[axis] = cells;
    return /** @type {[Vector, Vector]} */ ([along(lattice, from), along(lattice, to)]);
  })));
}
