// What the search field understands, asked of a few crystals.

import assert from "node:assert/strict";
import { test } from "node:test";
import { SYMBOLS } from "../../deepchem_crystalssl/explorer/page/elements.js";
import { parseQuery } from "../../deepchem_crystalssl/explorer/page/search.js";

const CRYSTALS = [
  // id, formula, crystal system, space group, band gap, computed gap, atoms
  ["mp-149", "Si", "cubic", 227, 0.61, 1.1, 2],
  ["mp-19017", "LiFePO4", "orthorhombic", 62, 3.5, 3.7, 28],
  ["mp-22526", "LiCoO2", "trigonal", 166, 1.0, NaN, 4],
  ["mp-1", "Li2Co2O4", "cubic", 227, 0.5, 1.5, 16],
  ["mp-2", "LiCo2O4", "cubic", 227, 0, 0, 14],
  ["mp-3", "LiCoPO4", "orthorhombic", 62, 2, 4, 28],
  ["mp-4", "NaCl", "cubic", 225, 5, 8, 2],
  ["mp-5", "SrTiO3", "cubic", 221, 1.8, 3.3, 5],
  ["mp-6", "Fe2(SO4)3", "monoclinic", 14, NaN, NaN, 68],
  ["mp-7", "LiF", "cubic", 225, 9, 13, 2],
  ["mp-8", "TiO2", "tetragonal", 136, 1.78, 3, 6],
  ["mp-9", "CaSO4(H2O)2", "monoclinic", 15, 6, NaN, 24],
  ["mvc-10", "LiMn2OF4", "triclinic", 2, 1, 2, 8],
  ["mp-11", "CO", "cubic", 198, 5, 7, 8],
  ["mp-12", "Co", "hexagonal", 194, 0, 0, 2],
  ["mp-13", "P2", "cubic", 3, 1, 1, 2],
];
const SYSTEMS = ["triclinic", "monoclinic", "orthorhombic", "tetragonal", "trigonal", "hexagonal", "cubic"];
const CLASSES = ["oxide", "halide", "hydride, boride, carbide, silicide", "intermetallic or element"];
const classOf = (formula) => (/O/.test(formula.replace("Co", "")) ? 0 : /F$|F\d|Cl/.test(formula) ? 1 : /Si/.test(formula) ? 2 : 3);
const KNOWN = {
  ids: CRYSTALS.map(([id]) => id), formulas: CRYSTALS.map(([, formula]) => formula), symbols: SYMBOLS,
  columns: [
    { name: "anion_class", categories: CLASSES, values: () => Uint16Array.from(CRYSTALS, ([, formula]) => classOf(formula)) },
    { name: "crystal_system", categories: SYSTEMS, values: async () => Uint16Array.from(CRYSTALS, (one) => SYSTEMS.indexOf(one[2])) },
    { name: "space_group", categories: null, values: () => Float32Array.from(CRYSTALS, (one) => one[3]) },
    { name: "band_gap", categories: null, values: async () => Float32Array.from(CRYSTALS, (one) => one[4]) },
    { name: "kong_bulk_modulus", categories: null, values: () => Float32Array.from(CRYSTALS, (one) => 10 * one[5]) },
    { name: "kong_shear_modulus", categories: null, values: () => Float32Array.from(CRYSTALS, (one) => one[5]) },
    { name: "num_sites", categories: null, values: () => Float32Array.from(CRYSTALS, (one) => one[6]) },
    { name: "stable", categories: ["true", "false"], values: () => new Uint16Array(CRYSTALS.length).fill(65535) },
  ],
};
KNOWN.label = (name) => (name === "num_sites" ? "atoms in the cell" : name.replaceAll("_", " "));
const formulasOf = async (text) => {
  const found = await parseQuery(text, KNOWN);
  assert.ok(!("problem" in found), `${text}: ${found.problem}`);
  assert.deepEqual(found.rows, KNOWN.ids.flatMap((_, row) => (found.test(row) ? [row] : [])));
  return found.rows.map((row) => KNOWN.formulas[row]);
};
const wordsOf = async (text) => (await parseQuery(text, KNOWN)).words;
const problemOf = async (text) => (await parseQuery(text, KNOWN)).problem ?? assert.fail(`${text} was understood`);
const all = (wanted) => CRYSTALS.filter(wanted).map(([, formula]) => formula);

const QUERIES = {
  "mp-149": ["Si"], "MP-149": ["Si"], "mp 149": ["Si"], "mp\u2013149": ["Si"], " mp149 ": ["Si"], "MVC_10": ["LiMn2OF4"],
  "mp-149, mp-4": ["Si", "NaCl"], "mp-999999999": [], "mp 77777": [],
  lifepo4: ["LiFePO4"], "LiCoO\u2082": ["LiCoO2", "Li2Co2O4"], "Co O2 Li": ["LiCoO2", "Li2Co2O4"], "Li2Co2O4": ["LiCoO2", "Li2Co2O4"],
  "Fe2(SO4)3": ["Fe2(SO4)3"], "Fe2 (SO4)3": ["Fe2(SO4)3"], S3Fe2O12: ["Fe2(SO4)3"], "fe2(so4)3": ["Fe2(SO4)3"], "CaSO4\u00b72H2O": ["CaSO4(H2O)2"],
  CO: ["CO"], OC: ["CO"], OgTs2: [], nacl: ["NaCl"], Si1: ["Si"], P2: ["P2"], p2: ["P2"],
  "Li-Co-O": ["LiCoO2", "Li2Co2O4", "LiCo2O4"], "o\u2013li\u2013co": ["LiCoO2", "Li2Co2O4", "LiCo2O4"], "Li - Co - O": ["LiCoO2", "Li2Co2O4", "LiCo2O4"],
  "Li-*-*-O": ["LiFePO4", "LiCoPO4", "LiMn2OF4"], "Li-*": ["LiF"], "Og-Ts": [],
  ABX3: ["SrTiO3"], A2B: ["TiO2"], AB2X4: ["LiCo2O4"],
  "Li Co": all(([, f]) => /Li/.test(f) && /Co/.test(f)), "Li, Co": all(([, f]) => /Li/.test(f) && /Co/.test(f)),
  "Li and Co": all(([, f]) => /Li/.test(f) && /Co/.test(f)), co: all(([, f]) => /Co/.test(f)),
  "Li -F": all(([, f]) => /Li/.test(f) && !/F(?!e)/.test(f)), "Li not F": all(([, f]) => /Li/.test(f) && !/F(?!e)/.test(f)),
  "Li without F, P": ["LiCoO2", "Li2Co2O4", "LiCo2O4"], "Li without F and P": ["LiCoO2", "Li2Co2O4", "LiCo2O4"],
  "Fm-3m": ["NaCl", "LiF"], fm3m: ["NaCl", "LiF"], "sg 225": ["NaCl", "LiF"], "spacegroup 225": ["NaCl", "LiF"], "space group Fm-3m": ["NaCl", "LiF"],
  "sg: 225": ["NaCl", "LiF"], "sg F m -3 m": ["NaCl", "LiF"], "space_group=225": ["NaCl", "LiF"], Pnma: ["LiFePO4", "LiCoPO4"], pbnm: ["LiFePO4", "LiCoPO4"],
  "P21/c": ["Fe2(SO4)3"], "P2_1/n": ["Fe2(SO4)3"], "sg P2": ["P2"], "sg 225..227": all((one) => one[3] > 224 && one[3] < 228), "P-1": ["LiMn2OF4"],
  cubic: all((one) => one[2] === "cubic"), "crystal system cubic": all((one) => one[2] === "cubic"), "system = Cubic": all((one) => one[2] === "cubic"),
  halides: ["NaCl", "LiF"], "cubic oxide": ["Li2Co2O4", "LiCo2O4", "SrTiO3", "CO"], carbide: ["Si"], "Li not oxide": ["LiF"],
  "gap 1..2": all((one) => one[4] >= 1 && one[4] <= 2), "band_gap > 1": all((one) => one[4] > 1), "gap<2 eV": all((one) => one[4] < 2),
  "gap<2eV": all((one) => one[4] < 2), "gap \u2264 2": all((one) => one[4] <= 2), "1 < gap <= 2": all((one) => one[4] > 1 && one[4] <= 2),
  "1 < band gap": all((one) => one[4] > 1), "2 > gap Li": all(([, f, , , gap]) => gap < 2 && /Li/.test(f)),
  "Band Gap 1-2": all((one) => one[4] >= 1 && one[4] <= 2), "bandgap between 1 and 2": all((one) => one[4] >= 1 && one[4] <= 2),
  "gap from 1 to 2 eV": all((one) => one[4] >= 1 && one[4] <= 2), "gap ..1": all((one) => one[4] <= 1), "gap 5..": all((one) => one[4] >= 5),
  "gap at least 5": all((one) => one[4] >= 5), "gap above 5": all((one) => one[4] > 5), "gap less than .5": all((one) => one[4] < 0.5),
  "gap = 1.78": ["TiO2"], "stable = true": [], "atoms 2": all((one) => one[6] === 2), "atoms in the cell < 5": all((one) => one[6] < 5), "gap > -1": all((one) => one[4] > -1),
  "bulk modulus > 70": ["NaCl", "LiF"], "shear > 7": ["NaCl", "LiF"], "bulkmodulus>70": ["NaCl", "LiF"],
  "Li-Co-O gap 1..2": ["LiCoO2"], "gap 1..2 Li-Co-O": ["LiCoO2"], "Li-Co-O, gap 1..2": ["LiCoO2"], "Li-Co-O and cubic and gap < 0.2": ["LiCo2O4"],
  "LiCoO2 cubic": ["Li2Co2O4"], "ternary halide": [], "binary halide": ["NaCl", "LiF"], "Li gap 1..4 -F Pnma": ["LiFePO4", "LiCoPO4"],
};
for (const [text, wanted] of Object.entries(QUERIES)) {
  test(`"${text}" finds ${wanted.length}`, async () => assert.deepEqual(await formulasOf(text), wanted));
}

test("it says in plain words what was understood", async () => {
  assert.equal(await wordsOf("Li-Co-O gap 1..2"), "the system Li-Co-O, band gap from 1 to 2");
  assert.equal(await wordsOf("Li co -F not Cl"), "crystals with Li and Co, without F and Cl");
  assert.equal(await wordsOf("fm3m atoms<5"), "space group Fm-3m (225), atoms in the cell below 5");
  assert.equal(await wordsOf("sg 225"), "space group Fm-3m (225)");
  assert.equal(await wordsOf("mp-999"), "id mp-999");
  assert.equal(await wordsOf("Co O2 Li"), "formula Co O2 Li");
  assert.equal(await wordsOf("1 < gap <= 2"), "band gap above 1 and at most 2");
  assert.equal(await wordsOf("oxides"), "anion class oxide");
});

test("what is not understood is named, with an example", async () => {
  for (const text of ["unobtainium!", "((", "constructor", "XyQ2", "", "  ", ",", "Li-Xx", "toString gap", "true"]) {
    const problem = await problemOf(text);
    assert.match(problem, /Type an id, a formula such as LiCoO2/);
    assert.ok(problem.includes(text.trim().split(" ")[0].replace(",", "")), problem);
  }
  assert.match(await problemOf("modulus > 1"), /"modulus" may mean kong bulk modulus or kong shear modulus.*kong_bulk_modulus > 1/);
  assert.match(await problemOf("hardness > 1"), /No column of numbers is called "hardness".*band_gap.*space_group 1\.\.2/);
  assert.match(await problemOf("gap > much"), /"> much" after gap was not understood.*band_gap > 1/);
  assert.match(await problemOf("gap > 500 meV"), /"meV" was not understood/);
  assert.match(await problemOf("anion class > 2"), /anion class is one of oxide; halide/);
  assert.match(await problemOf("gap 2..1"), /band_gap 1\.\.2/);
  assert.match(await problemOf("Li or Na"), /combined with and/);
  assert.match(await problemOf("not mp-149"), /Exclude elements, as not F/);
});

test("a formula in small letters that may be two compounds is asked back", async () => {
  const known = { ...KNOWN, ids: ["a", "b"], formulas: ["CoO2", "CO3"], columns: [] };
  assert.match((await parseQuery("coo2", known)).problem, /"coo2" may mean CO3 or CoO2.*capital letters/);
  assert.deepEqual((await parseQuery("CoO2", known)).rows, [0]);
  assert.match((await parseQuery("Pnma", known)).problem, /space groups are not known here/);
});

test("of what is unknown neither a word nor its opposite is true", async () => {
  const column = { name: "crystal_system", categories: SYSTEMS, values: () => Uint16Array.from([6, 65535, 3]) };
  const known = { ids: ["a", "b", "c"], formulas: ["Si", "Ge", "Sn"], columns: [column], symbols: SYMBOLS };
  assert.deepEqual((await parseQuery("cubic", known)).rows, [0]);
  assert.deepEqual((await parseQuery("not cubic", known)).rows, [2]);
});

test("ids and columns may be called anything", async () => {
  const names = ["<img src=x onerror=alert(1)>", "=1+1", 'a "quoted", name', "Fe2O3", "LI", "__proto__", "cod:1001"];
  const column = { name: "gap (eV/atom) 50% <i>", categories: null, values: () => [1, 2, 3, 4, 5, 6, NaN] };
  const known = { ids: names, formulas: ["<b>", "", "=2+2", "Li", "Fe2O3", "toString", "NaCl"], columns: [column], symbols: SYMBOLS };
  for (const [row, name] of names.entries()) assert.deepEqual((await parseQuery(name, known)).rows, [row]);
  assert.deepEqual((await parseQuery("gap > 2", known)).rows, [2, 3, 4, 5]);
  assert.deepEqual((await parseQuery("constructor", known)).rows, undefined);
});
