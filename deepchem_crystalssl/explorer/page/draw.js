// A structure in three dimensions, by 3Dmol.js, and a powder pattern.

const SYMBOLS = "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og".split(" ");

function make(tag, className = "", text = null) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== null) element.textContent = text;
  return element;
}

let viewerReady;
function viewerLibrary() {
  // 3Dmol.js is large; it is run when the first structure is shown.
  return (viewerReady ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = URL.createObjectURL(new Blob([document.getElementById("viewer3d").textContent], { type: "text/javascript" }));
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
  // Of a small cell some more are drawn, for most of its bonds lead out of it.
  const last = structure.numbers.length <= 8 ? 2 : 1;
  structure.numbers.forEach((number, site) => {
    // A site on a face, an edge or a corner is drawn on all of them.
    const images = structure.frac_coords[site].map((f) => {
      const at0 = f < 0.002 || f > 0.998, from = at0 ? 0 : f;
      return Array.from({ length: at0 ? last + 1 : last }, (_, k) => from + k);
    });
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
  viewer.zoom(1.25);
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
  for (const { two_theta: at2, values, color, width } of curves) {
    const path = at2.map((angle, i) => `${i ? "L" : "M"}${at(angle).toFixed(1)} ${up(values[i]).toFixed(1)}`).join("");
    figure.append(svg("path", { d: path, fill: "none", stroke: color, "stroke-width": width }));
  }
  figure.append(svg("text", { x: right, y: 148, "text-anchor": "end", "font-size": 10, fill: "#5b6b7b" }, "2θ / degrees"));
  return figure;
}
