// What belongs together: the choice of colours, the search, the lasso's table, the address.

for (const name of columns.keys()) $("color").append(new Option(label(name), name));
$("color").onchange = async () => { tell({ color: $("color").value }); await highlight(null); await colorBy($("color").value); };
$("count").textContent = `${n.toLocaleString("en")} crystals, each beside those that are like it`;
$("note").textContent = served ? "" : [
  "This file works offline.",
  ...["structures", "patterns"].filter((kind) => meta.known.includes(kind) && !meta.kinds.includes(kind))
    .map((kind) => `The ${kind} did not fit into this file; the command crystalssl explore shows them.`),
  "Open your own CIF or pattern with crystalssl explore.",
].join(" ");

$("search").onsubmit = async (event) => {
  event.preventDefault();
  const text = $("query").value;
  for (const row of $("key").querySelectorAll("button")) row.setAttribute("aria-pressed", "false");
  if (!text.trim()) { say(""); return highlight(null); }
  const { rows, as } = find(text);
  if (!rows.length) {
    await highlight(null);
    return say(as ? `Nothing found: ${as}.` : "Type an id, a formula such as LiCoO2, a chemical system such as Li-Co-O, or elements such as Li Co.", true);
  }
  say(`${rows.length.toLocaleString("en")} found: ${as}`);
  tell({ selection: rows });
  await highlight(rows.length > 1 ? rows : null);
  if (rows.length === 1) return open(rows[0], { move: true });
  mark(null);
  list(rows, as);
  plot.reset();
};

let selection = [];
const SHOWN = 200;
async function showSelection(rows) {
  selection = rows;
  tell({ selection });
  $("selection").hidden = false;
  $("selected").textContent = `${rows.length.toLocaleString("en")} crystals selected${rows.length > SHOWN ? `, the first ${SHOWN} shown` : ""}`;
  const known = [...columns.values()], values = await Promise.all(known.map((c) => columnValues(c.name)));
  const table = tableOf([{ name: "id", of: (row) => ids[row] }, { name: "formula", of: (row) => formulaElement(formulas[row]) },
    ...known.map((c, i) => ({ name: label(c.name), number: !c.categories,
      of: (row) => (c.categories ? kindOf(c, values[i][row]) : shortNumber(values[i][row])) }))],
  rows.slice(0, SHOWN), (row) => open(row));
  $("selection").querySelector("table").replaceWith(table);
}

// A cell that begins like a formula of a spreadsheet is made text.
const cell = (value) => {
  const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};
$("csv").onclick = async () => {
  const known = [...columns.values()], values = await Promise.all(known.map((c) => columnValues(c.name)));
  const lines = [["material_id", "formula", ...known.map((c) => c.name)], ...selection.map((row) => [ids[row], formulas[row],
    ...known.map((c, i) => (c.categories ? kindOf(c, values[i][row]) : Number.isFinite(values[i][row]) ? +values[i][row].toPrecision(7) : ""))])];
  const link = make("a");
  link.href = URL.createObjectURL(new Blob([lines.map((line) => line.map(cell).join(",") + "\n").join("")], { type: "text/csv" }));
  link.download = "crystals.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
};
function closeSelection() { $("selection").hidden = true; selection = []; tell({ selection }); plot.clearLasso(); }
$("clear").onclick = closeSelection;
// Below a table the map is low: the legend makes room.
new ResizeObserver(() => { $("legend").querySelector("details").open = $("map").clientHeight > 560; }).observe($("map"));

plot.onClick = (row) => open(row);
plot.onLasso = (rows) => (rows.length ? showSelection(rows) : closeSelection());
addEventListener("keydown", (event) => {
  if (event.key === "/" && !/INPUT|SELECT/.test(document.activeElement.tagName)) { event.preventDefault(); $("query").focus(); }
  if (event.key === "Escape") closeSelection();
});

function fromAddress() {
  try { return rowOf.get(decodeURIComponent(location.hash.slice(1))); } catch { return undefined; } // a lone % names nothing
}
addEventListener("hashchange", () => { const row = fromAddress(); if (row !== undefined) open(row, { move: true }); });

await colorBy($("color").value);
$("loading").remove();
document.documentElement.dataset.ready = "yes";
listen({
  highlighted: (rows) => highlight(rows.length ? rows : null),
  crystal: (row) => (row === null ? mark(null) : open(row, { move: true })),
  color: (name) => { $("color").value = name; return colorBy(name); },
  column: (column) => {
    if (!columns.has(column.name)) $("color").append(new Option(label(column.name), column.name));
    columns.set(column.name, { ...column, values: Promise.resolve(column.values) });
    if ($("color").value === column.name) return colorBy(column.name);
  },
});
if (fromAddress() !== undefined) await open(fromAddress(), { move: true });
else $("panel").append(make("p", "", "Click a point for its structure, pattern and neighbours; search by id, formula or elements; draw a lasso to list what lies together."));
