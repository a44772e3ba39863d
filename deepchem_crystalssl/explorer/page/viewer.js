// A scene drawn by 3Dmol.js in an element.

import { SYMBOLS } from "#elements";
import { cross, minus } from "#lattices";
import { after } from "#rotations";

/** @typedef {import("#lattices").Vector} Vector */
/** @typedef {import("#rotations").Quaternion} Quaternion */
/** @typedef {import("#scene").Scene} Scene */
/** @typedef {ReturnType<Window["$3Dmol"]["createViewer"]>} Viewer3D */

/** @type {Promise<Window["$3Dmol"]> | undefined} */
let ready;

/** 3Dmol.js is large; it is run when the first structure is shown. */
export function viewerLibrary() {
  return (ready ??= new Promise((resolve, reject) => {
    const script = document.createElement("script"), text = document.getElementById("viewer3d")?.textContent ?? "";
    script.src = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
    script.onload = () => resolve(window.$3Dmol);
    script.onerror = () => reject(new Error("The structure viewer could not start."));
    document.head.append(script);
  }));
}

/**
 * The colour of an element, as Jmol has it.
 * @param {Window["$3Dmol"]} library
 * @param {number} number
 */
export function elementColor(library, number) {
  const colors = /** @type {Record<string, number>} */ (library.elementColors.Jmol);
  return `#${(colors[SYMBOLS[number - 1]] ?? 0xff1493).toString(16).padStart(6, "0")}`;
}

/** @param {Vector} at */
const point = ([x, y, z]) => ({ x, y, z });

/**
 * Draws a scene in place of what was drawn.
 * @param {Viewer3D} viewer
 * @param {Scene} scene
 * @param {{ numbers: number[], bonds: boolean, edges: [Vector, Vector][], axes: Vector[], ink: string, text: string, colors: string[] }} options
 *   colors are those of the sites; axes are the ends of a, b and c
 */
export function draw(viewer, scene, { numbers, bonds, edges, axes, ink, text, colors }) {
  viewer.removeAllModels();
  viewer.removeAllShapes();
  viewer.removeAllLabels();
  const atoms = scene.atoms.map(({ site, position, bonds: partners }, serial) => ({
    ...point(position), elem: SYMBOLS[numbers[site] - 1], serial, bonds: bonds ? partners : [], bondOrder: bonds ? partners.map(() => 1) : [],
  }));
  viewer.addModel().addAtoms(atoms);
  const sphere = { scale: scene.solids.length ? 0.22 : 0.32, colorscheme: "Jmol" };
  viewer.setStyle({}, bonds ? { sphere, stick: { radius: 0.1, colorscheme: "Jmol" } } : { sphere });
  addEdges(viewer, edges, ink);
  axes.forEach((end, i) => viewer.addLabel("abc"[i], {
    position: point(end), fontColor: text, backgroundOpacity: 0, fontSize: 15, inFront: true, alignment: "center",
  }));
  for (const color of new Set(scene.solids.map(({ site }) => colors[site]))) {
    const faces = scene.solids.filter(({ site }) => colors[site] === color).flatMap((solid) => solid.faces);
    addSolids(viewer, faces, color);
    addEdges(viewer, sidesOf(faces).slice(0, MOST_SIDES), color);
  }
  viewer.render();
}

const MOST_VERTICES = 6000;
const MOST_SIDES = 1500;

/**
 * Lines as one thin shape.
 * @param {Viewer3D} viewer
 * @param {[Vector, Vector][]} edges
 * @param {string} color
 */
function addEdges(viewer, edges, color) {
  if (!edges.length) return;
  const shape = viewer.addShape({ color });
  for (const [start, end] of edges) shape.addCylinder({ start: point(start), end: point(end), radius: 0.025, color });
}

/**
 * The sides of faces, each once although two faces share it.
 * @param {Vector[][]} faces
 * @returns {[Vector, Vector][]}
 */
function sidesOf(faces) {
  /** @type {Map<string, [Vector, Vector]>} */
  const sides = new Map(), name = (/** @type {Vector} */ at) => at.map((value) => value.toFixed(2)).join();
  for (const face of faces) face.forEach((start, i) => {
    const end = face[(i + 1) % face.length];
    sides.set([name(start), name(end)].sort().join(" "), [start, end]);
  });
  return [...sides.values()];
}

/**
 * Faces of one colour, each flat.
 * @param {Viewer3D} viewer
 * @param {Vector[][]} faces
 * @param {string} color
 */
function addSolids(viewer, faces, color) {
  /** @type {{ x: number, y: number, z: number }[]} */
  let vertexArr = [];
  /** @type {{ x: number, y: number, z: number }[]} */
  let normalArr = [];
  /** @type {number[]} */
  let faceArr = [];
  const finish = () => {
    if (faceArr.length) viewer.addCustom({ vertexArr, normalArr, faceArr, color, opacity: 0.8 });
    [vertexArr, normalArr, faceArr] = [[], [], []];
  };
  for (const face of faces) {
    const first = vertexArr.length, normal = point(cross(minus(face[1], face[0]), minus(face[2], face[1])));
    for (const corner of face) { vertexArr.push(point(corner)); normalArr.push(normal); }
    for (let i = 1; i + 1 < face.length; i++) faceArr.push(first, first + i, first + i + 1);
    if (vertexArr.length > MOST_VERTICES) finish();
  }
  finish();
}

/**
 * Turns what is drawn about axes of the view.
 * @param {Viewer3D} viewer
 * @param {Quaternion} by
 */
export function rotateBy(viewer, by) {
  const view = viewer.getView();
  viewer.setView([...view.slice(0, 4), ...after(by, /** @type {Quaternion} */ (view.slice(4)))]);
}

const FILLED = 0.77;

/**
 * Shows all points of a scene as large as they fit, in an orientation or in that which the view has.
 * @param {Viewer3D} viewer
 * @param {Scene} scene
 * @param {Quaternion} [orientation]
 */
export function lookFrom(viewer, scene, orientation) {
  if (orientation) viewer.setView([...viewer.getView().slice(0, 4), ...orientation]);
  viewer.zoomTo();
  viewer.render(); // places in the picture are those of what was drawn last
  const { width, height, left, top } = viewer.getCanvas().getBoundingClientRect();
  const seen = viewer.modelToScreen(scene.atoms.map(({ position }) => point(position)));
  // Places are those in the document, which may be scrolled.
  const [x, y] = [left + scrollX + width / 2, top + scrollY + height / 2];
  const across = Math.max(...seen.map((/** @type {{ x: number }} */ one) => Math.abs(one.x - x)), 1);
  const down = Math.max(...seen.map((/** @type {{ y: number }} */ one) => Math.abs(one.y - y)), 1);
  const fits = FILLED * Math.min(width / 2 / across, height / 2 / down);
  viewer.zoom(Math.max(0.5, Math.min(fits, 2.5)));
  viewer.render();
}
