// Ranges of numbers as they are typed: "> 1", "1..2", "1-2 eV", "between 1 and 2", "at least 3".

/**
 * Which numbers are meant, in how many words, and the same in plain words.
 * @typedef {object} Span
 * @property {number} low
 * @property {number} high
 * @property {(value: number) => boolean} test
 * @property {number} used
 * @property {string} words
 */

const NUMBER = String.raw`[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?`;
// Numbers are in the unit of their column; a unit without a prefix may be written all the same.
const UNITS = "eV(?:/atom|/Å)?|Å\\^?3?|GPa|g/cm\\^?3|°";
const VALUE = new RegExp(`^(${NUMBER})(?:${UNITS})?$`, "i");
const UNIT = new RegExp(`^(?:${UNITS})$`, "i");
const BOTH = new RegExp(`^(${NUMBER})-(${NUMBER})(?:${UNITS})?$`, "i");
const IN_WORDS = new Map(Object.entries({
  above: ">", over: ">", more: ">", greater: ">", below: "<", under: "<", less: "<", is: "=", equals: "=",
}));

export const OPERATORS = new Set(["<", ">", "<=", ">=", "="]);
/** Joins two comparisons of one column, as in 1 < gap < 2; it is no word that was typed. */
export const AND = "&&";

/** @param {string | undefined} word */
export const isNumber = (word) => VALUE.test(word ?? "");

/**
 * The number or range of numbers with which a list of words begins; null if it does not.
 * @param {string[]} words
 * @returns {Span | null}
 */
export function readSpan(words) {
  const { sign, at } = readSign(words);
  const both = BOTH.exec(words[at] ?? "");
  if (!sign && both) return closed(+both[1], +both[2], withUnit(words, at + 1));
  if (!sign && words[at] === "..") {
    const last = VALUE.exec(words[at + 1] ?? "");
    return last && closed(-Infinity, +last[1], withUnit(words, at + 2));
  }
  const first = VALUE.exec(words[at] ?? "");
  if (!first) return null;
  const next = withUnit(words, at + 1), begins = /^(between|from)$/.test(words[0]);
  if (!sign && (words[next] === ".." || words[next] === "to" || (words[0] === "between" && words[next] === "and"))) {
    const last = VALUE.exec(words[next + 1] ?? "");
    if (last) return closed(+first[1], +last[1], withUnit(words, next + 2));
    return words[next] === ".." ? closed(+first[1], Infinity, next + 1) : null;
  }
  if (begins) return null;
  const one = compared(sign, +first[1], next), other = words[next] === AND ? readSpan(words.slice(next + 1)) : null;
  return other ? bothOf(one, other) : one;
}

/**
 * The sign with which some words begin (none for "="), and how many words are before the number.
 * @param {string[]} words
 */
function readSign(words) {
  const [first, second] = words;
  if (first === "at" && (second === "least" || second === "most")) return { sign: second === "least" ? ">=" : "<=", at: 2 };
  if (OPERATORS.has(first)) return { sign: first === "=" ? "" : first, at: 1 };
  const sign = IN_WORDS.get(first);
  if (sign) return { sign: sign === "=" ? "" : sign, at: second === "than" ? 2 : 1 };
  return { sign: "", at: first === "between" || first === "from" ? 1 : 0 };
}

/**
 * @param {string[]} words
 * @param {number} at
 */
const withUnit = (words, at) => (UNIT.test(words[at] ?? "") ? at + 1 : at);

/**
 * @param {number} low
 * @param {number} high
 * @param {number} used
 * @returns {Span}
 */
function closed(low, high, used) {
  const [first, last] = [Math.fround(low), Math.fround(high)]; // as the values are kept
  const words = low === -Infinity ? `at most ${high}` : high === Infinity ? `at least ${low}` : low === high ? `${low}` : `from ${low} to ${high}`;
  return { low, high, used, words, test: (value) => value >= first && value <= last };
}

/**
 * @param {string} sign
 * @param {number} value
 * @param {number} used
 * @returns {Span}
 */
function compared(sign, value, used) {
  const kept = Math.fround(value);
  if (sign === ">=") return closed(value, Infinity, used);
  if (sign === "<=") return closed(-Infinity, value, used);
  if (sign === ">") return { low: value, high: Infinity, used, words: `above ${value}`, test: (one) => one > kept };
  if (sign === "<") return { low: -Infinity, high: value, used, words: `below ${value}`, test: (one) => one < kept };
  return closed(value, value, used);
}

/**
 * @param {Span} one
 * @param {Span} other
 * @returns {Span}
 */
function bothOf(one, other) {
  return { low: Math.max(one.low, other.low), high: Math.min(one.high, other.high), used: one.used + other.used,
    words: `${one.words} and ${other.words}`, test: (value) => one.test(value) && other.test(value) };
}
