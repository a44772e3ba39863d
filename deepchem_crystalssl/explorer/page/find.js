// Search: an id, a formula in any order of elements, a chemical system, or elements.

import { ids, formulas, rowOf } from "#data";
import { SYMBOLS } from "#elements";

const KNOWN = new Set(SYMBOLS);

function composition(formula) {
  const part = /([A-Z][a-z]?)(\d*\.?\d*)/g, number = (count) => (count === "" ? 1 : +count);
  // What stands in the innermost brackets is written out, until there are none.
  for (let inner; (inner = formula.match(/\(([^()]*)\)(\d*\.?\d*)/)); ) {
    const written = inner[1].replace(part, (_, symbol, count) => symbol + number(count) * number(inner[2]));
    formula = formula.replace(inner[0], () => written);
  }
  const amounts = new Map();
  for (const [, symbol, count] of formula.matchAll(part)) amounts.set(symbol, (amounts.get(symbol) ?? 0) + number(count));
  return amounts;
}

function normal(formula) {
  const amounts = [...composition(formula)].sort(([a], [b]) => (a < b ? -1 : 1));
  const total = amounts.reduce((sum, [, amount]) => sum + amount, 0);
  return amounts.map(([symbol, amount]) => `${symbol}${(amount / total).toFixed(4)}`).join(" ");
}

let elementSets;
export const elementsOf = (row) => (elementSets ??= formulas.map((f) => new Set(f.match(/[A-Z][a-z]?/g))))[row];

export function find(text) {
  const query = text.trim();
  if (rowOf.has(query)) return { rows: [rowOf.get(query)], as: `id ${query}` };
  const symbols = query.split(/[\s,\-–]+/).filter(Boolean);
  const all = (test) => ids.flatMap((_, row) => (test(row) ? [row] : []));
  if (symbols.length && symbols.every((s) => KNOWN.has(s))) {
    const holds = (row) => symbols.every((s) => elementsOf(row).has(s));
    return /[-–]/.test(query)
      ? { rows: all((row) => elementsOf(row).size === symbols.length && holds(row)), as: `the system ${symbols.join("-")}` }
      : { rows: all(holds), as: `crystals with ${symbols.join(" and ")}` };
  }
  if (/^[A-Za-z0-9().]+$/.test(query) && [...composition(query).keys()].every((s) => KNOWN.has(s)) && composition(query).size) {
    const wanted = normal(query), size = composition(query).size;
    return { rows: all((row) => elementsOf(row).size === size && normal(formulas[row]) === wanted), as: `formula ${query}` };
  }
  return { rows: [], as: /\d/.test(query) && /^[\w-]+$/.test(query) ? `id ${query}` : "" };
}
