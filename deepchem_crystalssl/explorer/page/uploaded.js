// A crystal of the user: where it lies on the map, and how usual it is there.

import { nearestRow } from "#data";
import { $, make } from "#elements";
import { heading, NEIGHBOR_COLUMNS, supersede } from "#details";
import { plot } from "#map";
import { drawPattern } from "#pattern";
import { showStructure } from "#structure";
import { csvOf, formulaElement, save, tableOf } from "#tables";

/**
 * @typedef {object} CrystalAnswer  What the server knows of an uploaded crystal.
 * @property {string} name
 * @property {string} formula
 * @property {[number, number]} position
 * @property {{ lattice: number[][], numbers: number[], frac_coords: number[][] }} structure
 * @property {boolean} mixed
 * @property {{ two_theta: number[], intensity: number[] }} lines
 * @property {(import("#details").Neighbor & { percentile: number })[]} neighbors
 * @property {number} nearness  Share of the crystals on the map whose nearest neighbour is farther than this one's.
 */

/** How usual a crystal is, in words. @param {number} nearness  A fraction of 1. */
export function novelty(nearness) {
  const percent = Math.round(100 * nearness);
  if (percent >= 50) return `It has a close relative here: for ${percent} % of the crystals on the map the nearest one is farther away.`;
  if (percent >= 10) return `It is somewhat unusual: only for ${percent} % of the crystals on the map is the nearest one farther away.`;
  return `It is unlike what is on the map: ${percent < 1 ? "hardly any crystal is" : `only ${percent} % of the crystals are`} as far from the nearest one.`;
}

/** @param {CrystalAnswer} answer @param {(row: number) => void} onNeighbor */
export async function showUploaded(answer, onNeighbor) {
  supersede();
  const box = make("div", "structure"), row = nearestRow(answer.position), csv = make("button", "", "Save neighbours as CSV");
  /** @type {import("#tables").Heading<import("#details").Neighbor>[]} */
  const headings = [NEIGHBOR_COLUMNS[0], NEIGHBOR_COLUMNS[1], { name: "shares", of: (one) => one.shares ?? "" }, NEIGHBOR_COLUMNS[2]];
  csv.onclick = () => save("neighbours.csv", csvOf(headings, answer.neighbors));
  $("side").scrollTop = 0;
  delete $("panel").dataset.row;
  $("panel").replaceChildren(formulaElement(answer.formula, "h2"), make("p", "", answer.name), make("p", "novelty", novelty(answer.nearness)),
    heading("Structure"), box, heading("Simulated powder pattern"), drawPattern({ lines: answer.lines, structure: answer.structure }),
    heading("Most similar crystals"), tableOf(headings, answer.neighbors, (one) => onNeighbor(one.row)), csv);
  if (answer.mixed) box.after(make("p", "", "Sites that several elements share count as their average; the drawing shows the majority."));
  plot.mark(row, answer.neighbors.map((one) => one.row));
  plot.zoomTo([row, ...answer.neighbors.slice(0, 6).map((one) => one.row)]);
  await showStructure(box, answer.structure);
}
