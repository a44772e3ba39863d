// What belongs together: a change of the state is shown in every part of the page that it concerns.

import { listen, tell } from "#bridge";
import { addColumn, ids, meta, n, neighborsOf, rowOf, served } from "#data";
import { showDetails, supersede } from "#details";
import { $ } from "#elements";
import { openFilters, showChips } from "#filter_panel";
import { find } from "#known";
import { fillColorChoice } from "#legend";
import { colorColumn, highlight, passedRows, plot, recolor, refilter, rescale } from "#map";
import { say } from "#messages";
import { hideResults, showResults } from "#results";
import { mountPowder } from "#powder";
import { onChange, state, update } from "#state";
import { showUploaded } from "#uploaded";
import { mountUpload, namesPattern } from "#upload";
import { welcome } from "#welcome";

/** @param {number} row */
function openCrystal(row) {
  update({ crystal: ids[row], mode: "map" });
  plot.zoomTo([row, ...neighborsOf(row).slice(0, 5).map((one) => one.row)]);
}

async function showFilters() {
  const filters = await refilter(), passed = passedRows();
  const count = passed.reduce((sum, one) => sum + one, 0);
  showChips(filters, count);
  tell({ selection: filters.length ? Array.from({ length: n }, (_, row) => row).filter((row) => passed[row]) : [] });
  if (!filters.length) return hideResults();
  await showResults(passed, openCrystal);
}

async function showCrystal() {
  const row = rowOf.get(state().crystal);
  tell({ crystal: row ?? null });
  if (row !== undefined) return showDetails(row, openCrystal);
  supersede();
  delete $("panel").dataset.row;
  plot.mark(null);
  welcome();
  if (state().crystal) say(`There is no crystal ${state().crystal} here.`, true);
}

function showMode() {
  const isPowder = state().mode === "powder" && meta.uploadBytes;
  $("powder").hidden = !isPowder;
  document.body.dataset.mode = isPowder ? "powder" : "map";
  for (const mode of ["map", "powder"]) $(`mode-${mode}`).setAttribute("aria-pressed", String((mode === "powder") === Boolean(isPowder)));
}

onChange(async (_, changed) => {
  const any = (/** @type {string[]} */ ...keys) => keys.some((key) => changed.has(/** @type {any} */ (key)));
  if ([...changed].some((key) => key !== "view")) say(""); // the view changes by itself too, when the map gets another size
  if (any("mode")) showMode();
  if (any("x", "y")) await rescale();
  if (any("color")) { tell({ color: colorColumn() }); await recolor(); }
  if (any("search")) $("query").value = state().search;
  if (any("search", "kinds", "ranges", "must", "may", "not", "lasso", "x", "y")) await showFilters();
  if (any("crystal")) await showCrystal();
  if (any("view") && JSON.stringify(plot.view()) !== JSON.stringify(state().view)) plot.setView(state().view);
});

$("search").onsubmit = async (/** @type {Event} */ event) => {
  event.preventDefault();
  const text = $("query").value.trim();
  if (!text) return update({ search: "" });
  const { rows, words, problem } = await find(text);
  if (problem) return say(problem, true);
  if (rows.length === 1) { $("query").value = state().search; return openCrystal(rows[0]); }
  if (!rows.length) return say(`Nothing found: ${words}.`);
  update({ search: text, mode: "map" });
  say(`${rows.length.toLocaleString("en")} found: ${words}`);
};
$("query").addEventListener("search", () => { if (!$("query").value) update({ search: "" }); }); // its cross was clicked

plot.onClick = (row) => update({ crystal: ids[row] });
$("clear").onclick = () => hideResults();
$("mode-map").onclick = () => update({ mode: "map" });
$("mode-powder").onclick = () => update({ mode: "powder" });
addEventListener("keydown", (event) => {
  const typing = /INPUT|SELECT|TEXTAREA/.test(document.activeElement?.tagName ?? "");
  if (event.key === "/" && !typing) { event.preventDefault(); $("query").focus(); }
  if (event.key === "Escape" && !typing) { if (!$("filters").hidden) openFilters(false); else update({ lasso: null }); }
});

$("note").textContent = served ? "" : [
  "This file works offline.",
  ...["structures", "patterns"].filter((kind) => meta.known.includes(kind) && !meta.kinds.includes(kind))
    .map((kind) => `The ${kind} did not fit into this file; the command crystalssl explore shows them.`),
  "Open your own CIF or pattern with crystalssl explore.",
].join(" ");

fillColorChoice();
if (meta.uploadBytes) {
  const powder = mountPowder($("powder"), { openCrystal, showMode: (mode) => update({ mode }) });
  onChange((_, changed) => { if (changed.has("mode") && state().mode === "powder") powder.show(); });
  mountUpload({
    onCrystal: (answer) => { update({ crystal: "", mode: "map" }); showUploaded(answer, openCrystal); },
    onPattern: (answer, file, options) => powder.addAnswer(answer, file, options),
    onPatterns: (files, options) => powder.addFiles(files, options),
    isPattern: (file) => namesPattern(file.name) || (state().mode === "powder" && /\.txt$/i.test(file.name)),
    onError: (sentence) => { update({ mode: "map" }); say(sentence, true); },
  });
}
$("mode-powder").hidden = !meta.uploadBytes;
showMode();
$("query").value = state().search;
await rescale();
await recolor();
await showFilters();
$("loading").remove();
document.documentElement.dataset.ready = "yes";
listen({
  highlighted: highlight,
  crystal: (row) => (row === null ? update({ crystal: "" }) : openCrystal(row)),
  color: (name) => update({ color: name }, { replace: true }),
  async column(column) {
    addColumn(column);
    fillColorChoice();
    if (colorColumn() === column.name) await recolor();
    else $("color").value = colorColumn();
  },
});
if (state().view) plot.setView(state().view);
else if (rowOf.has(state().crystal)) openCrystal(/** @type {number} */ (rowOf.get(state().crystal)));
await showCrystal();
