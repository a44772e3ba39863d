// The state of the page, its address, filters and axes.

import assert from "node:assert/strict";
import { test } from "node:test";
import { axisOf, ticksOf } from "../../deepchem_crystalssl/explorer/page/axes.js";
import { filtersOf, isInside, passing } from "../../deepchem_crystalssl/explorer/page/filters.js";
import { binsOf, valueAt } from "../../deepchem_crystalssl/explorer/page/histogram.js";
import { nextChoice, placeOf } from "../../deepchem_crystalssl/explorer/page/periodic_table.js";
import { nameRegions } from "../../deepchem_crystalssl/explorer/page/regions.js";
import { scaleOfKinds, scaleOfNumbers } from "../../deepchem_crystalssl/explorer/page/scales.js";
import { decode, encode, INITIAL } from "../../deepchem_crystalssl/explorer/page/state.js";
import { compare, csvOf } from "../../deepchem_crystalssl/explorer/page/tables.js";

const FULL = {
  mode: "powder", crystal: "mp-1 & b", color: "gap (eV)", x: "a=b", y: "density", search: "Li-*-O", kinds: { "a:b": ["x", "y z"], c: ["=1"] },
  ranges: { gap: [1, 2.5], low: [-Infinity, 3], high: [1e-7, Infinity] }, must: ["Li", "O"], may: ["Co"], not: ["F"],
  lasso: { x: "a=b", y: "density", corners: [[0, 0], [0.25, -1], [1, 1]] }, view: [2.5, 0.1, -0.2],
};

test("a state is read from its address as it was written", () => {
  assert.deepEqual(decode(encode(FULL)), FULL);
  assert.deepEqual(decode(""), { ...INITIAL });
  assert.equal(encode({ ...INITIAL }), "");
  assert.equal(decode("mp-149").crystal, "mp-149");
  for (const part of Object.keys(FULL)) {
    const one = { ...INITIAL, [part]: FULL[part] };
    assert.deepEqual(decode(encode(one)), one, part);
  }
});

test("an address that is wrong describes what of it is right", () => {
  assert.deepEqual(decode("mode=tea&range:gap=2..1&must=xx Li&lasso=1 2 3&view=0 1 1&crystal=mp-1"), { ...INITIAL, crystal: "mp-1", must: ["Li"] });
  assert.deepEqual(decode("%E0%A4"), { ...INITIAL });
});

const SETS = [["Li", "O"], ["Li", "Co", "O"], ["Na", "Cl"], ["Li", "F"], ["O"]].map((s) => new Set(s));
const KNOWN = {
  n: 5, elementsOf: (row) => SETS[row], columnValues: async (name) => ({ gap: [1, 2, 5, NaN, 3], kind: [0, 0, 1, 1, 65535] })[name],
  column: (name) => ({ gap: { categories: null }, kind: { categories: ["oxide", "halide"] } })[name],
  coordinates: async () => [[0, 1, 2, 3, 4], [0, 0, 0, 0, 0]], find: async () => ({ rows: [0, 1, 3], words: "" }),
};
const passed = async (changes) => [...await passing(filtersOf({ ...INITIAL, ...changes }, (name) => name), KNOWN)].join("");

test("each filter keeps what it says, and together they keep what all keep", async () => {
  assert.equal(await passed({}), "11111");
  assert.equal(await passed({ must: ["Li"] }), "11010");
  assert.equal(await passed({ must: ["O"], may: ["Li"] }), "10001");
  assert.equal(await passed({ may: ["Na", "Cl"] }), "00100");
  assert.equal(await passed({ not: ["Li", "Cl"] }), "00001");
  assert.equal(await passed({ ranges: { gap: [2, 3] } }), "01001");
  assert.equal(await passed({ ranges: { gap: [-Infinity, 2] } }), "11000");
  assert.equal(await passed({ kinds: { kind: ["halide"] } }), "00110");
  assert.equal(await passed({ kinds: { kind: ["halide", "oxide"] } }), "11110");
  assert.equal(await passed({ kinds: { none: ["a"] } }), "00000");
  assert.equal(await passed({ search: "x" }), "11010");
  assert.equal(await passed({ lasso: { x: "", y: "", corners: [[0.5, -1], [3.5, -1], [3.5, 1], [0.5, 1]] } }), "01110");
  assert.equal(await passed({ search: "x", must: ["O"], ranges: { gap: [2, 9] } }), "01000");
});

test("what ends a filter ends this one alone", () => {
  const state = { ...INITIAL, ...FULL };
  for (const filter of filtersOf(state, (name) => name)) {
    const left = filtersOf({ ...state, ...filter.without }, (name) => name);
    assert.equal(left.length, filtersOf(state, (name) => name).length - 1, filter.words);
    assert.ok(!left.some(({ key }) => key === filter.key));
  }
});

test("inside and outside of a polygon", () => {
  const bow = [[0, 0], [2, 2], [2, 0], [0, 2]];
  assert.deepEqual([[0.2, 1], [1.8, 1], [1, 0.2], [1, 1.8], [3, 3]].map((p) => isInside(bow, ...p)), [true, true, false, false, false]);
});

test("axes place numbers, decades and categories", () => {
  const linear = axisOf("a", [0, 5, 10, NaN]), decades = axisOf("b", [1, 100, 10000]), kinds = axisOf("c", [0, 1, 65535], ["x", "y"]);
  assert.deepEqual([...linear.at].map((v) => +v.toFixed(2)), [-0.94, 0, 0.94, NaN]);
  assert.ok(decades.isLogarithmic && !linear.isLogarithmic && Math.abs(decades.at[1]) < 1e-6);
  assert.ok(Number.isNaN(kinds.at[2]));
  assert.deepEqual(ticksOf(linear), [0, 2, 4, 6, 8, 10]);
  assert.deepEqual(ticksOf(decades), [1, 10, 100, 1000, 10000]);
  assert.deepEqual(ticksOf(kinds), [0, 1]);
  assert.equal(binsOf(linear, new Uint8Array([1, 1, 0, 1])).reduce((a, b) => a + b), 2);
  assert.deepEqual([valueAt(linear, 0.25), valueAt(decades, 0.5)], [2.5, 100]);
});

test("colours of numbers and of kinds", () => {
  const scale = scaleOfNumbers([NaN, ...Array.from({ length: 101 }, (_, i) => i)], 10);
  assert.deepEqual([scale.codes[0], scale.codes[1], scale.codes[101], scale.low, scale.high, scale.known], [0, 1, 10, 1, 99, 101]);
  const kinds = scaleOfKinds([0, 1, 1, 2, 2, 2, 65535], ["a", "b", "c"], 2);
  assert.deepEqual(kinds.named.map(({ name, count }) => [name, count]), [["b", 2], ["c", 3]]);
  assert.deepEqual([...kinds.codes], [0, 1, 1, 2, 2, 2, 0]);
  assert.equal(kinds.others, 2);
});

test("each element has its place in the periodic table", () => {
  const places = Array.from({ length: 118 }, (_, i) => placeOf(i + 1).join(" "));
  assert.equal(new Set(places).size, 118);
  assert.deepEqual([1, 2, 5, 10, 21, 26, 57, 71, 72, 86, 89, 103, 104, 118].map((z) => placeOf(z)),
    [[1, 1], [1, 18], [2, 13], [2, 18], [4, 3], [4, 8], [9, 4], [6, 3], [6, 4], [6, 18], [10, 4], [7, 3], [7, 4], [7, 18]]);
  let choice = { must: [], may: [], not: [] };
  const kinds = ["must", "may", "not", "none"].map(() => { choice = nextChoice(choice, "Li"); return Object.keys(choice).find((k) => choice[k].length) ?? "none"; });
  assert.deepEqual(kinds, ["must", "may", "not", "none"]);
});

test("a region is named by what its crystals share and others lack", () => {
  const sets = [...Array(20).fill(["Li", "O"]), ...Array(20).fill(["Ga", "As"])];
  const px = sets.map((_, i) => (i < 20 ? 10 : 410) + i % 5), py = sets.map(() => 50), shares = new Map([["Li", 0.5], ["O", 0.5], ["Ga", 0.5], ["As", 0.5]]);
  const regions = nameRegions(px, py, (row) => sets[row], shares, 150, 5);
  assert.deepEqual(regions.map(({ name, size }) => [name, size]), [["Li–O", 20], ["Ga–As", 20]]);
  assert.equal(nameRegions(px, py, (row) => sets[row], shares, 150, 30).length, 0);
});

test("tables sort numbers by size and write safe cells", () => {
  assert.deepEqual(["10", "9", "", "1.5"].sort(compare), ["1.5", "9", "10", ""]);
  assert.deepEqual(["mp-10", "mp-9"].sort(compare), ["mp-9", "mp-10"]);
  globalThis.Node ??= class {};
  const text = csvOf([{ name: "id", csv: "material_id", of: (r) => r }], ["=1+1", 'a "b", c', -3]);
  assert.equal(text, "material_id\n'=1+1\n\"a \"\"b\"\", c\"\n-3\n");
});
