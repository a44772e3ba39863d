// Indices of lines, and patterns of other radiations, compared with pymatgen.

import assert from "node:assert/strict";
import { test } from "node:test";
import { dot, reciprocalOf } from "../../deepchem_crystalssl/explorer/page/lattices.js";
import { angleOf, K_ALPHA_1, spacingOf, withWavelength } from "../../deepchem_crystalssl/explorer/page/radiation.js";
import { reflectionsOf, representative } from "../../deepchem_crystalssl/explorer/page/reflections.js";
import { CRYSTALS } from "./crystals.mjs";

const CU = 1.54056;
const names = (lines) => lines.map((all) => all.map(({ hkl }) => hkl.join("")).join(" "));
const anglesOf = ({ lines }) => lines.map((line) => line.two_theta);

for (const [name, crystal] of Object.entries(CRYSTALS)) {
  test(`every line of ${name} has its indices, as pymatgen has them`, () => {
    const g = reciprocalOf(crystal.lattice), sizeOf = (hkl) => {
      const at = [0, 1, 2].map((i) => hkl[0] * g[0][i] + hkl[1] * g[1][i] + hkl[2] * g[2][i]);
      return 1 / Math.sqrt(dot(at, at));
    };
    reflectionsOf(anglesOf(crystal), crystal, CU).forEach((found, i) => {
      const line = crystal.lines[i];
      assert.ok(found.length >= 1 && Math.abs(found[0].d - line.d) < 2e-4, `${line.two_theta}`);
      for (const { hkl, d } of found) assert.ok(Math.abs(sizeOf(hkl) - d) < 1e-9 && Math.abs(angleOf(d, CU) - line.two_theta) < 0.012);
      // One of its reflections is named, up to order and signs, as it depends on the axes only.
      const sorted = (hkl) => [...hkl].map(Math.abs).sort().join();
      if (!["quartz", "calcite", "LiCoO2", "MoS2", "copper primitive"].includes(name)) {
        const wanted = new Set(line.hkl.map(sorted));
        assert.deepEqual(new Set(found.map(({ hkl }) => sorted(hkl))), wanted, `${line.two_theta}`);
      }
    });
  });
}

test("the usual names of the first lines", () => {
  const first = (name, n) => names(reflectionsOf(anglesOf(CRYSTALS[name]).slice(0, n), CRYSTALS[name], CU));
  assert.deepEqual(first("rutile", 7), ["110", "101", "200", "111", "210", "211", "220"]);
  assert.deepEqual(first("rock salt", 5), ["111", "200", "220", "311", "222"]);
  assert.deepEqual(first("calcite", 8), ["012", "104", "006", "110", "113", "202", "024", "018"]); // obverse setting
  assert.deepEqual(first("LiCoO2", 5), ["003", "101", "006", "012", "104"]);
  assert.deepEqual(first("copper", 4), ["111", "200", "220", "311"]);
  assert.deepEqual(first("iron", 3), ["110", "200", "211"]);
  assert.deepEqual(names(reflectionsOf([72.565], CRYSTALS.perovskite, CU)), ["221 300"]);
});

test("numbers of equivalent reflections", () => {
  const multiplicities = (name, angles, structure) => reflectionsOf(angles, structure ?? CRYSTALS[name], CU).map((all) => all.map((one) => one.multiplicity));
  assert.deepEqual(multiplicities("rock salt", [27.366, 31.703, 45.448, 53.868]), [[8], [6], [12], [24]]);
  assert.deepEqual(multiplicities("perovskite", [72.565]), [[24, 6]]);
  assert.deepEqual(multiplicities("pyrite", [37.072, 64.275]), [[12], [24, 24]]); // Laue class m-3
  assert.deepEqual(multiplicities("quartz", [20.861, 26.641, 40.294]), [[6], [6, 6], [12]]);
  assert.deepEqual(multiplicities("olivine", [17.15, 20.775, 25.561]), [[2], [4], [8]]);
  // The lattice alone has the full symmetry of its cell, and extinguishes nothing.
  const { lattice } = CRYSTALS.pyrite;
  assert.deepEqual(multiplicities("", [37.072, angleOf(5.418, CU)], { lattice }), [[24], [6]]);
  assert.deepEqual(multiplicities("pyrite", [angleOf(5.418, CU) + 0.5]), [[]]);
});

test("lines are found whatever their order, and no others", () => {
  const angles = [53.868, 27.366, 40.0];
  assert.deepEqual(names(reflectionsOf(angles, CRYSTALS["rock salt"], CU)), ["311", "111", ""]);
  assert.deepEqual(reflectionsOf([], CRYSTALS.rutile, CU), []);
});

test("of equivalent indices that with the fewest negative ones, then the largest, is written", () => {
  assert.deepEqual(representative([[2, -1, 0], [1, 1, 0], [-1, 2, 0], [-1, -1, 0]]), [1, 1, 0]);
  assert.deepEqual(representative([[1, 1, -1], [-1, -1, 1]]), [1, 1, -1]);
  assert.deepEqual(representative([[0, 1, 2], [2, 1, 0], [1, 2, 0]]), [2, 1, 0]);
  assert.ok(Object.is(representative([[-0, -0, 1]])[0], 0));
});

test("spacings and angles are those of Bragg's law", () => {
  for (const { two_theta: angle, d } of CRYSTALS.quartz.lines) {
    assert.ok(Math.abs(spacingOf(angle, CU) - d) < 2e-4);
    assert.ok(Math.abs(angleOf(spacingOf(angle, CU), CU) - angle) < 1e-9);
  }
  assert.ok(Number.isNaN(angleOf(0.7, CU)));
});

test("intensities with another wavelength are those that pymatgen calculates", () => {
  for (const [radiation, lines] of Object.entries(CRYSTALS.rutile.others)) {
    const spacings = CRYSTALS.rutile.lines.map(({ d }) => d), intensities = CRYSTALS.rutile.lines.map(({ intensity }) => intensity);
    const found = withWavelength(spacings, intensities, CU, K_ALPHA_1.get(radiation));
    lines.forEach(({ two_theta: angle, intensity, d }) => {
      const at = spacings.findIndex((one) => Math.abs(one - d) < 2e-4);
      assert.ok(Math.abs(100 * found[at] - intensity) < 0.1 && Math.abs(angleOf(d, K_ALPHA_1.get(radiation)) - angle) < 0.02, `${radiation} ${angle}`);
    });
    assert.ok(Math.abs(Math.max(...found.filter(Number.isFinite)) - 1) < 1e-12);
  }
  assert.deepEqual(withWavelength([2, 0.5], [1, 1], 0.5, 1.5), [1, NaN]);
});
