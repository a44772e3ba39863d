// Numbers and symbols of space groups, and how a symbol is printed.

import assert from "node:assert/strict";
import { test } from "node:test";
import { STANDARD_SYMBOLS } from "../../deepchem_crystalssl/explorer/page/space_group_symbols.js";
import { spaceGroupElement, spaceGroupNumber, spaceGroupSymbol } from "../../deepchem_crystalssl/explorer/page/space_groups.js";

test("every standard symbol leads to its number and back, however it is written", () => {
  assert.equal(STANDARD_SYMBOLS.length, 230);
  STANDARD_SYMBOLS.forEach((symbol, i) => {
    assert.equal(spaceGroupSymbol(i + 1), symbol);
    for (const written of [symbol, symbol.toLowerCase(), symbol.replaceAll("_", ""), [...symbol].join(" "), symbol.replace("-", "\u2212")]) {
      assert.equal(spaceGroupNumber(written), i + 1, written);
    }
  });
  assert.equal(spaceGroupSymbol(0), "");
  assert.equal(spaceGroupSymbol(231), "");
});

test("usual symbols that are not standard are known, what is no symbol is not", () => {
  const usual = { Fm3m: 225, Ia3d: 230, "P21/n": 14, "P2_1/a": 14, Pbnm: 62, Cmca: 64, Abm2: 39, "I2/m": 12, "P 1 2_1/c 1": 14, "C12/m1": 12, P121: 3 };
  for (const [symbol, number] of Object.entries(usual)) assert.equal(spaceGroupNumber(symbol), number, symbol);
  for (const symbol of ["", "Fm-3x", "constructor", "P1bar"]) assert.equal(spaceGroupNumber(symbol), undefined);
  assert.deepEqual(["P1", "P-1", "P3m1", "P-3m1"].map(spaceGroupNumber), [1, 2, 156, 164]);
});

test("a symbol is printed with italics, subscripts and overlines", () => {
  // As much of a document as the function needs.
  globalThis.document = { createElement: (tag) => ({ tag, style: {}, parts: [], append(...more) { this.parts.push(...more); }, setAttribute(name, value) { this[name] = value; } }) };
  const printed = (part) => (typeof part === "string" ? part : `<${part.style.textDecoration ?? part.tag}>${part.textContent ?? part.parts.map(printed).join("")}`);
  assert.equal(printed(spaceGroupElement("P6_3/mmc")), "<span><i>P6<sub>3/<i>mmc");
  assert.equal(printed(spaceGroupElement("Fm-3m", "b")), "<b><i>Fm<overline>3<i>m");
  assert.equal(spaceGroupElement("Fm-3m")["aria-label"], "Fm-3m");
  delete globalThis.document;
});
