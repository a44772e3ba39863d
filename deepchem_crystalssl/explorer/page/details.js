// What the panel shows of one crystal, one pattern, or a list. Words from data are always text, never markup.

function make(tag, className = "", text = null) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== null) element.textContent = text;
  return element;
}

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

let viewerReady;
function viewerLibrary() {
  // 3Dmol.js is large; it is run when the first structure is shown.
  return (viewerReady ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = URL.createObjectURL(new Blob([$("viewer3d").textContent], { type: "text/javascript" }));
    script.onload = () => resolve(window.$3Dmol);
    script.onerror = () => reject(new Error("The structure viewer could not start."));
    document.head.append(script);
  }));
}

let viewer = null;
async function showStructure(box, structure) {
  const library = await viewerLibrary();
  const at = (f) => [0, 1, 2].map((i) => f[0] * structure.lattice[0][i] + f[1] * structure.lattice[1][i] + f[2] * structure.lattice[2][i]);
  const lines = [];
  structure.numbers.forEach((number, site) => {
    // A site on a face, an edge or a corner of the cell is drawn on all of them.
    const images = structure.frac_coords[site].map((f) => (f < 0.002 || f > 0.998 ? [0, 1] : [f]));
    for (const a of images[0]) for (const b of images[1]) for (const c of images[2]) {
      lines.push(`${SYMBOLS[number - 1]} ${at([a, b, c]).map((v) => v.toFixed(4)).join(" ")}`);
    }
  });
  viewer?.clear();
  viewer = library.createViewer(box, { backgroundColor: "white", antialias: true });
  viewer.addModel(`${lines.length}\n\n${lines.join("\n")}\n`, "xyz");
  viewer.setStyle({}, { sphere: { scale: 0.32, colorscheme: "Jmol" }, stick: { radius: 0.1, colorscheme: "Jmol" } });
  const corner = (i) => { const [px, py, pz] = at([i & 1, (i >> 1) & 1, (i >> 2) & 1]); return { x: px, y: py, z: pz }; };
  for (let i = 0; i < 8; i++) for (const bit of [1, 2, 4]) {
    if (!(i & bit)) viewer.addLine({ start: corner(i), end: corner(i | bit), color: "#555555" });
  }
  viewer.zoomTo();
  viewer.rotate(12, "y");
  viewer.rotate(10, "x");
  viewer.render();
  box.dataset.atoms = lines.length;
}

const SVG = "http://www.w3.org/2000/svg";
function svg(tag, attributes, text) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text) element.textContent = text;
  return element;
}

// Lines as sticks, or curves; angles in degrees, the highest is 1.
function drawPattern({ lines, curves = [] }) {
  const angles = lines ? [5, 90] : [curves[0].two_theta[0], curves[0].two_theta.at(-1)];
  const left = 8, right = 372, top = 8, bottom = 122;
  const at = (angle) => left + ((angle - angles[0]) / (angles[1] - angles[0])) * (right - left);
  const up = (height) => bottom - height * (bottom - top);
  const figure = svg("svg", { class: "pattern", viewBox: "0 0 380 150", role: "img", "aria-label": "powder pattern" });
  figure.append(svg("line", { x1: left, x2: right, y1: bottom, y2: bottom, stroke: "#9aa7b4" }));
  for (let tick = Math.ceil(angles[0] / 10) * 10; tick <= angles[1]; tick += 10) {
    figure.append(svg("line", { x1: at(tick), x2: at(tick), y1: bottom, y2: bottom + 4, stroke: "#9aa7b4" }),
      svg("text", { x: at(tick), y: bottom + 15, "text-anchor": "middle", "font-size": 10, fill: "#5b6b7b" }, String(tick)));
  }
  lines?.two_theta.forEach((angle, i) => figure.append(
    svg("line", { x1: at(angle), x2: at(angle), y1: bottom, y2: up(lines.intensity[i]), stroke: "#0b66c3", "stroke-width": 1.3 })));
  for (const { two_theta: at2, values, color } of curves) {
    const path = at2.map((angle, i) => `${i ? "L" : "M"}${at(angle).toFixed(1)} ${up(values[i]).toFixed(1)}`).join("");
    figure.append(svg("path", { d: path, fill: "none", stroke: color, "stroke-width": 1 }));
  }
  figure.append(svg("text", { x: right, y: 148, "text-anchor": "end", "font-size": 10, fill: "#5b6b7b" }, "2θ / degrees"));
  return figure;
}

function heading(text) { return make("h3", "", text); }

const NEIGHBOR_COLUMNS = [
  { name: "formula", of: ({ row }) => formulaElement(formulas[row]) }, { name: "id", of: ({ row }) => ids[row] },
  { name: "distance", number: true, of: ({ distance }) => distance.toFixed(3) },
];

function missing(kind) {
  return make("p", "", meta.known.includes(kind)
    ? `The ${kind} did not fit into this file; crystalssl explore shows them.` : `The index holds no ${kind}.`);
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
