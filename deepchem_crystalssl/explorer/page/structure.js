// A structure in three dimensions, by 3Dmol.js.

import { SYMBOLS } from "#elements";

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
export async function showStructure(box, structure) {
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
