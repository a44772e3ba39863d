// Space groups: their numbers, their symbols, and how these are printed.

import { make } from "#elements";
import { OTHER_SETTINGS, STANDARD_SYMBOLS } from "#space_group_symbols";

/**
 * The standard short symbol of a space group, as "Fm-3m" or "P2_1/c"; empty if there is no such number.
 * @param {number} number  1 to 230
 * @returns {string}
 */
export const spaceGroupSymbol = (number) => STANDARD_SYMBOLS[number - 1] ?? "";

/** @param {string} symbol */
const plain = (symbol) => symbol.normalize("NFKC").replace(/[‐-―−]/g, "-").replace(/[\s_]/g, "").toLowerCase();

/** @type {Map<string, number>} */
const numberOf = new Map();
STANDARD_SYMBOLS.forEach((symbol, i) => numberOf.set(plain(symbol), i + 1));
for (const line of OTHER_SETTINGS) {
  const [number, ...symbols] = line.split(" ");
  for (const symbol of symbols) if (!numberOf.has(plain(symbol))) numberOf.set(plain(symbol), +number);
}
// The full symbols of monoclinic groups, as P12_1/c1, name the other two axes too.
STANDARD_SYMBOLS.slice(2, 15).forEach((symbol, i) => numberOf.set(plain(`${symbol[0]}1${symbol.slice(1)}1`), i + 3));
// Symbols are often written without the hyphen, as Fm3m; it stays where another group has that symbol, as P-1.
STANDARD_SYMBOLS.forEach((symbol, i) => {
  const short = plain(symbol).replaceAll("-", "");
  if (!numberOf.has(short)) numberOf.set(short, i + 1);
});

/**
 * The number of a space group by its symbol, whatever its case, spaces and underscores; undefined if it is none.
 * Symbols of other monoclinic and orthorhombic settings, as P2_1/n and Pbnm, are known too.
 * @param {string} symbol
 * @returns {number | undefined}
 */
export const spaceGroupNumber = (symbol) => numberOf.get(plain(symbol));

/**
 * A symbol as it is printed: letters in italics, screw axes as subscripts, inversion axes with a line above.
 * @param {string} symbol
 * @param {keyof HTMLElementTagNameMap} [tag]
 * @returns {HTMLElement}
 */
export function spaceGroupElement(symbol, tag = "span") {
  const whole = make(tag, "space-group");
  for (const [part, letters, barred, screw] of symbol.matchAll(/([A-Za-z]+)|-(\d)|_(\d)|[^A-Za-z]/g)) {
    if (letters) whole.append(make("i", "", letters));
    else if (screw) whole.append(make("sub", "", screw));
    else if (barred) {
      const number = make("span", "overline", barred);
      number.style.textDecoration = "overline";
      whole.append(number);
    } else whole.append(part);
  }
  whole.setAttribute("aria-label", symbol);
  return whole;
}
