// A periodic table: each click on an element goes from "must" to "may" to "must not".

import { make, SYMBOLS } from "#elements";

/** @typedef {{ must: string[], may: string[], not: string[] }} Choice */

/** The place of an element in the long table whose f-block stands below. @param {number} z @returns {[number, number]} row, column from 1 */
export function placeOf(z) {
  if (z === 1) return [1, 1];
  if (z === 2) return [1, 18];
  const starts = [3, 11, 19, 37, 55, 87, 119], period = starts.findIndex((first) => z < first) + 1;
  const at = z - starts[period - 2];
  if (period <= 3) return [period, at < 2 ? at + 1 : at + 11];
  if (period <= 5) return [period, at + 1];
  if (at >= 2 && at <= 15) return [period + 3, at + 2]; // lanthanides and actinides
  return [period, at < 2 ? at + 1 : at - 13];
}

/** @param {Choice} choice @param {string} symbol @returns {Choice} */
export function nextChoice(choice, symbol) {
  const drop = (/** @type {string[]} */ list) => list.filter((one) => one !== symbol);
  const { must, may, not } = choice, rest = { must: drop(must), may: drop(may), not: drop(not) };
  if (must.includes(symbol)) return { ...rest, may: [...rest.may, symbol] };
  if (may.includes(symbol)) return { ...rest, not: [...rest.not, symbol] };
  if (not.includes(symbol)) return rest;
  return { ...rest, must: [...rest.must, symbol] };
}

const WORDS = { must: "must be contained", may: "may be contained", not: "must not be contained" };

/**
 * @param {Iterable<string>} offered  Symbols that can be chosen.
 * @param {(choice: Choice) => void} onChoice
 * @returns {{ element: HTMLElement, show: (choice: Choice) => void }}
 */
export function periodicTable(offered, onChoice) {
  const element = make("div", "periodic"), known = new Set(offered);
  /** @type {Choice} */
  let choice = { must: [], may: [], not: [] };
  const buttons = SYMBOLS.map((symbol, i) => {
    const button = make("button", "", symbol), [row, column] = placeOf(i + 1);
    button.type = "button";
    button.style.gridArea = `${row} / ${column}`;
    button.disabled = !known.has(symbol);
    button.onclick = () => onChoice(nextChoice(choice, symbol));
    element.append(button);
    return button;
  });
  /** @param {Choice} next */
  function show({ must, may, not }) {
    choice = { must, may, not };
    SYMBOLS.forEach((symbol, i) => {
      const kind = must.includes(symbol) ? "must" : may.includes(symbol) ? "may" : not.includes(symbol) ? "not" : "";
      buttons[i].className = kind;
      buttons[i].setAttribute("aria-label", kind ? `${symbol}: ${WORDS[kind]}` : symbol);
    });
  }
  show(choice);
  return { element, show };
}
