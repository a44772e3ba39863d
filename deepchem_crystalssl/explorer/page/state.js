// One state of the whole page: what is shown, open and filtered. It lives in the address, with history.

/**
 * @typedef {object} Lasso
 * @property {string} x  The axes it was drawn in; "" for those of the map.
 * @property {string} y
 * @property {[number, number][]} corners  In the coordinates of these axes.
 *
 * @typedef {object} State
 * @property {"map"|"powder"} mode
 * @property {string} crystal  The id of the open crystal, or "".
 * @property {string} color  The column that colours the points; "" for the first.
 * @property {string} x  The column along the horizontal axis, "" for the map.
 * @property {string} y
 * @property {string} search  What was typed.
 * @property {Record<string, string[]>} kinds  For each column the categories that are kept.
 * @property {Record<string, [number, number]>} ranges  For each column the numbers that are kept.
 * @property {string[]} must  Elements that a crystal contains.
 * @property {string[]} may  If there are any, a crystal contains no others than these and the ones above.
 * @property {string[]} not  Elements that it does not contain.
 * @property {Lasso|null} lasso
 * @property {[number, number, number]|null} view  Zoom, and the coordinates of the middle of the map; null for all of it.
 */

/** @type {Readonly<State>} */
export const INITIAL = {
  mode: "map", crystal: "", color: "", x: "", y: "", search: "", kinds: {}, ranges: {}, must: [], may: [], not: [],
  lasso: null, view: null,
};

const WORDS = /** @type {const} */ (["crystal", "color", "x", "y", "search"]);
const ELEMENTS = /** @type {const} */ (["must", "may", "not"]);

/** @param {State} state @returns {string} The fragment of an address, without its "#". */
export function encode(state) {
  const parts = new URLSearchParams();
  if (state.mode !== "map") parts.set("mode", state.mode);
  for (const name of WORDS) if (state[name]) parts.set(name, state[name]);
  for (const name of ELEMENTS) if (state[name].length) parts.set(name, state[name].join(" "));
  for (const [name, kinds] of Object.entries(state.kinds)) for (const kind of kinds) parts.append(`is:${name}`, kind);
  for (const [name, [low, high]] of Object.entries(state.ranges)) parts.set(`range:${name}`, `${low}..${high}`);
  if (state.view) parts.set("view", state.view.map((v) => +v.toPrecision(5)).join(" "));
  if (state.lasso) {
    const { x, y, corners } = state.lasso;
    parts.set("lasso", corners.flat().map((v) => +v.toFixed(4)).join(" "));
    if (x || y) parts.set("drawn", JSON.stringify([x, y]));
  }
  return parts.toString();
}

/**
 * The state that a fragment describes; what it says wrongly is left out.
 *
 * @param {string} fragment  Without "#". One that holds no "=" is the id of a crystal.
 * @returns {State}
 */
export function decode(fragment) {
  /** @type {State} */
  const state = { ...INITIAL, kinds: {}, ranges: {} };
  if (fragment && !fragment.includes("=")) {
    try { return { ...state, crystal: decodeURIComponent(fragment) }; } catch { return state; } // a lone % names nothing
  }
  const parts = new URLSearchParams(fragment);
  if (parts.get("mode") === "powder") state.mode = "powder";
  for (const name of WORDS) state[name] = parts.get(name) ?? "";
  for (const name of ELEMENTS) state[name] = (parts.get(name) ?? "").split(" ").filter((s) => /^[A-Z][a-z]?$/.test(s));
  for (const [key, text] of parts) {
    const [, kind, name] = key.match(/^(is|range):(.+)$/s) ?? [];
    if (kind === "is") (state.kinds[name] ??= []).push(text);
    if (kind === "range") {
      const [low, high] = text.split("..").map(Number);
      if (low <= high) state.ranges[name] = [low, high];
    }
  }
  const numbersOf = (/** @type {string} */ key) => (parts.get(key) ?? "").split(" ").filter(Boolean).map(Number);
  const view = numbersOf("view");
  if (view.length === 3 && view.every(Number.isFinite) && view[0] > 0) state.view = [view[0], view[1], view[2]];
  const numbers = numbersOf("lasso");
  if (numbers.length >= 6 && numbers.length % 2 === 0 && numbers.every(Number.isFinite)) {
    let [x, y] = ["", ""];
    try { [x, y] = JSON.parse(parts.get("drawn") ?? '["",""]').map(String); } catch { /* drawn on the map */ }
    state.lasso = { x, y, corners: Array.from({ length: numbers.length / 2 }, (_, i) => [numbers[2 * i], numbers[2 * i + 1]]) };
  }
  return state;
}

/** @type {((state: State, changed: Set<keyof State>) => void)[]} */
const followers = [];
let current = decode(globalThis.location?.hash.slice(1) ?? "");

/** @returns {State} */
export const state = () => current;

/** Call a function after every change of the state. @param {(state: State, changed: Set<keyof State>) => void} follow */
export function onChange(follow) { followers.push(follow); }

/** @param {State} next */
function become(next) {
  const keys = /** @type {(keyof State)[]} */ (Object.keys(INITIAL));
  const changed = new Set(keys.filter((key) => JSON.stringify(next[key]) !== JSON.stringify(current[key])));
  current = next;
  if (changed.size) for (const follow of followers) follow(current, changed);
}

/**
 * Change some of the state. Each change is a step in the history of the browser, unless it replaces the last one.
 *
 * @param {Partial<State>} changes
 * @param {{ replace?: boolean }} [options]
 */
export function update(changes, { replace = false } = {}) {
  const next = { ...current, ...changes }, fragment = encode(next);
  if (fragment !== encode(current)) history[replace ? "replaceState" : "pushState"](null, "", `#${fragment}`);
  become(next);
}

globalThis.addEventListener?.("popstate", () => become(decode(location.hash.slice(1))));
