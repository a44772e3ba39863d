// A powder pattern.

import { svg } from "#elements";

// Lines as sticks, or curves; angles in degrees, the highest is 1.
export function drawPattern({ lines, curves = [] }) {
  const angles = lines ? [5, 90] : [curves[0].two_theta[0], curves[0].two_theta.at(-1)];
  const left = 8, right = 372, top = 8, bottom = 122;
  const at = (angle) => left + ((angle - angles[0]) / (angles[1] - angles[0])) * (right - left);
  const up = (height) => bottom - height * (bottom - top);
  const figure = svg("svg", { class: "pattern", viewBox: "0 0 380 150", role: "img", "aria-label": "powder pattern" });
  figure.append(svg("line", { x1: left, x2: right, y1: bottom, y2: bottom, stroke: "#9aa7b4" }));
  for (let tick = Math.ceil(angles[0] / 10) * 10; tick <= angles[1]; tick += 10) {
    figure.append(svg("line", { x1: at(tick), x2: at(tick), y1: bottom, y2: bottom + 4, stroke: "#9aa7b4" }),
      svg("text", { x: at(tick), y: bottom + 15, "text-anchor": "middle", "font-size": 10, fill: "#5b6b7b" }, String(tick)));
  }
  lines?.two_theta.forEach((angle, i) => figure.append(
    svg("line", { x1: at(angle), x2: at(angle), y1: bottom, y2: up(lines.intensity[i]), stroke: "#0b66c3", "stroke-width": 1.3 })));
  for (const { two_theta: at2, values, color, width } of curves) {
    const path = at2.map((angle, i) => `${i ? "L" : "M"}${at(angle).toFixed(1)} ${up(values[i]).toFixed(1)}`).join("");
    figure.append(svg("path", { d: path, fill: "none", stroke: color, "stroke-width": width }));
  }
  figure.append(svg("text", { x: right, y: 148, "text-anchor": "end", "font-size": 10, fill: "#5b6b7b" }, "2θ / degrees"));
  return figure;
}
