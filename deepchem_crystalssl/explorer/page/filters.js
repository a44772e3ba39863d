// Which crystals pass: each filter says so by itself, and all must agree.

/**
 * @typedef {import("#state").State} State
 *
 * @typedef {object} Known  What filters look at.
 * @property {number} n
 * @property {(row: number) => Set<string>} elementsOf
 * @property {(name: string) => Promise<ArrayLike<number>>} columnValues
 * @property {(name: string) => { categories: string[] | null } | undefined} column
 * @property {(x: string, y: string) => Promise<[ArrayLike<number>, ArrayLike<number>]>} coordinates
 * @property {(text: string) => Promise<{ rows: number[], words: string, problem?: string }>} find
 *
 * @typedef {object} Filter  One that is in force.
 * @property {string} words  What it keeps, for people.
 * @property {Partial<State>} without  The change of the state that ends it.
 * @property {string} key  Equal for equal filters.
 * @property {(known: Known) => Promise<(row: number) => boolean>} test
 */

/** @param {[number, number][]} corners @param {number} px @param {number} py */
export function isInside(corners, px, py) {
  let inside = false;
  for (let i = 0, j = corners.length - 1; i < corners.length; j = i++) {
    const [ax, ay] = corners[i], [bx, by] = corners[j];
    if (ay > py !== by > py && px < ((bx - ax) * (py - ay)) / (by - ay) + ax) inside = !inside;
  }
  return inside;
}

/** A record without one of its names. @template T @param {Record<string, T>} record @param {string} name @returns {Record<string, T>} */
export const without = (record, name) => Object.fromEntries(Object.entries(record).filter(([key]) => key !== name));

/**
 * The filters that a state holds.
 *
 * @param {State} state
 * @param {(name: string) => string} label
 * @returns {Filter[]}
 */
export function filtersOf(state, label) {
  /** @type {Filter[]} */
  const filters = [];
  /** @param {string} words @param {Partial<State>} rest @param {unknown} key @param {Filter["test"]} test */
  const add = (words, rest, key, test) => filters.push({ words, without: rest, key: JSON.stringify([words, key]), test });
  if (state.search) add(`“${state.search}”`, { search: "" }, "search", async (known) => {
    const rows = new Set((await known.find(state.search)).rows);
    return (row) => rows.has(row);
  });
  const { must, may, not } = state;
  if (must.length) add(`with ${must.join(", ")}`, { must: [] }, must, async (known) => (row) => must.every((s) => known.elementsOf(row).has(s)));
  if (may.length) add(`of ${[...must, ...may].join(", ")} only`, { may: [] }, may, async (known) => {
    const allowed = new Set([...must, ...may]);
    return (row) => [...known.elementsOf(row)].every((s) => allowed.has(s));
  });
  if (not.length) add(`without ${not.join(", ")}`, { not: [] }, not, async (known) => (row) => !not.some((s) => known.elementsOf(row).has(s)));
  for (const [name, kinds] of Object.entries(state.kinds)) {
    add(`${label(name)}: ${kinds.join(" or ")}`, { kinds: without(state.kinds, name) }, kinds, async (known) => {
      const categories = known.column(name)?.categories;
      if (!categories) return () => false;
      const codes = new Set(kinds.map((kind) => categories.indexOf(kind))), values = await known.columnValues(name);
      return (row) => codes.has(values[row]);
    });
  }
  for (const [name, [low, high]] of Object.entries(state.ranges)) {
    const words = low === -Infinity ? `at most ${high}` : high === Infinity ? `at least ${low}` : `${low} to ${high}`;
    add(`${label(name)} ${words}`, { ranges: without(state.ranges, name) }, [low, high], async (known) => {
      if (!known.column(name)) return () => false;
      const values = await known.columnValues(name);
      return (row) => values[row] >= low && values[row] <= high;
    });
  }
  const lasso = state.lasso;
  if (lasso) add("inside the lasso", { lasso: null }, lasso, async (known) => {
    const [x, y] = await known.coordinates(lasso.x, lasso.y);
    return (row) => isInside(lasso.corners, x[row], y[row]);
  });
  return filters;
}

/** @type {Map<string, Uint8Array>} */
const passed = new Map();

/**
 * Which crystals pass all filters.
 *
 * @param {Filter[]} filters
 * @param {Known} known
 * @returns {Promise<Uint8Array>} 1 for each that passes.
 */
export async function passing(filters, known) {
  const all = new Uint8Array(known.n).fill(1);
  for (const filter of filters) {
    let one = passed.get(filter.key);
    if (!one) {
      const test = await filter.test(known);
      one = Uint8Array.from({ length: known.n }, (_, row) => (test(row) ? 1 : 0));
      passed.set(filter.key, one);
      if (passed.size > 24) passed.delete(/** @type {string} */ (passed.keys().next().value));
    }
    for (let row = 0; row < known.n; row++) all[row] &= one[row];
  }
  return all;
}
