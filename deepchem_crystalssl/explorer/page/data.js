// What the page knows: parts that stand in this file as base64, or that its server gives; gzipped either way.

import { askPart, inNotebook } from "#bridge";
import { spaceGroupSymbol } from "#space_groups";

/** @param {string} name */
const stored = (name) => document.getElementById(`part:${name}`);

/** The bytes of a part. @param {string} name @returns {Promise<ArrayBuffer>} */
async function readPart(name) {
  const element = stored(name);
  /** @type {Uint8Array<ArrayBuffer>} */
  let bytes;
  if (element) {
    const text = atob(element.textContent?.trim() ?? "");
    bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  } else if (inNotebook) {
    bytes = await askPart(name);
  } else {
    const answer = await fetch(`parts/${encodeURIComponent(name)}`);
    if (!answer.ok) throw new Error(`The server has no ${name}.`);
    bytes = new Uint8Array(await answer.arrayBuffer());
  }
  const whole = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(whole).arrayBuffer();
}

const readText = async (/** @type {string} */ name) => new TextDecoder().decode(await readPart(name));
const readLines = async (/** @type {string} */ name) => (await readText(name)).split("\n");

/** A float16 from its bits. @param {number} bits */
function halfToNumber(bits) {
  const exponent = (bits >> 10) & 31, fraction = bits & 1023;
  return exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024);
}

export const meta = JSON.parse(await readText("meta"));
export const served = !stored("meta");
export const [ids, formulas, places, neighborRows, distanceBits] = await Promise.all([
  readLines("ids"), readLines("formulas"),
  readPart("positions").then((b) => new Uint16Array(b)),
  readPart("neighbors").then((b) => new Uint32Array(b)),
  readPart("distances").then((b) => new Uint16Array(b)),
]);
export const n = meta.crystals;
const SPREAD = 0.96;
export const x = Float32Array.from(places.subarray(0, n), (v) => (v / 32767.5 - 1) * SPREAD);
export const y = Float32Array.from(places.subarray(n), (v) => (v / 32767.5 - 1) * SPREAD);
export const rowOf = new Map(ids.map((id, row) => [id, row]));

/**
 * @typedef {object} Column
 * @property {string} name
 * @property {string[] | null} categories  Null for numbers.
 * @property {string} unit  "" if it has none, or none that is known.
 * @property {Promise<Float32Array | Uint16Array>} [values]
 */

/** @type {Map<string, Column>} */
export const columns = new Map(meta.columns.map((/** @type {Column} */ column) => [column.name, column]));
const UNKNOWN_KIND = 65535;

// A space group is a kind, not a number; only a search takes it by its number.
const groups = columns.get("space_group");
/** @type {Float32Array | null} */
export let spaceGroupNumbers = null;
if (groups && !groups.categories) {
  const numbers = spaceGroupNumbers = new Float32Array(await readPart("column:space_group"));
  const counts = new Map();
  for (const number of numbers) if (number >= 1 && number <= 230) counts.set(number, (counts.get(number) ?? 0) + 1);
  const found = [...counts.keys()].sort((a, b) => a - b), places = new Map(found.map((number, place) => [number, place]));
  groups.categories = found.map((number) => `${spaceGroupSymbol(number)} (${number})`);
  groups.values = Promise.resolve(Uint16Array.from(numbers, (number) => places.get(number) ?? UNKNOWN_KIND));
}

/**
 * The values of a column: numbers, NaN where unknown, or places in its categories.
 *
 * @param {string} name
 * @returns {Promise<Float32Array | Uint16Array>}
 */
export async function columnValues(name) {
  const column = columns.get(name);
  if (!column) throw new Error(`The map has no column ${name}.`);
  column.values ??= readPart(`column:${name}`).then((b) => (column.categories ? new Uint16Array(b) : new Float32Array(b)));
  return column.values;
}

/**
 * Give the page a column that its file does not hold, or another one in its place.
 *
 * @param {{ name: string, categories: string[] | null, values: Float32Array | Uint16Array }} column
 */
export function addColumn({ name, categories, values }) {
  columns.set(name, { name, categories, unit: "", values: Promise.resolve(values) });
}

const LABELS = new Map([["n_elements", "elements in the formula"], ["num_sites", "atoms in the cell"]]);
/** The name of a column for people. @param {string} name */
export const label = (name) => {
  const unit = columns.get(name)?.unit, ending = `(${unit})`;
  return LABELS.get(name) ?? (unit && name.endsWith(ending) ? name.slice(0, -ending.length).trim() : name).replaceAll("_", " ");
};
/** The same with its unit. @param {string} name */
export const labelWithUnit = (name) => label(name) + (columns.get(name)?.unit ? ` (${columns.get(name)?.unit})` : "");
/** @param {Column} column @param {number} code */
export const kindOf = (column, code) => (column.categories && code !== UNKNOWN_KIND ? column.categories[code] : "");
/** @param {number} v */
export const shortNumber = (v) => (Number.isFinite(v) ? (Number.isInteger(v) ? String(v) : String(+v.toPrecision(4))) : "");

/** What is known of a crystal: name, value and unit. @param {number} row @returns {Promise<[string, string][]>} */
export async function factsOf(row) {
  /** @type {[string, string][]} */
  const facts = [];
  for (const column of columns.values()) {
    const value = (await columnValues(column.name))[row];
    const words = column.categories ? kindOf(column, value) : shortNumber(value);
    if (words !== "") facts.push([label(column.name), column.unit ? `${words} ${column.unit}` : words]);
  }
  return facts;
}

/** @type {Set<string>[] | undefined} */
let elementSets;
/** The elements of a crystal. @param {number} row @returns {Set<string>} */
export const elementsOf = (row) => (elementSets ??= formulas.map((f) => new Set(f.match(/[A-Z][a-z]?/g))))[row];

/** The share of all crystals that contain each element. @returns {Map<string, number>} */
export function elementShares() {
  const shares = new Map();
  for (let row = 0; row < n; row++) for (const symbol of elementsOf(row)) shares.set(symbol, (shares.get(symbol) ?? 0) + 1 / n);
  return shares;
}

/** The row that is nearest to a place on the map, whose coordinates are between -1 and 1. @param {[number, number]} place */
export function nearestRow([px, py]) {
  let best = 0, least = Infinity;
  for (let row = 0; row < n; row++) {
    const apart = (x[row] / SPREAD - px) ** 2 + (y[row] / SPREAD - py) ** 2;
    if (apart < least) [best, least] = [row, apart];
  }
  return best;
}

/** The nearest neighbours of a crystal and their distances. @param {number} row */
export function neighborsOf(row) {
  const k = meta.neighbors;
  return Array.from({ length: k }, (_, i) => ({
    row: neighborRows[row * k + i], distance: halfToNumber(distanceBits[row * k + i]),
  }));
}

// Structures and lines lie in parts of many crystals; the last few read are kept.
/** @type {Map<string, Promise<any>>} */
const opened = new Map();
/**
 * @template T
 * @param {string} kind
 * @param {number} row
 * @param {(buffer: ArrayBuffer, count: number) => T} unpack
 * @returns {Promise<T>}
 */
function openPart(kind, row, unpack) {
  const name = `${kind}:${Math.floor(row / meta.perPart)}`;
  if (!opened.has(name)) {
    opened.set(name, readPart(name).then((buffer) => unpack(buffer, Math.min(meta.perPart, n - Math.floor(row / meta.perPart) * meta.perPart))));
    if (opened.size > 12) opened.delete(/** @type {string} */ (opened.keys().next().value));
  }
  return /** @type {Promise<any>} */ (opened.get(name));
}

/** @param {ArrayBuffer} buffer @param {number} count */
function unpackStructures(buffer, count) {
  const sizes = new Uint16Array(buffer.slice(0, 2 * count));
  const lattices = new Float32Array(buffer.slice(2 * count, 38 * count));
  const first = [0];
  for (const size of sizes) first.push(first[first.length - 1] + size);
  const sites = first[count], bytes = new Uint8Array(buffer, 38 * count);
  return (/** @type {number} */ at) => {
    const numbers = [], fractions = [];
    for (let site = first[at]; site < first[at + 1]; site++) {
      numbers.push(bytes[site]);
      fractions.push([0, 1, 2].map((axis) => {
        const low = bytes[sites * (1 + axis) + site], high = bytes[sites * (4 + axis) + site];
        return (high * 256 + low) / 65536;
      }));
    }
    const cell = [0, 1, 2].map((v) => Array.from(lattices.subarray(9 * at + 3 * v, 9 * at + 3 * v + 3)));
    return { lattice: cell, numbers, frac_coords: fractions };
  };
}

/** @param {ArrayBuffer} buffer @param {number} count */
function unpackLines(buffer, count) {
  const bytes = new Uint8Array(buffer), first = [0];
  for (let i = 0; i < count; i++) first.push(first[i] + bytes[i]);
  const total = first[count];
  return (/** @type {number} */ at) => {
    const angles = [], heights = [];
    for (let i = first[at]; i < first[at + 1]; i++) {
      const bin = bytes[count + 2 * i] + 256 * bytes[count + 2 * i + 1];
      angles.push(meta.lines.first + (bin + 0.5) * meta.lines.step);
      heights.push(bytes[count + 2 * total + i] / 255);
    }
    return { two_theta: angles, intensity: heights };
  };
}

export const structureOf = async (/** @type {number} */ row) => (await openPart("structures", row, unpackStructures))(row % meta.perPart);
export const linesOf = async (/** @type {number} */ row) => (await openPart("patterns", row, unpackLines))(row % meta.perPart);
