// Files of what is shown: the figure as SVG and PNG, and what the server writes.

import { svg } from "#elements";

const KEPT = ["fill", "stroke", "stroke-width", "stroke-linecap", "stroke-linejoin", "stroke-opacity", "fill-opacity", "opacity",
  "font-family", "font-size", "font-weight", "visibility"];
const HEAD = 44;

/**
 * @param {SVGSVGElement} figure As it is shown.
 * @param {string[]} lines Of the title, two.
 * @returns {{ text: string, width: number, height: number }} The same as a file: black on white, with a title.
 */
export function figureFile(figure, lines) {
  const { width, height } = figure.viewBox.baseVal;
  const paper = document.createElement("div"), copy = /** @type {SVGSVGElement} */ (figure.cloneNode(true));
  paper.className = "powder-paper"; // its colours are those of print
  paper.style.cssText = `position:absolute;left:-9999px;width:${width}px;height:${height}px`;
  for (const one of copy.querySelectorAll(".powder-pointer, .powder-band, .powder-sheet")) one.remove();
  paper.append(copy);
  figure.parentElement?.append(paper);
  for (const one of copy.querySelectorAll("path, line, text")) {
    const style = getComputedStyle(one);
    for (const name of KEPT) one.setAttribute(name, style.getPropertyValue(name));
  }
  paper.remove();
  for (const one of [copy, ...copy.querySelectorAll("*")]) for (const name of ["class", "tabindex", "role", "aria-label", "aria-describedby"]) one.removeAttribute(name);
  const titles = lines.map((line, k) => svg("text", { x: 14, y: 19 + 18 * k, "font-family": "system-ui, sans-serif", "font-weight": k ? 400 : 600,
    "font-size": Math.min(14, (width - 28) / (0.6 * line.length)), fill: "#000" }, line)); // long ones are written small
  const moved = svg("g", { transform: `translate(0,${HEAD})` });
  moved.append(...copy.childNodes);
  copy.append(svg("title", {}, lines.join(": ")), svg("rect", { width, height: height + HEAD, fill: "#fff" }), ...titles, moved);
  copy.setAttribute("viewBox", `0 0 ${width} ${height + HEAD}`);
  copy.setAttribute("width", String(width));
  copy.setAttribute("height", String(height + HEAD));
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  return { text: new XMLSerializer().serializeToString(copy), width, height: height + HEAD };
}

/**
 * @param {{ text: string, width: number, height: number }} file
 * @param {number} [times] Pixels of the picture for each of the figure.
 * @returns {Promise<Blob>} As PNG.
 */
export async function asPng({ text, width, height }, times = 3) {
  const address = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" })), image = new Image();
  try {
    image.src = address;
    await image.decode();
    const canvas = document.createElement("canvas");
    canvas.width = Math.round(width * times);
    canvas.height = Math.round(height * times);
    canvas.getContext("2d")?.drawImage(image, 0, 0, canvas.width, canvas.height);
    return await new Promise((resolve, reject) => canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("The picture could not be made."))), "image/png"));
  } finally {
    URL.revokeObjectURL(address);
  }
}

/** @param {Blob} blob @param {string} name Under which it is saved. */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
