// What the search knows of the crystals before it is asked: their names and their elements, looked up once.

import { parseFormula, proportions } from "#compositions";

/**
 * A column of the data; values of categories are places in their list.
 * @typedef {object} SearchColumn
 * @property {string} name
 * @property {string[] | null} categories
 * @property {() => ArrayLike<number> | Promise<ArrayLike<number>>} values
 */

/**
 * What can be searched.
 * @typedef {object} Known
 * @property {string[]} ids
 * @property {string[]} formulas
 * @property {SearchColumn[]} columns
 * @property {string[]} symbols  of the elements
 * @property {(name: string) => string} [label]  a column in words
 */

/** @typedef {(row: number) => boolean} Test */

/** @type {WeakMap<string[], Catalogue>} */
const made = new WeakMap();

/**
 * The catalogue of what is known, made at the first search.
 * @param {Known} known
 */
export function catalogueOf(known) {
  let found = made.get(known.formulas);
  if (!found) made.set(known.formulas, (found = new Catalogue(known.ids, known.formulas, new Set(known.symbols))));
  return found;
}

/**
 * An id without what is written in different ways: case, hyphens, spaces, underscores.
 * @param {string} id
 */
export const plainId = (id) => id.normalize("NFKC").toLowerCase().replace(/[\s_\-‐-―−]/g, "");

export class Catalogue {
  /**
   * @param {string[]} ids
   * @param {string[]} formulas
   * @param {Set<string>} symbols
   */
  constructor(ids, formulas, symbols) {
    this.formulas = formulas;
    /** @type {Map<string, number>} */
    this.exactRow = new Map(ids.map((id, row) => [id, row]));
    /** @type {Map<string, number[]>} */
    this.plainRows = new Map();
    /** @type {Set<string>} letters before the number of an id, as "mp" */
    this.prefixes = new Set();
    ids.forEach((id, row) => {
      const key = plainId(id), prefix = /^([a-z]+)\d+$/.exec(key), rows = this.plainRows.get(key);
      if (rows) rows.push(row);
      else this.plainRows.set(key, [row]);
      if (prefix) this.prefixes.add(prefix[1]);
    });
    /** @type {Map<string, number>} places of the systems by their names, as "Co-Li-O" */
    this.placeOf = new Map();
    /** @type {Set<string>[]} the different chemical systems; the first is that of what has no formula */
    this.systems = [new Set()];
    this.systemOf = Uint32Array.from(formulas, this.#coder(symbols));
  }

  /**
   * Gives each formula the place of its chemical system.
   * @param {Set<string>} symbols
   */
  #coder(symbols) {
    return (/** @type {string} */ formula) => {
      const found = [...new Set(formula.match(/[A-Z][a-z]?/g))].sort();
      if (!found.every((symbol) => symbols.has(symbol))) return 0;
      const name = found.join("-");
      let place = name ? this.placeOf.get(name) : 0;
      if (place === undefined) this.placeOf.set(name, (place = this.systems.push(new Set(found)) - 1));
      return place;
    };
  }

  /**
   * Rows of an id, exactly so or else written in another way.
   * @param {string} id
   * @returns {number[]}
   */
  rowsNamed(id) {
    const exact = this.exactRow.get(id);
    return exact === undefined ? this.plainRows.get(plainId(id)) ?? [] : [exact];
  }

  /**
   * The test of a crystal by the test of its elements.
   * @param {(elements: Set<string>) => boolean} wanted
   * @returns {Test}
   */
  byElements(wanted) {
    const passes = this.systems.map((elements) => elements.size > 0 && wanted(elements));
    return (row) => passes[this.systemOf[row]];
  }

  /**
   * The numbers of atoms, smallest first, divided by the smallest; made at the first use.
   * @returns {string[]}
   */
  get proportions() {
    /** @type {Map<string, string>} */
    const seen = new Map();
    const value = this.formulas.map((formula) => {
      const elements = formula.match(/[A-Z][a-z]?/g) ?? [];
      // Many formulas differ in their elements only.
      const kind = new Set(elements).size === elements.length ? formula.replace(/[A-Z][a-z]?/g, "X") : formula;
      let found = seen.get(kind);
      if (found === undefined) {
        const composition = parseFormula(formula);
        seen.set(kind, (found = composition ? proportions(composition) : ""));
      }
      return found;
    });
    Object.defineProperty(this, "proportions", { value });
    return value;
  }
}
