// The search field: what a text asks for, and which crystals that are. All conditions must be fulfilled.

import { catalogueOf } from "#catalogue";
import { addId, elementsIn, HELP, READERS } from "#clauses";

/** @typedef {import("#catalogue").Known} Known */
/** @typedef {import("#catalogue").Catalogue} Catalogue */
/** @typedef {import("#catalogue").Test} Test */
/** @typedef {import("#clauses").Asked} Asked */
/** @typedef {import("#comparisons").Problem} Problem */

/**
 * What was understood, in plain words; the test of a crystal; and the crystals that pass it.
 * @typedef {object} Understood
 * @property {string} words
 * @property {Test} test
 * @property {number[]} rows
 */

/**
 * What a text asks for.
 * @param {string} text
 * @param {Known} known
 * @returns {Promise<Understood | Problem>}
 */
export async function parseQuery(text, known) {
  const catalogue = catalogueOf(known), whole = text.trim();
  /** @type {Asked} */
  const asked = { named: [], ids: [], needed: [], unwanted: [], tests: [], conditions: [] };
  if (catalogue.exactRow.has(whole)) addId(whole, asked, catalogue);
  else {
    let words = wordsOf(whole, catalogue);
    if (!words.length) return { problem: HELP };
    while (words.length) {
      let used = 0;
      for (const read of READERS) {
        const found = read(words, asked, known, catalogue);
        if (typeof found !== "number") return found;
        used = found;
        if (used) break;
      }
      if (!used) return { problem: `"${words[0]}" was not understood. ${HELP}` };
      words = words.slice(used);
    }
  }
  return answer(asked, known, catalogue);
}

/**
 * The words of a text: signs and ranges stand alone, lists of elements or ids stay together.
 * @param {string} text
 * @param {Catalogue} catalogue
 */
function wordsOf(text, catalogue) {
  const spaced = text.normalize("NFKC").replace(/[‐-―−]/g, "-").replace(/≤/g, "<=").replace(/≥/g, ">=")
    .replace(/\s*,\s*/g, ",").replace(/\.{2,}/g, " .. ").replace(/\s+-\s+/g, "-").replace(/\s*([·•⋅∙])\s*/g, "$1")
    .replace(/\b([A-Za-z_]{2,})\s*:\s*(?=\S)/g, (whole, name) => (catalogue.rowsNamed(text).length ? whole : `${name} = `))
    .replace(/(<=|>=|<|>|=+)/g, (sign) => ` ${sign.replace(/^=+$/, "=")} `);
  return spaced.split(/\s+/).filter((word) => /[^,]/.test(word))
    .flatMap((word) => (elementsIn(word).length ? [word] : word.split(",").filter(Boolean)));
}

/**
 * @param {Asked} asked
 * @param {Known} known
 * @param {Catalogue} catalogue
 * @returns {Promise<Understood>}
 */
async function answer(asked, known, catalogue) {
  const { needed, unwanted, named, ids } = asked, words = [];
  /** @type {Test[]} */
  const tests = [];
  if (ids.length) {
    const rows = new Set(named.flat());
    tests.push((row) => rows.has(row));
    words.push(`id ${ids.join(" or ")}`);
  }
  for (const one of asked.tests) { tests.push(one.test); words.push(one.words); }
  if (needed.length || unwanted.length) {
    tests.push(catalogue.byElements((elements) => needed.every((one) => elements.has(one)) && !unwanted.some((one) => elements.has(one))));
    if (needed.length) words.push(`crystals with ${needed.join(" and ")}`);
    if (unwanted.length) words.push(`without ${unwanted.join(" and ")}`);
  }
  for (const { column, test, words: said } of asked.conditions) {
    const values = await column.values();
    tests.push((row) => test(values[row]));
    words.push(said);
  }
  /** @type {Test} */
  const test = (row) => tests.every((one) => one(row));
  const rows = [];
  for (let row = 0; row < known.formulas.length; row++) if (test(row)) rows.push(row);
  return { words: words.join(", "), test, rows };
}
