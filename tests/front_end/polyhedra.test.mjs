// Bonds, polyhedra and scenes of well-known crystals.

import assert from "node:assert/strict";
import { test } from "node:test";
import { bondsOf, intoCell } from "../../deepchem_crystalssl/explorer/page/bonds.js";
import { SYMBOLS } from "../../deepchem_crystalssl/explorer/page/elements.js";
import { along, cellOf, cross, dot, lengthOf, minus, reciprocalOf } from "../../deepchem_crystalssl/explorer/page/lattices.js";
import { hullOf, polyhedraOf } from "../../deepchem_crystalssl/explorer/page/polyhedra.js";
import { after, turn, viewAlong } from "../../deepchem_crystalssl/explorer/page/rotations.js";
import { connectionsOf, edgesOf, sceneOf } from "../../deepchem_crystalssl/explorer/page/scene.js";
import { CRYSTALS } from "./crystals.mjs";

/** What is around each kind of atom, as "Ti: O6". */
function surroundings({ numbers }, bonds) {
  const symbol = (site) => SYMBOLS[numbers[site] - 1];
  const found = new Set(numbers.map((_, site) => {
    const counts = {};
    for (const one of bonds[site]) counts[symbol(one.site)] = (counts[symbol(one.site)] ?? 0) + 1;
    return `${symbol(site)}: ${Object.keys(counts).sort().map((name) => name + counts[name]).join(" ")}`;
  }));
  return [...found].sort();
}

const AROUND = {
  rutile: ["O: Ti3", "Ti: O6"], quartz: ["O: Si2", "Si: O4"], "rock salt": ["Cl: Na6", "Na: Cl6"],
  perovskite: ["O: Sr4 Ti2", "Sr: O12", "Ti: O6"], pyrite: ["Fe: S6", "S: Fe3 S1"], "zinc blende": ["S: Zn4", "Zn: S4"],
  calcite: ["C: O3", "Ca: O6", "O: C1 Ca2"], LiCoO2: ["Co: O6", "Li: O6", "O: Co3 Li3"], copper: ["Cu: Cu12"],
  "copper primitive": ["Cu: Cu12"], iron: ["Fe: Fe8"], MoS2: ["Mo: S6", "S: Mo3"],
};
for (const [name, wanted] of Object.entries(AROUND)) {
  test(`what is bonded in ${name}`, () => {
    const crystal = CRYSTALS[name], bonds = bondsOf(crystal), inside = intoCell(crystal.frac_coords);
    assert.deepEqual(surroundings(crystal, bonds), wanted);
    bonds.forEach((all, site) => all.forEach((one) => { // a bond is one from either side, and as long as it says
      assert.ok(bonds[one.site].some((back) => back.site === site && back.image.every((value, i) => value === -one.image[i])));
      const apart = inside[one.site].map((f, i) => f + one.image[i] - inside[site][i]);
      assert.ok(Math.abs(one.distance - lengthOf(along(crystal.lattice, apart))) < 1e-9);
    }));
  });
}

test("bonds do not depend on where the origin is, nor on multiples of the cell", () => {
  for (const name of ["rutile", "olivine", "calcite"]) {
    const crystal = CRYSTALS[name], wanted = surroundings(crystal, bondsOf(crystal));
    const moved = { ...crystal, frac_coords: crystal.frac_coords.map((at) => at.map((f, i) => f + [0.37, -1.61, 2.5][i])) };
    assert.deepEqual(surroundings(moved, bondsOf(moved)), wanted);
    const doubled = { lattice: [crystal.lattice[0].map((v) => 2 * v), ...crystal.lattice.slice(1)], numbers: [...crystal.numbers, ...crystal.numbers],
      frac_coords: [0, 0.5].flatMap((shift) => crystal.frac_coords.map(([a, b, c]) => [a / 2 + shift, b, c])) };
    assert.deepEqual(surroundings(doubled, bondsOf(doubled)), wanted);
  }
});

test("a bond is as long as the radii and 15 % of them", () => {
  const pair = (numbers, apart) => bondsOf({ lattice: [[20, 0, 0], [0, 20, 0], [0, 0, 20]], numbers, frac_coords: [[0, 0, 0], [apart / 20, 0, 0]] })[0].length;
  assert.deepEqual([2.6, 2.62].map((apart) => pair([30, 16], apart)), [1, 0]); // 1.22 and 1.05 Å
  assert.deepEqual([0.81, 0.83].map((apart) => pair([1, 1], apart)), [1, 0]); // twice 0.31 Å, at least 0.2 more
  assert.equal(pair([30, 16], 0.05), 0); // two atoms that share a site
});

test("sites a little before a face are drawn on all faces", () => {
  const crystal = { ...CRYSTALS.perovskite, frac_coords: CRYSTALS.perovskite.frac_coords.map((at) => at.map((f) => (f === 0 ? 0.9995 : f))) };
  assert.equal(sceneOf(crystal, connectionsOf(crystal), { cells: 1, polyhedra: false }).atoms.length, 15);
  assert.deepEqual(intoCell([[-0.25, 1.5, 0.999]]), [[0.75, 0.5, 0.999 - 1]]);
});

const SHAPES = {
  // element: corners, faces, and of a shape with equal bonds the volume in units of the cubed bond length
  rutile: { Ti: [6, 8] }, quartz: { Si: [4, 4] }, "rock salt": { Na: [6, 8, 4 / 3] }, "zinc blende": { Zn: [4, 4, 8 / (9 * Math.sqrt(3))] },
  perovskite: { Sr: [12, 14, 5 * Math.SQRT2 / 3], Ti: [6, 8, 4 / 3] }, calcite: { Ca: [6, 8] }, olivine: { Fe: [6, 8], Li: [6, 8], P: [4, 4] },
  MoS2: { Mo: [6, 5] }, copper: {}, iron: {}, pyrite: { Fe: [6, 8] },
};
for (const [name, wanted] of Object.entries(SHAPES)) {
  test(`polyhedra of ${name}`, () => {
    const crystal = CRYSTALS[name], found = polyhedraOf(crystal, bondsOf(crystal));
    assert.deepEqual([...new Set(found.map(({ site }) => SYMBOLS[crystal.numbers[site] - 1]))].sort(), Object.keys(wanted).sort());
    for (const { site, ligands, corners, faces } of found) {
      const [nCorners, nFaces, volume] = wanted[SYMBOLS[crystal.numbers[site] - 1]];
      assert.deepEqual([corners.length, ligands.length, faces.length], [nCorners, nCorners, nFaces]);
      const sides = faces.reduce((sum, face) => sum + face.length, 0) / 2;
      assert.equal(corners.length - sides + faces.length, 2); // Euler
      if (volume) assert.ok(Math.abs(volumeOf(corners, faces) / ligands[0].distance ** 3 - volume) < 1e-3);
    }
  });
}

/** By the divergence theorem: right, and positive, only if every face is seen in turn from outside. */
function volumeOf(points, faces) {
  const apexes = faces.flatMap((face) => face.slice(2).map((_, i) => [face[0], face[i + 1], face[i + 2]].map((at) => points[at])));
  return apexes.reduce((sum, [a, b, c]) => sum + dot(a, cross(b, c)) / 6, 0);
}

test("the hull of a cube has six faces, that of a plane none", () => {
  const cube = [0, 1, 2, 3, 4, 5, 6, 7].map((i) => [i & 1, (i >> 1) & 1, i >> 2]);
  const faces = hullOf([...cube, [0.5, 0.5, 0.5]]);
  assert.deepEqual([faces.length, ...faces.map((face) => face.length)], [6, 4, 4, 4, 4, 4, 4]);
  assert.ok(Math.abs(volumeOf(cube, faces) - 1) < 1e-12);
  assert.deepEqual(hullOf(cube.slice(0, 4)), []);
});

test("a scene has the atoms on all faces, their bonds, and whole polyhedra", () => {
  const crystal = CRYSTALS.perovskite, connections = connectionsOf(crystal);
  const one = sceneOf(crystal, connections, { cells: 1, polyhedra: false });
  assert.equal(one.atoms.length, 8 + 1 + 6);
  assert.deepEqual(one.atoms.filter(({ site }) => crystal.numbers[site] === 22).map(({ bonds }) => bonds.length), [6]);
  assert.equal(sceneOf(crystal, connections, { cells: 2, polyhedra: false }).atoms.length, 27 + 8 + 36);
  const rutile = CRYSTALS.rutile, whole = sceneOf(rutile, connectionsOf(rutile), { cells: 1, polyhedra: true });
  assert.equal(whole.solids.length, 9); // titanium on 8 corners and in the middle
  const titanium = whole.atoms.slice(0, 15).filter(({ site }) => rutile.numbers[site] === 22);
  assert.deepEqual(titanium.map(({ bonds }) => bonds.length), Array(9).fill(6));
  for (const { bonds, position } of whole.atoms) for (const at of bonds) assert.ok(lengthOf(minus(whole.atoms[at].position, position)) < 2.1);
});

test("edges of the cells", () => {
  const edges = edgesOf(CRYSTALS.quartz.lattice, 1), lengths = edges.map(([from, to]) => lengthOf(minus(from, to)).toFixed(3)).sort();
  assert.deepEqual(lengths, [...Array(8).fill("4.913"), ...Array(4).fill("5.405")]);
  assert.equal(edgesOf(CRYSTALS.quartz.lattice, 2).length, 27);
});

test("lengths, angles and volume of a cell, and its reciprocal", () => {
  const { a, c, alpha, gamma, volume } = cellOf(CRYSTALS.quartz.lattice);
  assert.deepEqual([a, c, alpha, gamma].map((v) => +v.toFixed(3)), [4.913, 5.405, 90, 120]);
  assert.ok(Math.abs(volume - 4.913 ** 2 * 5.405 * Math.sqrt(0.75)) < 1e-2);
  reciprocalOf(CRYSTALS.calcite.lattice).forEach((row, i) => CRYSTALS.calcite.lattice.forEach((other, j) => assert.ok(Math.abs(dot(row, other) - +(i === j)) < 1e-9)));
});

const rotate = ([x, y, z, w], vector) => {
  const t = cross([x, y, z], vector).map((value) => 2 * value), u = cross([x, y, z], t);
  return vector.map((value, i) => value + w * t[i] + u[i]);
};
test("a view along a vector has it point to the eye, and c upwards", () => {
  for (const name of ["quartz", "olivine", "copper primitive"]) {
    const { lattice } = CRYSTALS[name];
    for (const axis of [0, 1, 2]) {
      const [x, y, z] = rotate(viewAlong(lattice, axis), lattice[axis]);
      assert.ok(Math.abs(x) + Math.abs(y) < 1e-9 && z > 0, `${name} ${axis}`);
      const up = rotate(viewAlong(lattice, axis), lattice[axis === 2 ? 1 : 2]);
      assert.ok(Math.abs(up[0]) < 1e-9 && up[1] > 0);
    }
  }
  const [x, y, z] = rotate(after(turn(0, 90), turn(1, 90)), [1, 0, 0]); // to the back, then up
  assert.ok(Math.abs(x) < 1e-12 && Math.abs(y - 1) < 1e-12 && Math.abs(z) < 1e-12);
});
