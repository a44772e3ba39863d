// What the panel shows of one crystal, one pattern, or a list. Words from data are always text, never markup.

function formulaElement(formula, tag = "span") {
  const whole = make(tag);
  for (const part of formula.split(/(\d+\.?\d*)/)) whole.append(/^\d/.test(part) ? make("sub", "", part) : part);
  return whole;
}

function tableOf(headings, rows, onRow) {
  const table = make("table"), head = make("tr"), body = make("tbody");
  for (const heading of headings) head.append(make("th", heading.number ? "number" : "", heading.name));
  for (const row of rows) {
    const line = make("tr");
    headings.forEach((heading) => {
      const cell = make("td", heading.number ? "number" : ""), value = heading.of(row);
      cell.append(value instanceof Node ? value : String(value));
      cell.title = cell.textContent; // it may be cut
      line.append(cell);
    });
    line.tabIndex = 0;
    line.onclick = () => onRow(row);
    line.onkeydown = (event) => { if (event.key === "Enter") onRow(row); };
    body.append(line);
  }
  const top = make("thead");
  top.append(head);
  table.append(top, body);
  return table;
}

function heading(text) { return make("h3", "", text); }

const NEIGHBOR_COLUMNS = [
  { name: "formula", of: ({ row }) => formulaElement(formulas[row]) }, { name: "id", of: ({ row }) => ids[row] },
  { name: "distance", number: true, of: ({ distance }) => distance.toFixed(3) },
];

function missing(kind) {
  return make("p", "", meta.known.includes(kind)
    ? `The ${kind} did not fit into this file; the command crystalssl explore shows them.` : `The index holds no ${kind}.`);
}

let request = 0;
async function open(row, { move = false } = {}) {
  const mine = ++request, panel = $("panel");
  const facts = make("dl", "facts");
  for (const [name, value] of await factsOf(row)) facts.append(make("dt", "", name), make("dd", "", value));
  if (mine !== request) return;
  const title = make("p", "", ids[row]);
  if (meta.link) {
    const link = make("a", "", "Materials Project");
    link.href = meta.link + encodeURIComponent(ids[row]);
    link.target = "_blank";
    link.rel = "noopener noreferrer";
    title.append(" · ", link);
  }
  const box = make("div", "structure"), pattern = make("div");
  panel.replaceChildren(formulaElement(formulas[row] || ids[row], "h2"), title, facts,
    heading("Structure"), meta.kinds.includes("structures") ? box : missing("structures"),
    heading("Simulated powder pattern, Cu Kα1"), meta.kinds.includes("patterns") ? pattern : missing("patterns"),
    heading("Nearest neighbours"), tableOf(NEIGHBOR_COLUMNS, neighborsOf(row), (one) => open(one.row, { move: true })));
  panel.dataset.row = row;
  tell({ crystal: row });
  document.querySelector("aside").scrollTop = 0;
  history.replaceState(null, "", `#${encodeURIComponent(ids[row])}`);
  mark(row);
  if (move) goTo([row, ...neighborsOf(row).slice(0, 5).map((one) => one.row)]);
  say("");
  if (meta.kinds.includes("patterns")) linesOf(row).then((lines) => mine === request && pattern.replaceChildren(
    lines.two_theta.length ? drawPattern({ lines }) : make("p", "", "No pattern can be simulated.")));
  if (meta.kinds.includes("structures")) await structureOf(row).then((one) => mine === request && showStructure(box, one));
}

function list(rows, title) {
  const shown = rows.slice(0, 300);
  $("panel").replaceChildren(heading(title), tableOf([NEIGHBOR_COLUMNS[0], NEIGHBOR_COLUMNS[1]], shown.map((row) => ({ row })),
    ({ row }) => open(row, { move: true })));
  if (rows.length > shown.length) $("panel").append(make("p", "", `and ${(rows.length - shown.length).toLocaleString("en")} more on the map`));
}

function say(text, isError = false) {
  $("message").textContent = text;
  $("message").className = isError ? "error" : "";
}
