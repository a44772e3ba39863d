// What an answer says beside its figure: sentences, phases, candidates, hypotheses.

import { make } from "#elements";
import { cellWords, chance, percent } from "#powder_numbers";
import { formulaElement, tableOf } from "#tables";

/**
 * @typedef {import("#powder_patterns").Answer} Answer
 * @typedef {import("#powder_patterns").Named} Named
 * @typedef {import("#powder_patterns").Match} Match
 * @typedef {import("#powder_patterns").Phase} Phase
 */

const minus = (/** @type {string} */ text) => text.replace("-", "−");

/** A Hermann-Mauguin symbol with its number: letters in italics, screw axes as subscripts, inversion axes with a bar. @param {Named} one */
function groupOf(one) {
  const whole = make("span");
  for (const [part, letters, screw, bar] of one.symbol.matchAll(/([A-Za-z]+)|_(\d)|-(\d)|[^A-Za-z]/g)) {
    whole.append(letters ? make("i", "", letters) : screw ? make("sub", "", screw) : bar ? make("span", "powder-bar", bar) : part);
  }
  if (one.space_group !== null) whole.append(` (${one.space_group})`);
  return whole;
}

/** A name of a crystal that leads to its details. @param {Named} one @param {(row: number) => void} onOpen */
function link(one, onOpen) {
  const button = make("button", "powder-link", one.material_id);
  button.title = "Open this crystal on the map";
  button.onclick = (event) => { event.stopPropagation(); onOpen(one.row); };
  button.onkeydown = (event) => event.stopPropagation();
  return button;
}

/** @param {HTMLTableElement} table @param {string} caption */
function wide(table, caption) {
  const box = make("div", "powder-wide"), heading = make("caption", "", caption);
  table.prepend(heading);
  box.append(table);
  return box;
}

/** @param {Phase} one @param {number} color */
function phaseName(one, color) {
  const cell = make("span");
  cell.append(make("i", `powder-swatch powder-color-${color % 4}`), formulaElement(one.formula));
  return cell;
}

/** @param {Answer} answer @param {(row: number) => void} onOpen @returns {HTMLElement} */
export function phasesTable(answer, onOpen) {
  const many = answer.phases.length > 1;
  const table = tableOf([
    { name: "phase", of: (one) => phaseName(one, answer.phases.indexOf(one)) },
    { name: "id", of: (one) => link(one, onOpen) }, { name: "space group", of: groupOf },
    ...(many ? [{ name: "weight", number: true, of: (/** @type {Phase} */ one) => percent(one.weight_fraction, one.weight_fraction_error) }] : []),
    { name: "probability", number: true, of: (one) => one.probability.toFixed(2) },
    { name: "refined cell (change)", of: (one) => cellWords(one.cell) }, { name: "V / Å³", number: true, of: (one) => one.cell.volume.toFixed(2) },
  ], answer.phases, (one) => onOpen(one.row));
  return wide(table, many ? "Phases, with the standard errors of their weights, and refined cells" : "Phase, with its refined cell");
}

/**
 * @param {Answer} answer
 * @param {(rank: number) => void} onRank @param {(row: number) => void} onOpen
 * @returns {HTMLElement}
 */
export function candidatesTable(answer, onRank, onOpen) {
  const group = new Set(answer.group.map((one) => one.material_id)), alone = answer.phases.length === 1;
  const rank = (/** @type {Match} */ one) => { const cell = make("span", "", String(one.rank)); cell.dataset.rank = String(one.rank); return cell; };
  const table = tableOf([
    { name: "rank", number: true, of: rank }, { name: "formula", of: (one) => formulaElement(one.formula) },
    { name: "id", of: (one) => link(one, onOpen) }, { name: "space group", of: groupOf },
    // Beside other phases a candidate is not the whole sample, and the probability that it is says little.
    ...(alone ? [{ name: "probability", number: true, of: (/** @type {Match} */ one) => one.probability.toFixed(2) }, { name: "confidence", of: (/** @type {Match} */ one) => one.confidence }] : []),
    { name: "score", number: true, of: (one) => one.score.toFixed(3) },
    { name: "change of cell", number: true, of: (one) => minus(`${one.cell_scale < 1 ? "" : "+"}${(100 * (one.cell_scale - 1)).toFixed(2)} %`) },
    { name: "Rwp above background", number: true, of: (one) => `${(100 * one.r_wp).toFixed(1)} %` },
    ...(group.size > 1 ? [{ name: "told from the first", of: (/** @type {Match} */ one) => (one.rank === 1 ? "" : group.has(one.material_id) ? "no" : "yes") }] : []),
  ], answer.matches, (one) => onRank(one.rank));
  table.classList.add("powder-candidates");
  return wide(table, `Candidates${alone ? "" : " for the strongest phase"}: a click shows the fit of one`);
}

/** Marks the candidate that the figure shows. @param {HTMLElement} tables @param {number | null} shown Its rank. */
export function markCandidate(tables, shown) {
  for (const cell of tables.querySelectorAll("[data-rank]")) {
    if (cell.getAttribute("data-rank") === String(shown)) cell.closest("tr")?.setAttribute("aria-current", "true");
    else cell.closest("tr")?.removeAttribute("aria-current");
  }
}

/** @param {Answer} answer @returns {HTMLElement | null} */
export function hypothesesTable(answer) {
  if (answer.hypotheses.length < 2) return null;
  const formulas = (/** @type {import("#powder_patterns").Hypothesis} */ one) => {
    const cell = make("span");
    one.formulas.forEach((formula, k) => {
      if (k) cell.append(" + ");
      if (one.formulas.length > 1) cell.append(`${(100 * one.weight_fractions[k]).toFixed(0)} % `);
      cell.append(formulaElement(formula));
    });
    return cell;
  };
  const table = tableOf([{ name: "phases", of: formulas }, { name: "ids", of: (one) => one.material_ids.join(", ") },
    { name: "Rwp above background", number: true, of: (one) => `${(100 * one.r_wp).toFixed(1)} %` }], answer.hypotheses, () => {});
  for (const row of table.tBodies[0].rows) row.removeAttribute("tabindex");
  table.classList.add("powder-still");
  return wide(table, "Other ways to describe the pattern; the first is the one that is shown");
}

/** @param {Answer} answer @returns {HTMLElement[]} What is to be known of the answer, in sentences. */
export function sentences(answer) {
  const said = [make("p", "powder-verdict", answer.verdict)], group = answer.group.slice(1);
  const best = answer.phases.length > 1 ? null : answer.matches[0];
  const sure = best ?? answer.phases[0];
  said.unshift(make("p", `powder-chance powder-${sure.confidence}`, `${best ? "" : `${sure.formula}: `}${chance(sure.confidence, sure.probability)}`));
  if (group.length && !best) { // the verdict on a single phase says it
    const names = answer.group.slice(0, 5).map((one) => `${one.formula} (${one.material_id})`).join(", ");
    const more = answer.group.length > 5 ? ` and ${answer.group.length - 5} more` : "";
    said.push(make("p", "", `Intensities cannot tell these apart as the strongest phase: ${names}${more}.${answer.deciding.length
      ? ` It would be decided by knowing that the sample contains ${answer.deciding.join(" and ")}.` : ""}`));
  }
  return said;
}

/**
 * @param {Answer} answer @param {boolean} rest Whether it is of what other phases leave, which is no measurement to compare with.
 * @returns {string} How well the phases describe the pattern.
 */
export function quality(answer, rest) {
  const { r_wp, r_wp_above_background, r_exp, goodness_of_fit } = answer.agreement, percents = (/** @type {number} */ v) => `${(100 * v).toFixed(1)} %`;
  const words = rest ? [] : [`Rwp ${percents(r_wp)}`, `above background ${percents(r_wp_above_background)}`];
  if (r_exp !== null && goodness_of_fit !== null && !rest) words.push(`Rexp ${percents(r_exp)}`, `goodness of fit ${goodness_of_fit.toFixed(2)}`);
  words.push(`${(100 * answer.unexplained).toFixed(0)} % of the peaks unexplained`);
  return words.join(" · ");
}
