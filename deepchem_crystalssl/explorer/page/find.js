// The search field asks what this page knows.

import { columns, columnValues, formulas, ids, label } from "#data";
import { SYMBOLS } from "#elements";
import { parseQuery } from "#search";

const known = {
  ids, formulas, label, symbols: SYMBOLS,
  columns: [...columns.values()].map(({ name, categories }) => ({ name, categories, values: () => columnValues(name) })),
};

/**
 * Rows of the crystals that a text asks for, and how it was understood.
 * @param {string} text
 */
export async function find(text) {
  const found = await parseQuery(text, known);
  return "problem" in found ? { rows: [], as: "", problem: found.problem } : { rows: found.rows, as: found.words, problem: "" };
}
