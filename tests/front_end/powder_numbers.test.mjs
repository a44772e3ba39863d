// The numbers and words of the powder mode.

import assert from "node:assert/strict";
import { test } from "node:test";

import { cellWords, chance, counts, extent, inBrackets, nearest, percent, radiationWords, readingAt, spacing, stemOf, subscripted, symbolsIn }
  from "../../deepchem_crystalssl/explorer/page/powder_numbers.js";

test("the spacing of planes follows Bragg's law", () => {
  assert.ok(Math.abs(spacing(60, 1.5406) - 1.5406) < 1e-9); // sin 30° is a half
  assert.ok(Math.abs(spacing(28.4427, 1.540598) - 3.1355) < 1e-4); // silicon 111
});

test("the nearest of sorted numbers", () => {
  const sorted = [1, 2, 4, 8];
  assert.deepEqual([-5, 1.4, 1.6, 3, 6.1, 90].map((value) => sorted[nearest(sorted, value)]), [1, 1, 2, 2, 8, 8]);
  assert.equal(nearest([], 3), -1);
  for (let value = 0; value < 10; value += 0.17) {
    const best = Math.min(...sorted.map((one) => Math.abs(one - value)));
    assert.equal(Math.abs(sorted[nearest(sorted, value)] - value), best);
  }
});

const CURVE = { top: 200, two_theta: [10, 20, 30], measured: [0.1, 1, 0.2], calculated: [0.1, 0.8, 0.3], parts: [] };

test("the reading at an angle has counts, and the nearest reflection of each phase", () => {
  const phases = [
    { formula: "Si", reflections: { two_theta: [19, 31], d: [4, 3], hkl: [[1, 1, 1], [2, 2, 0]], intensity: [1, 0.5] } },
    { formula: "Fe", reflections: { two_theta: [], d: [], hkl: [], intensity: [] } },
  ];
  const reading = readingAt(CURVE, phases, 1.5406, 22);
  assert.deepEqual([reading.angle, reading.measured, reading.calculated], [20, 200, 160]);
  assert.deepEqual(reading.reflections, [{ formula: "Si", hkl: [1, 1, 1], two_theta: 19, d: 4 }]);
});

test("the extent of a part of the curve leaves out what is beside it", () => {
  const { least, most, misfit } = extent(CURVE, 15, 40);
  assert.deepEqual([least, most], [0, 1]); // the figure begins at zero or below
  assert.ok(Math.abs(misfit - 0.2) < 1e-9);
  assert.equal(extent(CURVE, 50, 60).most, 1); // an empty part can be drawn
});

test("formulas, indices, percentages and counts in the signs of the field", () => {
  assert.equal(subscripted("Na0.5(CoO2)12"), "Na₀.₅(CoO₂)₁₂");
  assert.equal(inBrackets([1, -1, 0]), "(1 −1 0)");
  assert.equal(percent(0.6214, 0.0004), "62 ± 1 %");
  assert.equal(percent(0.6214, 0.0342), "62 ± 3 %");
  assert.deepEqual([12345.6, 99.126, -0.05].map(counts), ["12,346", "99.1", "−0.05"]);
});

test("a cell is told by what its symmetry leaves free", () => {
  const cubic = { lengths: [5.43, 5.43, 5.43], angles: [90, 90, 90], changes: [-0.0123, -0.0123, -0.0123] };
  assert.equal(cellWords(cubic), "a = 5.4300 Å (−1.23 %)");
  const monoclinic = { lengths: [5, 6, 7], angles: [90, 99.5, 90], changes: [0, 0.01, 0] };
  assert.equal(cellWords(monoclinic), "a = 5.0000 Å (+0.00 %), b = 6.0000 Å (+1.00 %), c = 7.0000 Å (+0.00 %), β = 99.50°");
});

test("symbols are read between spaces, commas and dashes", () => {
  assert.deepEqual(symbolsIn(" Li, Co-O;Fe–S  "), ["Li", "Co", "O", "Fe", "S"]);
  assert.deepEqual(symbolsIn(""), []);
});

test("confidence and radiation in words", () => {
  assert.equal(chance("high", 0.954), "high confidence, probability 0.95");
  assert.equal(radiationWords({ label: "Cu Kα", source: "assumed", stated: null }), "Cu Kα (assumed, because the file names none)");
  assert.match(radiationWords({ label: "Mo Kα", source: "given", stated: 1.54 }), /as you gave it; the file says 1.54 Å/);
});

test("names of files hold nothing that a disk refuses", () => {
  assert.equal(stemOf("my: pattern/№ 3.xrdml"), "my_pattern_3");
  assert.equal(stemOf("..."), "_");
  assert.equal(stemOf(".xy"), "pattern");
  assert.ok(stemOf("x".repeat(500)).length <= 60);
});
