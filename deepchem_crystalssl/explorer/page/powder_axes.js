// The axes and the legend of the figure of a pattern.

import { svg } from "#elements";
import { counts, subscripted } from "#powder_numbers";

/** @typedef {{ left: number, right: number, top: number, bottom: number }} Frame  Of the drawing, in pixels. */

/**
 * @param {D3Axis} axis @param {number} x @param {number} y
 * @returns {SVGGElement} It, at a place.
 */
function placed(axis, x, y) {
  const group = svg("g", { transform: `translate(${x},${y})` });
  d3.select(group).call(axis);
  group.removeAttribute("font-family"); // that of the page is taken
  group.removeAttribute("font-size");
  return group;
}

/**
 * @param {{ angles: D3Scale, heights: D3Scale, apart: D3Scale, top: number }} scales Of angles, of heights and of differences of
 *   heights; the counts whose height is 1.
 * @param {Frame} frame
 * @param {{ label: string, unit: string, roots: boolean }} words
 * @returns {SVGElement[]}
 */
export function axes({ angles, heights, apart, top }, { left, right, bottom }, { label, unit, roots }) {
  const inCounts = (/** @type {D3Scale} */ scale) => scale.copy().domain(scale.domain().map((value) => value * top));
  const [lowest, highest] = heights.range(), name = `${roots ? "√ scale: i" : "I"}ntensity${unit ? ` / ${unit}` : ""}`;
  return [
    placed(d3.axisBottom(angles).ticks(Math.max(2, Math.min(14, (right - left) / 70))).tickSizeOuter(0), 0, bottom),
    placed(d3.axisLeft(inCounts(heights)).ticks(Math.max(2, (lowest - highest) / 50)).tickFormat((value) => counts(Number(value))).tickSizeOuter(0), left, 0),
    placed(d3.axisLeft(inCounts(apart)).ticks(3).tickFormat((value) => counts(Number(value))).tickSizeOuter(0), left, 0),
    svg("text", { class: "powder-name", x: right, y: bottom + 36, "text-anchor": "end" }, `2θ / degrees (${label})`),
    svg("text", { class: "powder-name", transform: `translate(12,${(lowest + highest) / 2}) rotate(-90)`, "text-anchor": "middle" }, name),
  ];
}

/**
 * Fills a group with a legend in one line, which is written smaller if it is too long.
 * @param {SVGGElement} group @param {string[]} formulas Of the phases. @param {Frame} frame
 */
export function fillLegend(group, formulas, { left, right }) {
  group.replaceChildren();
  const named = [["measured", "powder-measured", "M-6 -4h0M0 -4h0M6 -4h0"], ["calculated", "powder-calculated", "M-7 -4h14"],
    ["difference", "powder-difference", "M-7 -4h14"],
    ...formulas.map((formula, k) => [subscripted(formula), `powder-tick powder-color-${k % 4}`, "M0 -10v11"])];
  let x = left + 8;
  for (const [name, kind, d] of named) {
    const entry = svg("g", { transform: `translate(${x},17)` }), words = svg("text", { x: 11 }, name);
    entry.append(svg("path", { class: kind, d }), words);
    group.append(entry);
    x += 31 + words.getComputedTextLength();
  }
  const over = (x - 20) / right;
  if (over > 1) group.setAttribute("transform", `translate(${left * (1 - 1 / over)},0) scale(${1 / over})`);
  else group.removeAttribute("transform");
}
