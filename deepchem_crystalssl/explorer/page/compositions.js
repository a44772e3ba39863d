// Chemical formulas compared as compositions: Ca(OH)2 and CaH2O2 are one compound.
// The rules are those of deepchem_crystalssl/search/formulas.py.

import { SYMBOLS } from "#elements";

/** @typedef {Map<string, number>} Composition  atoms of each element */

const KNOWN = new Set(SYMBOLS);
const TOKEN = /\s*([A-Za-z]+|\d+\.?\d*|\.\d+|[()[\]{}])\s*/y;
const JOINING_DOT = /[·•⋅∙]/;
const MOST_LETTERS = 24;
const MOST_READINGS = 64;
const SAME = 1e-5;

/**
 * Atoms of each element in a formula, null if the text is none. Brackets, spaces, decimal numbers and the dot of a
 * hydrate are understood.
 * @param {string} text
 * @returns {Composition | null}
 */
export function parseFormula(text) {
  const parts = tokensOf(text), words = wordsOf(parts), cut = words.map((word) => word.match(/[A-Z][a-z]?/g) ?? []);
  const written = words.every((word, i) => cut[i].join("") === word && cut[i].every((symbol) => KNOWN.has(symbol)));
  return words.length && written ? count(parts, cut) : null;
}

/**
 * What a text may mean as a formula: as it is written or, if it is no formula then, ignoring upper and lower case.
 * @param {string} text
 * @returns {Composition[]}
 */
export function readFormula(text) {
  const written = parseFormula(text);
  if (written) return [written];
  const parts = tokensOf(text), words = wordsOf(parts);
  if (!words.length || words.join("").length > MOST_LETTERS) return [];
  /** @type {string[][][]} */
  let ways = [[]];
  for (const word of words) {
    const cuts = segmentations(word.toLowerCase());
    if (ways.length * cuts.length > MOST_READINGS) return [];
    ways = ways.flatMap((way) => cuts.map((cut) => [...way, cut]));
  }
  return ways.map((way) => count(parts, way)).filter((found) => found !== null);
}

/**
 * Whether two compositions have the same elements in the same proportions.
 * @param {Composition} one
 * @param {Composition} other
 */
export function sameCompound(one, other) {
  const total = sum(one), otherTotal = sum(other);
  return one.size === other.size
    && [...one].every(([symbol, n]) => Math.abs(n / total - (other.get(symbol) ?? Infinity) / otherTotal) < SAME);
}

/**
 * The numbers of atoms of a composition, smallest first, divided by the smallest: those of Fe2O3 are 1, 1.5.
 * @param {Composition} composition
 */
export function proportions(composition) {
  const numbers = [...composition.values()].sort((a, b) => a - b);
  return numbers.map((n) => +(n / numbers[0]).toFixed(4)).join(" ");
}

/**
 * The proportions that letters in place of elements ask for, as ABX3 or A2B; null if the text is no such formula.
 * @param {string} text
 */
export function prototypeProportions(text) {
  const parts = /^([A-Z]\d*)+$/.test(text) ? [...text.matchAll(/([A-Z])(\d*)/g)] : [];
  const letters = new Set(parts.map(([, letter]) => letter));
  if (letters.size < 2 || letters.size < parts.length || [...letters].every((letter) => KNOWN.has(letter))) return null;
  const numbers = parts.map(([, , n]) => (n === "" ? 1 : +n));
  return Math.min(...numbers) > 0 ? proportions(new Map(parts.map(([, letter], i) => [letter, numbers[i]]))) : null;
}

/** @param {Composition} composition */
const sum = (composition) => [...composition.values()].reduce((total, n) => total + n, 0);

/**
 * Words, numbers and brackets of each part of a formula (a hydrate has two); nothing if there is anything else.
 * @param {string} text
 * @returns {string[][]}
 */
function tokensOf(text) {
  const parts = [];
  for (const part of text.normalize("NFKC").split(JOINING_DOT)) {
    const tokens = [];
    TOKEN.lastIndex = 0;
    for (let at = 0, match; at < part.length; at = TOKEN.lastIndex) {
      match = TOKEN.exec(part);
      if (!match) return [];
      tokens.push(match[1]);
    }
    if (!tokens.length) return [];
    parts.push(tokens);
  }
  return parts;
}

/** @param {string[][]} parts */
const wordsOf = (parts) => parts.flat().filter((token) => /^[A-Za-z]/.test(token));

/**
 * All ways to cut a word of small letters into symbols of elements.
 * @param {string} word
 * @returns {string[][]}
 */
function segmentations(word) {
  if (!word) return [[]];
  return [1, 2].flatMap((length) => {
    const symbol = word[0].toUpperCase() + word.slice(1, length);
    return word.length < length || !KNOWN.has(symbol) ? []
      : segmentations(word.slice(length)).map((rest) => [symbol, ...rest]);
  });
}

/**
 * Atoms of each element; `cut` holds the elements of every word, in order.
 * @param {string[][]} parts
 * @param {string[][]} cut
 * @returns {Composition | null}
 */
function count(parts, cut) {
  /** @type {Composition} */
  const total = new Map();
  let word = 0;
  for (const tokens of parts) {
    const led = /^[.\d]/.test(tokens[0]), times = led ? +tokens[0] : 1;
    /** @type {Composition[]} */
    const groups = [new Map()];
    /** @type {Composition | null} */
    let last = null;
    for (const token of led ? tokens.slice(1) : tokens) {
      const inner = groups[groups.length - 1];
      if (/^[A-Za-z]/.test(token)) {
        for (const symbol of cut[word]) add(inner, (last = new Map([[symbol, 1]])), 1);
        word++;
      } else if ("([{".includes(token)) {
        groups.push(new Map());
        last = null;
      } else if (")]}".includes(token)) {
        if (groups.length < 2) return null;
        groups.pop();
        last = inner;
        add(groups[groups.length - 1], last, 1);
      } else {
        if (!last?.size) return null;
        add(inner, last, +token - 1);
        last = null;
      }
    }
    if (groups.length > 1) return null;
    add(total, groups[0], times);
  }
  return total.size && Math.min(...total.values()) > 0 ? total : null;
}

/**
 * @param {Composition} composition
 * @param {Composition} more
 * @param {number} times
 */
function add(composition, more, times) {
  for (const [symbol, n] of more) composition.set(symbol, (composition.get(symbol) ?? 0) + times * n);
}
