// The table of the crystals that pass all filters, with columns to choose, as text to save.

import { columns, columnValues, formulas, ids, kindOf, label, labelWithUnit, n, shortNumber } from "#data";
import { $, make } from "#elements";
import { csvOf, formulaElement, save, tableOf } from "#tables";

const SHOWN = 200, FIRST_COLUMNS = 6;
const chosen = new Set([...columns.keys()].slice(0, FIRST_COLUMNS));
/** @type {number[]} */
let rows = [];
/** @type {(row: number) => void} */
let choose = () => {};

/** @param {string[]} names @param {boolean} exact @returns {Promise<import("#tables").Heading<number>[]>} */
async function headingsOf(names, exact) {
  const known = names.flatMap((name) => columns.get(name) ?? []), values = await Promise.all(known.map((c) => columnValues(c.name)));
  const number = (/** @type {number} */ v) => (Number.isFinite(v) ? +v.toPrecision(7) : "");
  return [
    { name: "id", csv: "material_id", of: (row) => ids[row] },
    { name: "formula", of: (row) => formulaElement(formulas[row]), value: (row) => formulas[row] },
    ...known.map((column, i) => ({
      name: labelWithUnit(column.name), csv: column.name, number: !column.categories,
      of: (/** @type {number} */ row) => (column.categories ? kindOf(column, values[i][row]) : shortNumber(values[i][row])),
      value: (/** @type {number} */ row) => (column.categories ? kindOf(column, values[i][row]) : exact ? number(values[i][row]) : values[i][row]),
    })),
  ];
}

async function fill() {
  $("none").hidden = rows.length > 0;
  for (const id of ["csv", "columns"]) $(id).hidden = !rows.length;
  const table = tableOf(await headingsOf([...chosen], false), rows, choose, { most: SHOWN });
  table.setAttribute("aria-label", "Crystals that pass all filters");
  table.hidden = !rows.length;
  $("results").querySelector("table").replaceWith(table);
}

/** @param {Uint8Array} passed @param {(row: number) => void} onRow */
export async function showResults(passed, onRow) {
  choose = onRow;
  rows = Array.from({ length: n }, (_, row) => row).filter((row) => passed[row]);
  const more = rows.length > SHOWN ? `, ${SHOWN} are shown` : "";
  $("found").textContent = `${rows.length.toLocaleString("en")} ${rows.length === 1 ? "crystal" : "crystals"}${more}`;
  $("results").hidden = false;
  await fill();
}

/** The rows of the table. */
export const resultRows = () => rows;

export function hideResults() { $("results").hidden = true; rows = []; }

$("csv").onclick = async () => save("crystals.csv", csvOf(await headingsOf([...columns.keys()], true), rows));
$("column-choice").append(...[...columns.keys()].map((name) => {
  const choice = make("label"), box = make("input");
  box.type = "checkbox";
  box.checked = chosen.has(name);
  box.onchange = () => { if (box.checked) chosen.add(name); else chosen.delete(name); fill(); };
  choice.append(box, ` ${label(name)}`);
  return choice;
}));
