// The map: what its colours mean, what stands out, what the pointer is on.

import { columnValues, columns, formulas, ids, kindOf, label, n, shortNumber, x, y } from "#data";
import { $, make } from "#elements";
import { createPlot } from "#plot";

const UNKNOWN = "#d5dae0";
const KINDS = ["#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#17becf", "#bcbd22", "#6b7785",
  "#0b3c5d", "#b5651d", "#7fc97f", "#fb9a99", "#5e3c99"];
const VIRIDIS = ["#440154", "#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"];

function blend(colors, steps) {
  const parts = colors.map((c) => [1, 3, 5].map((i) => parseInt(c.slice(i, i + 2), 16)));
  return Array.from({ length: steps }, (_, k) => {
    const at = (k / (steps - 1)) * (colors.length - 1), low = Math.min(Math.floor(at), colors.length - 2);
    const mixed = parts[low].map((v, i) => Math.round(v + (at - low) * (parts[low + 1][i] - v)));
    return "#" + mixed.map((v) => v.toString(16).padStart(2, "0")).join("");
  });
}

// What is drawn: a colour per point (0 is unknown), and whether it is shown in full.
const state = { codes: new Uint8Array(n), shown: new Uint8Array(n).fill(1), colors: [UNKNOWN] };

export const plot = createPlot($("points"), $("marks"), x, y);

async function redraw() { plot.draw(state); }

export async function colorBy(name) {
  const column = columns.get(name), values = await columnValues(name), key = $("key");
  key.replaceChildren();
  if (column.categories) {
    const counts = new Array(column.categories.length).fill(0);
    for (const code of values) if (code !== 65535) counts[code]++;
    const named = counts.map((_, code) => code).sort((a, b) => counts[b] - counts[a]).slice(0, KINDS.length);
    const place = new Uint8Array(65536);
    named.sort((a, b) => a - b).forEach((code, i) => { place[code] = i + 1; });
    state.colors = [UNKNOWN, ...KINDS];
    state.codes = Uint8Array.from(values, (code) => place[code]);
    named.forEach((code, i) => key.append(legendRow(KINDS[i], column.categories[code], counts[code], () =>
      ids.flatMap((_, row) => (values[row] === code ? [row] : [])))));
    const others = n - named.reduce((sum, code) => sum + counts[code], 0);
    if (others) key.append(make("div", "ends", `${others.toLocaleString("en")} others or unknown, grey`));
  } else {
    const known = values.filter(Number.isFinite).sort();
    const low = known[Math.floor(known.length * 0.01)] ?? 0, high = known[Math.floor(known.length * 0.99)] ?? 0;
    // What spans decades is coloured by its logarithm.
    const log = low > 0 && high / low > 30, scaled = log ? Math.log : (v) => v;
    const steps = 48, from = scaled(low), span = scaled(high) - from || 1;
    state.colors = [UNKNOWN, ...blend(VIRIDIS, steps)];
    state.codes = Uint8Array.from(values, (v) => Number.isFinite(v)
      ? 1 + Math.max(0, Math.min(steps - 1, Math.floor(((scaled(Math.max(v, low)) - from) / span) * steps))) : 0);
    const bar = make("div", "bar"), ends = make("div", "ends");
    bar.style.background = `linear-gradient(90deg, ${VIRIDIS.join(",")})`;
    ends.append(make("span", "", shortNumber(low)), make("span", "", log ? "logarithmic" : ""), make("span", "", shortNumber(high)));
    key.append(bar, ends);
    if (known.length < n) key.append(make("div", "ends", `${(n - known.length).toLocaleString("en")} unknown, grey`));
  }
  await redraw();
}

function legendRow(color, name, count, rowsOf) {
  const row = make("button"), dot = make("i");
  dot.style.background = color;
  row.append(dot, make("span", "", name), make("small", "", count.toLocaleString("en")));
  row.setAttribute("aria-pressed", "false");
  row.onclick = () => {
    const on = row.getAttribute("aria-pressed") === "false";
    for (const other of $("key").querySelectorAll("button")) other.setAttribute("aria-pressed", "false");
    row.setAttribute("aria-pressed", String(on));
    highlight(on ? rowsOf() : null);
  };
  return row;
}

// The others fade; null shows all.
export function highlight(rows) {
  state.shown = new Uint8Array(n).fill(rows ? 0 : 1);
  for (const row of rows ?? []) state.shown[row] = 1;
  return redraw();
}

export const goTo = (rows) => plot.zoomTo(rows);
export const mark = (row) => plot.mark(row);

function setMode(mode) {
  plot.setMode(mode);
  for (const name of ["pan", "lasso"]) $(name).setAttribute("aria-pressed", String(name === mode));
}
$("pan").onclick = () => setMode("pan");
$("lasso").onclick = () => setMode("lasso");
$("reset").onclick = () => plot.reset();

// The card beside the pointer.
plot.onHover = async (row, [px, py]) => {
  const card = $("card");
  if (row === null) { card.hidden = true; return; }
  const name = $("color").value, column = columns.get(name), value = (await columnValues(name))[row];
  const words = column.categories ? kindOf(column, value) : shortNumber(value);
  card.replaceChildren(make("b", "", formulas[row] || ids[row]), make("div", "", ids[row]),
    make("div", "", `${label(name)}: ${words || "unknown"}`));
  card.hidden = false;
  card.style.left = `${Math.min(px + 14, plot.canvas.clientWidth - card.offsetWidth - 8)}px`;
  card.style.top = `${Math.min(py + 14, plot.canvas.clientHeight - card.offsetHeight - 8)}px`;
};
