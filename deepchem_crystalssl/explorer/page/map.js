// The map, or any two columns against each other: where crystals are, what their colours mean, what stands out.

import { ticksOf } from "#axes";
import { columns, columnValues, elementsOf, elementShares, formulas, ids, kindOf, label, labelWithUnit, n, shortNumber } from "#data";
import { $, make } from "#elements";
import { filtersOf, passing } from "#filters";
import { axisAlong, coordinates, known } from "#known";
import { showLegend } from "#legend";
import { blend, onScheme, palette } from "#palettes";
import { createPlot } from "#plot";
import { nameRegions } from "#regions";
import { scaleOfKinds, scaleOfNumbers } from "#scales";
import { state, update } from "#state";

const STEPS = 48, TILE = 150, FEW = 120;

export const plot = createPlot($("points"), $("marks"));
let codes = new Uint8Array(n), colors = ["#d5dae0"], passed = new Uint8Array(n).fill(1);
let named = true;
const shares = elementShares();

/** 1 for each crystal that passes all filters. */
export const passedRows = () => passed;
/** The column that colours the map. */
export const colorColumn = () => (columns.has(state().color) ? state().color : String(columns.keys().next().value ?? ""));

/** @type {Uint8Array | null} */
let highlighted = null;

/** Let all others fade; no rows at all end it. @param {number[]} rows */
export function highlight(rows) {
  highlighted = rows.length ? new Uint8Array(n) : null;
  for (const row of rows) if (highlighted) highlighted[row] = 1;
  plot.emphasise(rows.length <= FEW ? rows : []);
  redraw();
}

function redraw() {
  const only = highlighted, shown = only ? passed.map((one, row) => one & only[row]) : passed;
  plot.draw({ codes, shown, colors, paper: palette().paper });
}

export async function recolor() {
  const column = columns.get(colorColumn());
  if (!column) return redraw();
  const values = await columnValues(column.name), { kinds, numbers, unknown } = palette();
  if (column.categories) {
    const scale = scaleOfKinds(values, column.categories, kinds.length);
    [codes, colors] = [scale.codes, [unknown, ...kinds]];
    showLegend(column.name, { kinds: scale, colors: kinds });
  } else {
    const scale = scaleOfNumbers(values, STEPS);
    [codes, colors] = [scale.codes, [unknown, ...blend(numbers, STEPS)]];
    showLegend(column.name, { numbers: scale, colors: numbers });
  }
  redraw();
}

export async function refilter() {
  const filters = filtersOf(state(), label), asked = state();
  const found = await passing(filters, known);
  if (asked !== state()) return filters; // another change came in between
  passed = found;
  const lasso = state().lasso, isDrawnHere = lasso?.x === state().x && lasso?.y === state().y;
  plot.showLasso(lasso && isDrawnHere ? lasso.corners : []);
  redraw();
  nameWhatIsShown();
  return filters;
}

export async function rescale() {
  const { x, y } = state();
  plot.points(...await coordinates(x, y), Boolean(x || y));
  plot.showLabels([]);
  await drawAxes();
  nameWhatIsShown();
}

async function drawAxes() {
  for (const [id, name] of [["axis-x", state().x], ["axis-y", state().y]]) {
    const place = $(id);
    place.hidden = !columns.has(name);
    if (place.hidden) continue;
    const axis = await axisAlong(name);
    place.replaceChildren(make("b", "", labelWithUnit(name) + (axis.isLogarithmic ? ", logarithmic" : "")));
    for (const value of ticksOf(axis)) {
      const tick = make("span", "", axis.categories ? axis.categories[value] : shortNumber(value));
      tick.dataset.at = String(axis.place(value));
      place.append(tick);
    }
  }
  placeTicks();
}

/** Ticks go along when the plot is moved. */
function placeTicks() {
  for (const [id, isX] of /** @type {[string, boolean][]} */ ([["axis-x", true], ["axis-y", false]])) {
    for (const tick of $(id).querySelectorAll("span")) {
      const at = Number(tick.dataset.at), [px, py] = plot.at(isX ? at : 0, isX ? 0 : at);
      tick.style[isX ? "left" : "top"] = `${isX ? px : py}px`;
      tick.hidden = isX ? px < 40 || px > plot.canvas.clientWidth - 20 : py < 60 || py > plot.canvas.clientHeight - 40;
    }
  }
}

// Names: of regions, and of single crystals where few are in sight.
function nameWhatIsShown() {
  if (!named) return plot.showLabels([]);
  const { px, py } = plot.project(passed), seen = [];
  for (let row = 0; row < n; row++) if (!Number.isNaN(px[row])) seen.push(row);
  const isMap = !state().x && !state().y;
  if (seen.length <= FEW) return plot.showLabels(formulaLabels(seen, px, py));
  const least = Math.max(12, seen.length / 250);
  const regions = isMap ? nameRegions(px, py, elementsOf, shares, TILE, least).slice(0, 24) : [];
  plot.showLabels(regions.map(({ x, y, name }) => {
    const [mx, my] = plot.onScreen(x, y);
    return { x: mx, y: my, text: name, kind: "region" };
  }));
}

/** A formula with subscripts, as text. @param {string} formula */
const subscripted = (formula) => formula.replace(/\d/g, (digit) => "₀₁₂₃₄₅₆₇₈₉"[Number(digit)]);

/** Formulas that do not lie on each other. @param {number[]} rows @param {Float32Array} px @param {Float32Array} py */
function formulaLabels(rows, px, py) {
  /** @type {[number, number, number][]} */
  const taken = [];
  return rows.flatMap((row) => {
    const width = formulas[row].length * 6.6, at = /** @type {[number, number, number]} */ ([px[row], py[row] - 11, width]);
    if (taken.some(([ox, oy, w]) => Math.abs(ox - at[0]) < (w + width) / 2 && Math.abs(oy - at[1]) < 13)) return [];
    taken.push(at);
    const [x, y] = plot.onScreen(at[0], at[1]);
    return [{ x, y, text: subscripted(formulas[row]), kind: "formula" }];
  });
}

/** @param {"pan"|"lasso"} mode */
function setMode(mode) {
  plot.setMode(mode);
  for (const name of ["pan", "lasso"]) $(name).setAttribute("aria-pressed", String(name === mode));
}
$("pan").onclick = () => setMode("pan");
$("lasso").onclick = () => setMode("lasso");
$("reset").onclick = () => plot.reset();
$("names").onclick = () => {
  named = !named;
  $("names").setAttribute("aria-pressed", String(named));
  nameWhatIsShown();
};

plot.onMove = placeTicks;
plot.onSettled = (/** @type {import("#plot").View | null} */ view) => {
  nameWhatIsShown();
  if (JSON.stringify(view) !== JSON.stringify(state().view)) update({ view }, { replace: true });
};
plot.onLasso = (/** @type {[number, number][]} */ corners) => {
  const step = Math.ceil(corners.length / 80), { x, y } = state();
  update({ lasso: corners.length > 2 ? { x, y, corners: corners.filter((_, i) => i % step === 0) } : null });
  setMode("pan");
};

// With the keyboard: arrows move, + and - zoom, 0 shows all.
plot.canvas.addEventListener("keydown", (event) => {
  const step = 60, moves = { ArrowLeft: [step, 0], ArrowRight: [-step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
  const move = moves[/** @type {keyof typeof moves} */ (event.key)];
  if (move) plot.moveBy(move[0], move[1]);
  else if (event.key === "+" || event.key === "=") plot.zoomBy(1.5);
  else if (event.key === "-") plot.zoomBy(1 / 1.5);
  else if (event.key === "0") plot.reset();
  else return;
  event.preventDefault();
});

/** What a column says of a crystal. @param {import("#data").Column} column @param {number} row */
async function wordsOf(column, row) {
  const value = (await columnValues(column.name))[row];
  return column.categories ? kindOf(column, value) : shortNumber(value);
}

// The card beside the pointer.
plot.onHover = async (/** @type {number | null} */ row, /** @type {[number, number]} */ [px, py]) => {
  const card = $("card");
  if (row === null) { card.hidden = true; return; }
  const column = columns.get(colorColumn()), words = column ? await wordsOf(column, row) : "";
  card.replaceChildren(make("b", "", formulas[row] || ids[row]), make("div", "", ids[row]));
  if (column) card.append(make("div", "", `${label(column.name)}: ${words ? `${words} ${column.unit}`.trim() : "unknown"}`));
  card.hidden = false;
  card.style.left = `${Math.max(4, Math.min(px + 14, plot.canvas.clientWidth - card.offsetWidth - 8))}px`;
  card.style.top = `${Math.max(4, Math.min(py + 14, plot.canvas.clientHeight - card.offsetHeight - 8))}px`;
};

onScheme(recolor);
