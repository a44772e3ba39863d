// The answer to a crystal of the user: its place on the map, and what is like it.

import { n, x, y } from "#data";
import { heading, NEIGHBOR_COLUMNS, open, supersede } from "#details";
import { $, make } from "#elements";
import { goTo, mark } from "#map";
import { drawPattern } from "#pattern";
import { showStructure } from "#structure";
import { formulaElement, tableOf } from "#tables";

function nearestRow([px, py]) {
  let best = 0, least = Infinity;
  for (let row = 0; row < n; row++) {
    const apart = (x[row] / 0.96 - px) ** 2 + (y[row] / 0.96 - py) ** 2;
    if (apart < least) [best, least] = [row, apart];
  }
  return best;
}

export async function showCrystal(answer) {
  supersede();
  history.replaceState(null, "", "#");
  const box = make("div", "structure"), row = nearestRow(answer.position);
  const columnsOf = [NEIGHBOR_COLUMNS[0], NEIGHBOR_COLUMNS[1], { name: "shares", of: (one) => one.shares }, NEIGHBOR_COLUMNS[2]];
  document.querySelector("aside").scrollTop = 0;
  $("panel").replaceChildren(formulaElement(answer.formula, "h2"), make("p", "", answer.name), heading("Structure"), box,
    heading("Simulated powder pattern, Cu Kα1"), drawPattern({ lines: answer.lines }),
    heading("Most similar crystals"), tableOf(columnsOf, answer.neighbors, (one) => open(one.row, { move: true })));
  if (answer.mixed) box.after(make("p", "", "Sites that several elements share count as their average; the drawing shows the majority."));
  mark(row);
  goTo([row, ...answer.neighbors.slice(0, 6).map((one) => one.row)]);
  await showStructure(box, answer.structure);
}
