// The parts of a search: each reader understands one kind of condition at the beginning of a list of words.

import { categoryCondition, categoryNamed, readCondition } from "#comparisons";
import { parseFormula, prototypeProportions, readFormula, sameCompound } from "#compositions";
import { spaceGroupNumber, spaceGroupSymbol } from "#space_groups";

/** @typedef {import("#catalogue").Known} Known */
/** @typedef {import("#catalogue").Catalogue} Catalogue */
/** @typedef {import("#catalogue").Test} Test */
/** @typedef {import("#comparisons").Condition} Condition */
/** @typedef {import("#comparisons").Problem} Problem */
/** @typedef {import("#compositions").Composition} Composition */

/**
 * What is asked for so far.
 * @typedef {object} Asked
 * @property {number[][]} named  rows of each id
 * @property {string[]} ids
 * @property {string[]} needed
 * @property {string[]} unwanted
 * @property {{ test: Test, words: string }[]} tests
 * @property {Condition[]} conditions
 */

/**
 * Adds what the first words ask for, and tells how many these are: none, if they are of another kind.
 * @typedef {(words: string[], asked: Asked, known: Known, catalogue: Catalogue) => number | Problem} Reader
 */

export const HELP = "Type an id, a formula such as LiCoO2, a chemical system such as Li-Co-O or Li-*-O, elements such as Li Co -F, "
  + "a space group such as Pnma, or a range such as gap 1..2.";
const NEGATIONS = new Set(["not", "without", "no", "excluding"]);
const SIZES = new Map([["unary", 1], ["binary", 2], ["ternary", 3], ["quaternary", 4], ["quinary", 5]]);
const FILLERS = new Set(["and", "&", "+", "with", "contains", "containing", "space", "group"]);

/**
 * Symbols of a list such as "Li,Co", of one element, or nothing.
 * @param {string} word
 * @returns {string[]}
 */
export function elementsIn(word) {
  const parts = word.split(",").filter(Boolean).map((part) => (/^[a-z]{1,2}$/.test(part) ? part[0].toUpperCase() + part.slice(1) : part));
  return parts.every((part) => part.length < 3 && parseFormula(part)?.size === 1 && /^[A-Za-z]+$/.test(part)) ? parts : [];
}

/**
 * @param {string} id
 * @param {Asked} asked
 * @param {Catalogue} catalogue
 */
export function addId(id, asked, catalogue) {
  const rows = catalogue.rowsNamed(id);
  asked.named.push(rows);
  asked.ids.push(id);
}

/** @type {Reader} */
const readId = (words, asked, known, catalogue) => {
  const [first, second = ""] = words, prefix = first.toLowerCase();
  if (catalogue.prefixes.has(prefix) && /^\d+$/.test(second)) {
    addId(`${prefix}-${second}`, asked, catalogue);
    return 2;
  }
  const isOne = catalogue.exactRow.has(first) || (/\d/.test(first) && catalogue.rowsNamed(first).length > 0 && !parseFormula(first));
  // What looks like an id is one that is not here.
  const looks = /^[A-Za-z]{2,}-\d+$/.test(first) && spaceGroupNumber(first) === undefined;
  if (!isOne && !looks) return 0;
  addId(first, asked, catalogue);
  return 1;
};

/** @type {Reader} */
const readColumn = (words, asked, known) => {
  const found = readCondition(words, known.columns, labelOf(known));
  if (!found || "problem" in found) return found ?? 0;
  asked.conditions.push(found);
  return found.used;
};

/** @type {Reader} */
const readNegation = (words, asked, known) => {
  const glued = /^[-!](?=[A-Za-z])/.test(words[0]), spoken = NEGATIONS.has(words[0]);
  if (!glued && !spoken) return 0;
  const what = glued ? words[0].slice(1) : words[1] ?? "", used = glued ? 1 : 2, elements = elementsIn(what);
  if (elements.length) {
    asked.unwanted.push(...elements);
    // "without F and Cl" excludes both.
    const more = spoken && /^(and|or)$/.test(words[2] ?? "") ? elementsIn(words[3] ?? "") : [];
    asked.unwanted.push(...more);
    return used + (more.length ? 2 : 0);
  }
  const kind = kindNamed(what, known);
  if (!kind) return { problem: `After "${glued ? words[0][0] : words[0]}", "${what}" was not understood. Exclude elements, as not F or -F.` };
  asked.conditions.push({ ...kind, test: (value) => value !== 65535 && !kind.test(value), words: `not ${kind.words}` });
  return used;
};

/** @type {Reader} */
const readWords = (words, asked, known, catalogue) => {
  if (words[0] === "or" || words[0] === "|") return { problem: "Conditions are combined with and; search for one alternative, then for the other, as Li-Co-O gap 1..2." };
  if (FILLERS.has(words[0]) && words.length > 1) return 1;
  const size = SIZES.get(words[0].toLowerCase().replace(/y$|ies$/, "y").replace(/s$/, ""));
  if (size) {
    asked.tests.push({ test: catalogue.byElements((elements) => elements.size === size), words: `${size} element${size > 1 ? "s" : ""}` });
    return 1;
  }
  const kind = kindNamed(words[0], known);
  if (!kind) return 0;
  asked.conditions.push(kind);
  return 1;
};

/** @type {Reader} */
const readFormulaParts = (words, asked, known, catalogue) => {
  // Elements with their numbers, as "Co O2 Li", are the parts of one formula; elements alone are no formula.
  let n = 0;
  while (n < words.length && (n ? /^(\(.+|[A-Z][a-z]?[\d.]*)$/ : /^[A-Z]/).test(words[n]) && parseFormula(words[n])) n++;
  if (n > 1 && parseFormula(words[0])?.size !== 1) n = words[1].startsWith("(") ? n : 1;
  const text = words.slice(0, n).join(" ");
  if (!/[\d(]/.test(text) && (n !== 1 || elementsIn(text).length)) return 0;
  const found = parseFormula(text);
  return found ? addFormula([found], text, n, asked, catalogue) : 0;
};

/** @type {Reader} */
const readElements = ([word], asked) => {
  const elements = elementsIn(word);
  asked.needed.push(...elements);
  return elements.length ? 1 : 0;
};

/** @type {Reader} */
const readSystem = ([word], asked, known, catalogue) => {
  const parts = word.split("-").map((part) => (/^[a-z]{1,2}$/.test(part) ? part[0].toUpperCase() + part.slice(1) : part));
  if (parts.length < 2 || !parts.every((part) => part === "*" || known.symbols.includes(part))) return 0;
  const wanted = new Set(parts.filter((part) => part !== "*")), size = wanted.size + parts.filter((part) => part === "*").length;
  const test = catalogue.byElements((elements) => elements.size === size && [...wanted].every((symbol) => elements.has(symbol)));
  asked.tests.push({ test, words: `the system ${parts.join("-")}` });
  return 1;
};

/** @type {Reader} */
const readPrototype = ([word], asked, known, catalogue) => {
  const wanted = prototypeProportions(word);
  if (!wanted) return 0;
  const { proportions } = catalogue;
  asked.tests.push({ test: (row) => proportions[row] === wanted, words: `formulas of the form ${word}` });
  return 1;
};

/** @type {Reader} */
const readSpaceGroup = ([word], asked, known) => {
  const number = spaceGroupNumber(word);
  // P2 is phosphorus and p2 most likely so; "sg P2" is the space group.
  if (number === undefined || !/^[a-z]/i.test(word) || parseFormula(word[0].toUpperCase() + word.slice(1))) return 0;
  const column = known.columns.find(({ name }) => name === "space_group");
  if (!column) return { problem: `"${word}" is a space group, and the space groups are not known here. ${HELP}` };
  asked.conditions.push({ used: 1, column, test: (value) => value === number, words: `space group ${spaceGroupSymbol(number)} (${number})` });
  return 1;
};

/** @type {Reader} */
const readAnyFormula = ([word], asked, known, catalogue) => {
  const readings = readFormula(word);
  return readings.length ? addFormula(readings, word, 1, asked, catalogue) : 0;
};

/** @type {Reader[]} the first that understands something is followed */
export const READERS = [readId, readColumn, readNegation, readWords, readFormulaParts, readElements, readSystem, readPrototype, readSpaceGroup, readAnyFormula];

/** @param {Known} known */
const labelOf = (known) => known.label ?? ((/** @type {string} */ name) => name.replaceAll("_", " "));

/**
 * The category that a word names, of whichever column.
 * @param {string} word
 * @param {Known} known
 * @returns {Condition | null}
 */
function kindNamed(word, known) {
  if (word.length < 3 || /^(yes|true|false)$/i.test(word)) return null;
  for (const column of known.columns) {
    const code = column.categories ? categoryNamed(word, column.categories) : -1;
    if (code >= 0) return categoryCondition(column, code, 1, labelOf(known));
  }
  return null;
}

/**
 * @param {Composition[]} readings
 * @param {string} text
 * @param {number} used
 * @param {Asked} asked
 * @param {Catalogue} catalogue
 * @returns {number | Problem}
 */
function addFormula(readings, text, used, asked, catalogue) {
  const { formulas } = catalogue;
  const found = readings.map((reading) => rowsOf(reading, catalogue)).filter((rows) => rows.length);
  if (found.length > 1) {
    return { problem: `"${text}" may mean ${found.map(([row]) => formulas[row]).join(" or ")}. Write the symbols of the elements with their capital letters.` };
  }
  const rows = new Set(found[0] ?? []);
  asked.tests.push({ test: (row) => rows.has(row), words: `formula ${text}` });
  return used;
}


/**
 * @param {Composition} wanted
 * @param {Catalogue} catalogue
 */
function rowsOf(wanted, catalogue) {
  const { formulas, systemOf } = catalogue, rows = [], place = catalogue.placeOf.get([...wanted.keys()].sort().join("-"));
  for (let row = 0; row < formulas.length; row++) {
    const composition = systemOf[row] === place ? parseFormula(formulas[row]) : null;
    if (composition && sameCompound(composition, wanted)) rows.push(row);
  }
  return rows;
}
