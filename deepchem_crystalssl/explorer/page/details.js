// What the panel shows of one crystal. Words from data are always text, never markup.

import { factsOf, formulas, ids, linesOf, meta, neighborsOf, structureOf } from "#data";
import { $, make } from "#elements";
import { plot } from "#map";
import { drawPattern } from "#pattern";
import { showStructure } from "#structure";
import { formulaElement, tableOf } from "#tables";

const FIRST_FACTS = 12;

/** @param {string} text */
export const heading = (text) => make("h3", "", text);

/** @typedef {{ row: number, distance: number, shares?: string }} Neighbor */

/** @type {import("#tables").Heading<Neighbor>[]} */
export const NEIGHBOR_COLUMNS = [
  { name: "formula", of: ({ row }) => formulaElement(formulas[row]), value: ({ row }) => formulas[row] },
  { name: "id", of: ({ row }) => ids[row] },
  { name: "distance", number: true, of: ({ distance }) => distance.toFixed(3) },
];

/** @param {string} kind */
function missing(kind) {
  return make("p", "", meta.known.includes(kind)
    ? `The ${kind} did not fit into this file; the command crystalssl explore shows them.` : `The index holds no ${kind}.`);
}

/** @param {[string, string][]} facts */
export function factsElement(facts) {
  const list = make("dl", "facts");
  for (const [name, value] of facts) list.append(make("dt", "", name), make("dd", "", value));
  return list;
}

let request = 0;
/** What is still being read for the panel is no longer wanted. */
export const supersede = () => ++request;

/**
 * Show a crystal in the panel.
 *
 * @param {number} row
 * @param {(row: number) => void} onNeighbor
 */
export async function showDetails(row, onNeighbor) {
  const mine = supersede(), panel = $("panel"), near = neighborsOf(row);
  const title = make("p", "", ids[row]), box = make("div", "structure"), pattern = make("div", "simulated"), facts = make("div", "known");
  if (meta.link) {
    const link = make("a", "", "Materials Project");
    link.href = meta.link + encodeURIComponent(ids[row]);
    link.target = "_blank";
    link.rel = "noopener noreferrer";
    title.append(" · ", link);
  }
  // What is here already is shown at once; the rest comes when it is read.
  panel.replaceChildren(formulaElement(formulas[row] || ids[row], "h2"), title, facts,
    heading("Structure"), meta.kinds.includes("structures") ? box : missing("structures"),
    heading("Simulated powder pattern"), meta.kinds.includes("patterns") ? pattern : missing("patterns"),
    heading("Nearest neighbours"), tableOf(NEIGHBOR_COLUMNS, near, (one) => onNeighbor(one.row)));
  panel.dataset.row = String(row);
  $("side").scrollTop = 0;
  plot.mark(row, near.map((one) => one.row));
  factsOf(row).then((known) => {
    if (mine !== request) return;
    facts.append(factsElement(known.slice(0, FIRST_FACTS)));
    if (known.length > FIRST_FACTS) {
      const more = make("details");
      more.append(make("summary", "", `${known.length - FIRST_FACTS} more properties`), factsElement(known.slice(FIRST_FACTS)));
      facts.append(more);
    }
  });
  const [lines, structure] = await Promise.all([
    meta.kinds.includes("patterns") ? linesOf(row) : null, meta.kinds.includes("structures") ? structureOf(row) : null,
  ]);
  if (mine !== request) return;
  if (lines) pattern.replaceChildren(lines.two_theta.length
    ? drawPattern({ lines, ...(structure && { structure }) }) : make("p", "", "No pattern can be simulated."));
  if (structure) await showStructure(box, structure);
}
