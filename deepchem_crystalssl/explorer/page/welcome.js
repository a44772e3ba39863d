// What a first visitor reads: what nearness means, and questions to begin with.

import { columns, formulas, ids, meta, rowOf } from "#data";
import { $, make } from "#elements";
import { update } from "#state";

const WELL_KNOWN = ["LiCoO2", "SrTiO3", "GaAs", "NaCl", "TiO2", "Fe2O3", "SiO2", "NaCl1"];

/** @returns {{ words: string, ask: () => void }[]} */
function questions() {
  const row = WELL_KNOWN.map((name) => formulas.indexOf(name)).find((at) => at >= 0) ?? 0, asked = [];
  asked.push({ words: `What is like ${formulas[row] || ids[row]}?`, ask: () => update({ crystal: ids[row] }) });
  const gap = [...columns.values()].find((column) => /(^|_)gap/.test(column.name) && !column.categories);
  if (gap) asked.push({ words: "Which oxides have a band gap of 1 to 2 eV?", ask: () => update({ must: ["O"], ranges: { [gap.name]: [1, 2] } }) });
  else asked.push({ words: "Where are the compounds of lithium and oxygen?", ask: () => update({ must: ["Li", "O"] }) });
  if (meta.uploadBytes) asked.push({ words: "Which crystals are in my powder?", ask: () => update({ mode: "powder" }) });
  else asked.push({ words: "Which crystals hold no metal but silicon?", ask: () => update({ search: "Si", may: ["O", "C", "N", "H"] }) });
  return asked.filter(() => rowOf.size);
}

export function welcome() {
  const list = make("ul", "questions");
  for (const { words, ask } of questions()) {
    const item = make("li"), button = make("button", "", words);
    button.onclick = ask;
    item.append(button);
    list.append(item);
  }
  $("panel").replaceChildren(make("h2", "", "Where to begin"),
    make("p", "", "Each point is a crystal. Two crystals are near each other if a model that has learned from structures and powder "
      + "patterns gives them similar vectors: usually they share their structure type, or elements that play the same part."),
    list,
    make("p", "", "Click a point for its structure, pattern and neighbours. Search by id, formula, elements, space group or a property, "
      + "draw a lasso, or open the filters: all of them hold together."));
}
