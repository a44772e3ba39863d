// A file of the user, answered by the server: placed on the map, with neighbours or phases.

import { meta, n, neighborsOf, x, y } from "#data";
import { heading, NEIGHBOR_COLUMNS, open, supersede } from "#details";
import { $, make } from "#elements";
import { goTo, mark } from "#map";
import { say } from "#messages";
import { drawPattern } from "#pattern";
import { showStructure } from "#structure";
import { formulaElement, tableOf } from "#tables";

async function ask(file) {
  if (file.size > meta.uploadBytes) return say(`${file.name} is larger than the ${meta.uploadBytes / 1e6} MB allowed.`, true);
  say(`Reading ${file.name} …`);
  let answer;
  try {
    const wavelength = $("wavelength").value;
    const response = await fetch(`ask${wavelength ? `?wavelength=${encodeURIComponent(wavelength)}` : ""}`, {
      method: "POST", body: file, headers: { "X-File-Name": encodeURIComponent(file.name), "Content-Type": "application/octet-stream" },
    });
    answer = await response.json();
    if (!response.ok) throw new Error(answer.error);
  } catch (error) {
    return say(error instanceof TypeError ? "The server does not answer." : error.message, true);
  }
  supersede();
  say("");
  history.replaceState(null, "", "#");
  (answer.kind === "crystal" ? showCrystal : showPhases)(answer);
}

function nearestRow([px, py]) {
  let best = 0, least = Infinity;
  for (let row = 0; row < n; row++) {
    const apart = (x[row] / 0.96 - px) ** 2 + (y[row] / 0.96 - py) ** 2;
    if (apart < least) [best, least] = [row, apart];
  }
  return best;
}

async function showCrystal(answer) {
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

function showPhases(answer) {
  const columnsOf = [NEIGHBOR_COLUMNS[0], NEIGHBOR_COLUMNS[1], { name: "group", number: true, of: (one) => one.space_group ?? "" },
    { name: "score", number: true, of: (one) => one.score.toFixed(3) }, { name: "confidence", of: (one) => one.confidence }];
  const { two_theta, measured, calculated } = answer.curve;
  $("panel").replaceChildren(make("h2", "", answer.name), make("p", "", answer.verdict), heading("Measured (grey), best fit (red)"),
    drawPattern({ curves: [{ two_theta, values: measured, color: "#9aa7b4", width: 2.2 }, { two_theta, values: calculated, color: "#d62728", width: 0.7 }] }),
    heading("Crystals the pattern may belong to"), tableOf(columnsOf, answer.matches, (one) => open(one.row, { move: true })));
  if (answer.position) { const row = nearestRow(answer.position); mark(row); goTo([row, ...neighborsOf(row).slice(0, 5).map((one) => one.row)]); }
}

if (meta.uploadBytes) {
  $("upload").hidden = false;
  $("open").onclick = () => $("file").click();
  $("file").onchange = () => { if ($("file").files[0]) ask($("file").files[0]); $("file").value = ""; };
  let inside = 0;
  addEventListener("dragenter", (event) => { event.preventDefault(); inside++; $("drop").hidden = false; });
  addEventListener("dragleave", () => { if (--inside <= 0) { inside = 0; $("drop").hidden = true; } });
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    inside = 0;
    $("drop").hidden = true;
    if (event.dataTransfer.files[0]) ask(event.dataTransfer.files[0]);
  });
}
