// Conditions on columns, as "gap 1..2", "band_gap > 1", "crystal system cubic" or "sg Fm-3m".

import { spaceGroupNumber, spaceGroupSymbol } from "#space_groups";
import { AND, isNumber, OPERATORS, readSpan } from "#spans";

/** @typedef {import("#catalogue").SearchColumn} SearchColumn */

/**
 * What some words at the beginning of a list ask for: how many words were read, which column, and the test of a value.
 * @typedef {object} Condition
 * @property {number} used
 * @property {SearchColumn} column
 * @property {(value: number) => boolean} test
 * @property {string} words
 */

/** @typedef {{ problem: string }} Problem */
/** @typedef {import("#spans").Span} Span */

const ALIASES = new Map(Object.entries({
  sg: "space_group", spacegroup: "space_group", spgr: "space_group", nsites: "num_sites", natoms: "num_sites",
  sites: "num_sites", atoms: "num_sites", nelements: "n_elements", elements: "n_elements", system: "crystal_system",
}));
const MOST_WORDS = 5;
const UNKNOWN = 65535;

/** @param {string} text */
const key = (text) => text.toLowerCase().replace(/[^\p{L}\p{N}]/gu, "");
/** @param {string} text */
const wordsOf = (text) => text.toLowerCase().split(/[^\p{L}\p{N}]+/u).filter(Boolean);

/**
 * The columns that a name may mean: those called so or, failing that, those with such words in their name.
 * @param {string} text
 * @param {SearchColumn[]} columns
 * @param {(name: string) => string} label
 */
export function columnsNamed(text, columns, label) {
  const wanted = wordsOf(text), whole = key(text), alias = ALIASES.get(whole);
  if (!whole) return [];
  const exact = columns.filter(({ name }) => name === alias || key(name) === whole || key(label(name)) === whole);
  if (exact.length) return exact.slice(0, 1);
  /** @type {((word: string, one: string) => boolean)[]} */
  const ways = [(word, one) => word === one, (word, one) => one.length > 2 && word.startsWith(one)];
  for (const same of ways) {
    const found = columns.filter(({ name }) => {
      const words = [...wordsOf(name), ...wordsOf(label(name))];
      return wanted.every((one) => words.some((word) => same(word, one)));
    });
    if (found.length) return found;
  }
  return whole.length > 3 ? columns.filter(({ name }) => key(name).includes(whole)) : [];
}

/**
 * The condition that begins at the first of some words; null if none does.
 * @param {string[]} words
 * @param {SearchColumn[]} columns
 * @param {(name: string) => string} label
 * @returns {Condition | Problem | null}
 */
export function readCondition(words, columns, label) {
  words = nameFirst(words, columns, label);
  const sign = words.findIndex((word) => OPERATORS.has(word) || word === ".." || isNumber(word));
  for (let n = Math.min(MOST_WORDS, words.length - 1, sign < 0 ? Infinity : sign); n > 0; n--) {
    const name = words.slice(0, n).join(" "), rest = words.slice(n);
    const span = readSpan(rest), named = columnsNamed(name, columns, label);
    const numbers = named.filter((column) => !column.categories), kinds = named.filter((column) => column.categories);
    const chosen = span ? numbers : [...kinds, ...numbers.filter((column) => column.name === "space_group")];
    if (chosen.length > 1) {
      return { problem: `"${name}" may mean ${chosen.map((one) => label(one.name)).join(" or ")}. Write more of the name, as ${chosen[0].name} ${rest.slice(0, 3).join(" ")}.` };
    }
    if (chosen.length) {
      const found = span ? numberCondition(chosen[0], span, label) : wordCondition(chosen[0], rest, label);
      if (found && "problem" in found) return found;
      if (found) return { ...found, used: found.used + n };
    }
    const asked = OPERATORS.has(rest[0]) || rest[0] === ".." || rest[1] === "..";
    if ((n === 1 || kinds.length) && asked) return noCondition(name, rest, kinds, columns, label);
  }
  return null;
}

/**
 * @param {string} name
 * @param {string[]} rest
 * @param {SearchColumn[]} kinds
 * @param {SearchColumn[]} columns
 * @param {(name: string) => string} label
 * @returns {Problem}
 */
function noCondition(name, rest, kinds, columns, label) {
  const named = columnsNamed(name, columns, label), numbers = columns.filter((column) => !column.categories).map((column) => column.name);
  if (kinds.length) return { problem: `${label(kinds[0].name)} is one of ${kinds[0].categories?.slice(0, 12).join("; ")}, as ${kinds[0].name} = ${kinds[0].categories?.[0]}.` };
  if (named.length) return { problem: `"${rest.join(" ")}" after ${name} was not understood. Write a number or a range in the unit of the column, as ${named[0].name} > 1 or ${named[0].name} 1..2.` };
  const known = numbers.length ? `There are ${numbers.slice(0, 12).join(", ")}; write ${numbers[0]} 1..2, for example.` : "There are none here.";
  return { problem: `No column of numbers is called "${name}". ${known}` };
}

/**
 * "1 < gap < 2" in the order "gap > 1 && < 2"; the words as they are if they do not begin with a number and a sign.
 * @param {string[]} words
 * @param {SearchColumn[]} columns
 * @param {(name: string) => string} label
 */
function nameFirst(words, columns, label) {
  const [number, sign, ...others] = words;
  if (!isNumber(number) || !/^[<>]=?$/.test(sign ?? "")) return words;
  const turned = sign.replace(/[<>]/, (one) => (one === "<" ? ">" : "<"));
  const end = others.findIndex((word) => OPERATORS.has(word));
  let n = Math.min(MOST_WORDS, end < 0 ? others.length : end);
  while (n > 1 && !columnsNamed(others.slice(0, n).join(" "), columns, label).length) n--;
  const after = others.slice(n);
  return [...others.slice(0, n), turned, number, ...(OPERATORS.has(after[0]) ? [AND] : []), ...after];
}

/**
 * @param {SearchColumn} column
 * @param {Span} span
 * @param {(name: string) => string} label
 * @returns {Condition | Problem}
 */
function numberCondition(column, { low, high, test, used, words }, label) {
  if (low > high) return { problem: `The range of ${label(column.name)} goes from its smaller to its larger end, as ${column.name} ${high}..${low}.` };
  const symbol = column.name === "space_group" && low === high ? spaceGroupSymbol(low) : "";
  return { used, column, test, words: `${label(column.name)} ${symbol ? `${symbol} (${low})` : words}` };
}

/**
 * A category, or the symbol of a space group.
 * @param {SearchColumn} column
 * @param {string[]} rest
 * @param {(name: string) => string} label
 * @returns {Condition | null}
 */
function wordCondition(column, rest, label) {
  const skipped = OPERATORS.has(rest[0]) || rest[0] === "is" ? 1 : 0;
  for (let n = Math.min(MOST_WORDS, rest.length - skipped); n > 0; n--) {
    const text = rest.slice(skipped, skipped + n).join(" "), used = skipped + n;
    const number = column.categories ? undefined : spaceGroupNumber(text);
    if (number !== undefined) return { used, column, test: (value) => value === number, words: `${label(column.name)} ${spaceGroupSymbol(number)} (${number})` };
    const code = column.categories ? categoryNamed(text, column.categories) : -1;
    if (code >= 0) return categoryCondition(column, code, used, label);
  }
  return null;
}

/**
 * @param {SearchColumn} column
 * @param {number} code
 * @param {number} used
 * @param {(name: string) => string} label
 * @returns {Condition}
 */
export function categoryCondition(column, code, used, label) {
  return { used, column, test: (value) => value === code && value !== UNKNOWN, words: `${label(column.name)} ${column.categories?.[code]}` };
}

/**
 * The place of a category that is called so, in the singular or plural, or has such a word; -1 if none has.
 * @param {string} text
 * @param {string[]} categories
 */
export function categoryNamed(text, categories) {
  const wanted = text.toLowerCase(), singular = wanted.replace(/s$/, "");
  const exact = categories.findIndex((one) => one.toLowerCase() === wanted || one.toLowerCase() === singular);
  if (exact >= 0 || wanted.length < 3) return exact;
  const holding = categories.flatMap((one, i) => (wordsOf(one).some((word) => word === wanted || word === singular) ? [i] : []));
  return holding.length === 1 ? holding[0] : -1;
}
