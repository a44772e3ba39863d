// Curves of a powder pattern, as long as the answer to a dropped pattern is drawn by them.

import { svg } from "#elements";

/**
 * Curves over angles in degrees; the highest value is 1.
 * @param {{ two_theta: number[], values: number[], color: string, width: number }[]} curves
 */
export function drawCurves(curves) {
  const angles = [curves[0].two_theta[0], curves[0].two_theta[curves[0].two_theta.length - 1]];
  const left = 8, right = 372, top = 8, bottom = 122;
  const at = (/** @type {number} */ angle) => left + ((angle - angles[0]) / (angles[1] - angles[0])) * (right - left);
  const figure = svg("svg", { class: "pattern", viewBox: "0 0 380 150", role: "img", "aria-label": "powder pattern" });
  figure.append(svg("line", { class: "axis", x1: left, x2: right, y1: bottom, y2: bottom }));
  for (let tick = Math.ceil(angles[0] / 10) * 10; tick <= angles[1]; tick += 10) {
    figure.append(svg("line", { class: "axis", x1: at(tick), x2: at(tick), y1: bottom, y2: bottom + 4 }),
      svg("text", { x: at(tick), y: bottom + 15, "text-anchor": "middle" }, String(tick)));
  }
  for (const { two_theta, values, color, width } of curves) {
    const path = two_theta.map((angle, i) => `${i ? "L" : "M"}${at(angle).toFixed(1)} ${(bottom - values[i] * (bottom - top)).toFixed(1)}`).join("");
    figure.append(svg("path", { d: path, fill: "none", stroke: color, "stroke-width": width }));
  }
  figure.append(svg("text", { x: right, y: 148, "text-anchor": "end" }, "2θ / degrees"));
  return figure;
}
