// What filters look at, in the data of this page.

import { axisOf } from "#axes";
import { columns, columnValues, elementsOf, formulas, ids, label, n, spaceGroupNumbers, x, y } from "#data";
import { SYMBOLS } from "#elements";
import { parseQuery } from "#search";

/** @type {Map<string, Promise<import("#axes").Axis>>} */
const axes = new Map();

/** The axis along a column. @param {string} name */
export function axisAlong(name) {
  let axis = axes.get(name);
  if (!axis) axes.set(name, axis = columnValues(name).then((values) => axisOf(name, values, columns.get(name)?.categories ?? null)));
  return axis;
}

/** Coordinates of all crystals. @param {string} alongX  A column, or "" for the map. @param {string} alongY */
export async function coordinates(alongX, alongY) {
  return /** @type {[Float32Array, Float32Array]} */ (await Promise.all([
    alongX && columns.has(alongX) ? axisAlong(alongX).then((axis) => axis.at) : x,
    alongY && columns.has(alongY) ? axisAlong(alongY).then((axis) => axis.at) : y,
  ]));
}

/**
 * The crystals that a text of the search field names.
 *
 * @param {string} text
 * @returns {Promise<{ rows: number[], words: string, problem?: string }>}
 */
export async function find(text) {
  const list = [...columns.values()].map(({ name, categories }) => (name === "space_group" && spaceGroupNumbers
    ? { name, categories: null, values: async () => /** @type {Float32Array} */ (spaceGroupNumbers) } : { name, categories, values: () => columnValues(name) }));
  const query = await parseQuery(text, { ids, formulas, columns: list, symbols: SYMBOLS, label });
  return "problem" in query ? { rows: [], words: "", problem: query.problem } : { rows: query.rows, words: query.words };
}

/** @type {import("#filters").Known} */
export const known = { n, elementsOf, columnValues, column: (name) => columns.get(name), coordinates, find };
