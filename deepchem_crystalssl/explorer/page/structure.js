// A structure that can be turned, with what belongs to it: cells, bonds, polyhedra, elements, cell lengths.

import { make, SYMBOLS } from "#elements";
import { cellOf } from "#lattices";
import { after, turn, viewAlong } from "#rotations";
import { connectionsOf, edgesOf, sceneOf } from "#scene";
import { draw, elementColor, lookFrom, rotateBy, viewerLibrary } from "#viewer";

/** @typedef {import("#lattices").Structure} Structure */
/** @typedef {import("#viewer").Viewer3D} Viewer3D */

const SMALL_CELL = 8;
const MOST_ATOMS = 3000;
const STEP = 10;
const KEYS = new Map(Object.entries({
  ArrowLeft: turn(1, -STEP), ArrowRight: turn(1, STEP), ArrowUp: turn(0, -STEP), ArrowDown: turn(0, STEP),
}));

// What was chosen for one structure holds for the next.
const chosen = { bonds: true, polyhedra: false };
/** @type {Map<HTMLElement, { viewer: Viewer3D, end: () => void }>} */
const shown = new Map();

/**
 * Shows a structure in an element, in place of what is there.
 * @param {HTMLElement} box
 * @param {Structure} structure
 */
export async function showStructure(box, structure) {
  const library = await viewerLibrary();
  for (const [one, { end }] of shown) if (one === box || !one.isConnected) { end(); shown.delete(one); }
  const picture = make("div", "structure-picture"), { numbers, lattice } = structure;
  box.replaceChildren(picture);
  /** @type {Viewer3D | undefined} */
  let viewer;
  try {
    viewer = library.createViewer(picture, { antialias: true, backgroundAlpha: 0, orthographic: true });
  } catch { /* no WebGL: said below */ }
  if (!viewer) return box.replaceChildren(make("p", "", "This browser cannot draw structures: it needs WebGL."), factsOf(structure));
  const colors = numbers.map((number) => elementColor(library, number)), connections = connectionsOf(structure);
  // Of a small cell some more are drawn, for most of its bonds lead out of it.
  let cells = numbers.length <= SMALL_CELL ? 2 : 1;
  /** @type {import("#scene").Scene} */
  let scene = { atoms: [], solids: [] };
  const redraw = () => {
    scene = sceneOf(structure, connections, { cells, polyhedra: chosen.polyhedra });
    const axes = lattice.map((row) => row.map((value) => value * (cells + 0.9 / Math.hypot(...row))));
    draw(viewer, scene, { numbers, bonds: chosen.bonds, edges: edgesOf(lattice, cells), axes, ink: getComputedStyle(picture).color,
      text: getComputedStyle(box).color, colors });
    box.dataset.atoms = String(scene.atoms.length);
  };
  const reset = () => lookFrom(viewer, scene, after(turn(0, 12), after(turn(1, -22), viewAlong(lattice, 0))));
  const tools = toolbar({
    cells, most: numbers.length, hasPolyhedra: connections.polyhedra.length > 0, redraw, fit: () => lookFrom(viewer, scene), reset,
    look: (axis) => lookFrom(viewer, scene, viewAlong(lattice, axis)),
    setCells: (count) => { cells = count; redraw(); reset(); },
    save: () => savePicture(viewer, nameOf(structure)),
  });
  box.append(tools, factsOf(structure, colors));
  listen(picture, viewer, reset, nameOf(structure));
  const dark = matchMedia("(prefers-color-scheme: dark)"), sizes = new ResizeObserver(() => viewer.resize());
  dark.addEventListener("change", redraw);
  sizes.observe(picture);
  shown.set(box, { viewer, end: () => {
    dark.removeEventListener("change", redraw);
    sizes.disconnect();
    // A browser gives a page only some contexts; those of structures that are gone are given back.
    picture.querySelector("canvas")?.getContext("webgl2")?.getExtension("WEBGL_lose_context")?.loseContext();
  } });
  viewer.resize(); // there is less room than when it was made
  redraw();
  reset();
}

/**
 * Symbols with numbers of atoms in the cell, as Ti2O4.
 * @param {Structure} structure
 */
function nameOf({ numbers }) {
  return [...countsOf(numbers)].map(([number, count]) => SYMBOLS[number - 1] + (count > 1 ? count : "")).join("");
}

/**
 * @param {number[]} numbers
 * @returns {Map<number, number>}
 */
function countsOf(numbers) {
  const counts = new Map();
  for (const number of numbers) counts.set(number, (counts.get(number) ?? 0) + 1);
  return counts;
}

/**
 * @param {{ cells: number, most: number, hasPolyhedra: boolean, redraw: () => void, fit: () => void, reset: () => void, look: (axis: number) => void,
 *   setCells: (count: number) => void, save: () => void }} options
 */
function toolbar({ cells, most, hasPolyhedra, redraw, fit, reset, look, setCells, save }) {
  const bar = make("div", "structure-tools");
  bar.setAttribute("role", "toolbar");
  bar.setAttribute("aria-label", "Structure");
  const choice = /** @type {HTMLSelectElement} */ (make("select"));
  choice.setAttribute("aria-label", "Cells");
  for (const count of [1, 2, 3]) {
    const option = new Option(`${count}×${count}×${count}`, String(count), false, count === cells);
    option.disabled = most * count ** 3 > MOST_ATOMS && count > cells;
    choice.append(option);
  }
  choice.onchange = () => setCells(+choice.value);
  const toggle = (/** @type {"bonds" | "polyhedra"} */ what, /** @type {string} */ title) => {
    const button = tool(what[0].toUpperCase() + what.slice(1), title, () => {
      chosen[what] = !chosen[what];
      button.setAttribute("aria-pressed", String(chosen[what]));
      redraw();
      if (what === "polyhedra") fit(); // they have corners outside of the cells
    });
    button.setAttribute("aria-pressed", String(chosen[what]));
    return button;
  };
  const polyhedra = toggle("polyhedra", hasPolyhedra ? "Coordination polyhedra" : "No atom has four ligands around it");
  polyhedra.disabled = !hasPolyhedra;
  const along = make("span", "structure-axes");
  ["a", "b", "c"].forEach((name, axis) => along.append(tool(name, `Look along ${name}`, () => look(axis))));
  bar.append(choice, toggle("bonds", "Bonds"), polyhedra, along, tool("Reset", "Show all from the first side", reset),
    tool("PNG", "Save the picture", save));
  return bar;
}

/**
 * @param {string} text
 * @param {string} title
 * @param {() => void} onClick
 */
function tool(text, title, onClick) {
  const button = /** @type {HTMLButtonElement} */ (make("button", "", text));
  button.type = "button";
  button.title = title;
  if (text.length === 1) button.setAttribute("aria-label", title);
  button.onclick = onClick;
  return button;
}

/**
 * The elements with their colours, and the cell.
 * @param {Structure} structure
 * @param {string[]} [colors]
 */
function factsOf({ lattice, numbers }, colors = []) {
  const facts = make("div", "structure-facts"), legend = make("ul"), cell = cellOf(lattice);
  legend.setAttribute("aria-label", "Atoms in the cell");
  for (const [number, count] of countsOf(numbers)) {
    const line = make("li"), dot = make("i");
    dot.style.background = colors[numbers.indexOf(number)] ?? "none";
    line.append(dot, SYMBOLS[number - 1], make("small", "", String(count)));
    legend.append(line);
  }
  /** @type {(names: string[], values: number[], digits: number, unit: string) => HTMLElement} */
  const line = (names, values, digits, unit) => {
    const whole = make("div");
    names.forEach((name, i) => whole.append(make("i", "", name), ` ${unit === "°" ? +values[i].toFixed(digits) : values[i].toFixed(digits)}${unit}${i < names.length - 1 ? ", " : ""}`));
    return whole;
  };
  facts.append(legend, line(["a", "b", "c"], [cell.a, cell.b, cell.c], 3, "\u00a0Å"),
    line(["α", "β", "γ"], [cell.alpha, cell.beta, cell.gamma], 2, "°"), line(["V"], [cell.volume], 1, "\u00a0Å³"));
  return facts;
}

/**
 * @param {Viewer3D} viewer
 * @param {string} name
 */
function savePicture(viewer, name) {
  const link = /** @type {HTMLAnchorElement} */ (make("a"));
  link.href = viewer.pngURI();
  link.download = `${name}.png`;
  link.click();
}

/**
 * Keys turn and zoom; the wheel zooms once the picture has been clicked, so that it does not stop a page that scrolls.
 * @param {HTMLElement} picture
 * @param {Viewer3D} viewer
 * @param {() => void} reset
 * @param {string} name
 */
function listen(picture, viewer, reset, name) {
  picture.tabIndex = 0;
  picture.setAttribute("role", "application");
  picture.setAttribute("aria-label", `Structure of ${name}: arrow keys turn it, plus and minus zoom, 0 resets`);
  picture.title = "Drag to turn; click, then scroll to zoom";
  picture.addEventListener("pointerdown", () => picture.focus({ preventScroll: true }));
  picture.addEventListener("wheel", (event) => {
    if (!picture.contains(document.activeElement) && !event.ctrlKey) event.stopPropagation();
  }, { capture: true });
  picture.addEventListener("keydown", (event) => {
    const by = KEYS.get(event.key);
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (by) rotateBy(viewer, by);
    else if (event.key === "+" || event.key === "=") viewer.zoom(1.15);
    else if (event.key === "-") viewer.zoom(1 / 1.15);
    else if (event.key === "0") reset();
    else return;
    event.preventDefault();
    event.stopPropagation();
    viewer.render();
  });
}
