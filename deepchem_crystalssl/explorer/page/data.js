// What the page knows: parts that stand in this file as base64, or that its server gives; gzipped either way.

const stored = (name) => document.getElementById(`part:${name}`);

async function readPart(name) {
  const element = stored(name);
  let bytes;
  if (element) {
    const text = atob(element.textContent.trim());
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

const readText = async (name) => new TextDecoder().decode(await readPart(name));
const readLines = async (name) => (await readText(name)).split("\n");

function halfToNumber(bits) {
  const exponent = (bits >> 10) & 31, fraction = bits & 1023;
  return exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024);
}

const meta = JSON.parse(await readText("meta"));
const served = !stored("meta");
const [ids, formulas, places, neighborRows, distanceBits] = await Promise.all([
  readLines("ids"), readLines("formulas"),
  readPart("positions").then((b) => new Uint16Array(b)),
  readPart("neighbors").then((b) => new Uint32Array(b)),
  readPart("distances").then((b) => new Uint16Array(b)),
]);
const n = meta.crystals;
const x = Float32Array.from(places.subarray(0, n), (v) => (v / 32767.5 - 1) * 0.96);
const y = Float32Array.from(places.subarray(n), (v) => (v / 32767.5 - 1) * 0.96);
const rowOf = new Map(ids.map((id, row) => [id, row]));

const columns = new Map(meta.columns.map((column) => [column.name, column]));
async function columnValues(name) {
  const column = columns.get(name);
  column.values ??= readPart(`column:${name}`).then((b) => (column.categories ? new Uint16Array(b) : new Float32Array(b)));
  return column.values;
}
const label = (name) => ({ n_elements: "elements in the formula", num_sites: "atoms in the cell" })[name] ?? name.replaceAll("_", " ");
const kindOf = (column, code) => (code === 65535 ? "" : column.categories[code]);
const shortNumber = (v) => (Number.isFinite(v) ? (Number.isInteger(v) ? String(v) : String(+v.toPrecision(4))) : "");

async function factsOf(row) {
  const facts = [];
  for (const column of columns.values()) {
    const value = (await columnValues(column.name))[row];
    const words = column.categories ? kindOf(column, value) : shortNumber(value);
    if (words !== "") facts.push([label(column.name), words]);
  }
  return facts;
}

function neighborsOf(row) {
  const k = meta.neighbors;
  return Array.from({ length: k }, (_, i) => ({
    row: neighborRows[row * k + i], distance: halfToNumber(distanceBits[row * k + i]),
  }));
}

// Structures and lines lie in parts of many crystals; the last few read are kept.
const opened = new Map();
function openPart(kind, row, unpack) {
  const name = `${kind}:${Math.floor(row / meta.perPart)}`;
  if (!opened.has(name)) {
    opened.set(name, readPart(name).then((buffer) => unpack(buffer, Math.min(meta.perPart, n - Math.floor(row / meta.perPart) * meta.perPart))));
    if (opened.size > 12) opened.delete(opened.keys().next().value);
  }
  return opened.get(name);
}

function unpackStructures(buffer, count) {
  const sizes = new Uint16Array(buffer.slice(0, 2 * count));
  const lattices = new Float32Array(buffer.slice(2 * count, 38 * count));
  const first = [0];
  for (const size of sizes) first.push(first.at(-1) + size);
  const sites = first.at(-1), bytes = new Uint8Array(buffer, 38 * count);
  return (at) => {
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

function unpackLines(buffer, count) {
  const bytes = new Uint8Array(buffer), first = [0];
  for (let i = 0; i < count; i++) first.push(first.at(-1) + bytes[i]);
  const total = first.at(-1);
  return (at) => {
    const angles = [], heights = [];
    for (let i = first[at]; i < first[at + 1]; i++) {
      const bin = bytes[count + 2 * i] + 256 * bytes[count + 2 * i + 1];
      angles.push(meta.lines.first + (bin + 0.5) * meta.lines.step);
      heights.push(bytes[count + 2 * total + i] / 255);
    }
    return { two_theta: angles, intensity: heights };
  };
}

const structureOf = async (row) => (await openPart("structures", row, unpackStructures))(row % meta.perPart);
const linesOf = async (row) => (await openPart("patterns", row, unpackLines))(row % meta.perPart);
