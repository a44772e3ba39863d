// Many points on one canvas, drawn pixel by pixel: as fast without a graphics processor as with one. Panning and
// zooming by d3-zoom, the point under the pointer by d3-quadtree.

import { svg } from "#elements";

/**
 * @typedef {object} Drawing
 * @property {Uint8Array} codes  For each point its colour, 0 where it is unknown.
 * @property {Uint8Array} shown  1 for points in full colour; the others lie below, pale.
 * @property {string[]} colors  Colours as #rrggbb.
 * @property {string} paper  The colour of the background.
 *
 * @typedef {object} Label
 * @property {number} x  In the coordinates of the points.
 * @property {number} y
 * @property {string} text
 * @property {string} kind  A class for its style.
 *
 * @typedef {object} Events  What is called when something happens.
 * @property {(row: number | null, place: [number, number]) => unknown} onHover  The pointer is on a point, or on none.
 * @property {(row: number) => void} onClick
 * @property {(corners: [number, number][]) => void} onLasso
 * @property {(view: View | null) => void} onSettled  What was moved has come to rest.
 * @property {() => void} onMove  What is drawn has moved.
 *
 * @typedef {[number, number, number]} View  Zoom, and the coordinates of what is in the middle.
 */

const FADED = 0.3, OPACITY = 0.75, REACH = 8, LARGEST = 7, SETTLED = 160;

/** The pixels of a disc around its middle, and how much of each it covers, of 256. @param {number} radius @param {number} opacity */
function stampOf(radius, opacity) {
  const reach = Math.ceil(radius), offsets = [];
  for (let dy = -reach; dy <= reach; dy++) for (let dx = -reach; dx <= reach; dx++) {
    const cover = Math.max(0, Math.min(1, radius + 0.5 - Math.hypot(dx, dy))) * opacity;
    if (cover > 0.02) offsets.push([dx, dy, Math.round(256 * cover)]);
  }
  return { reach, offsets };
}

const redAndBlue = (/** @type {string} */ c) => parseInt(c.slice(1, 3), 16) | (parseInt(c.slice(5, 7), 16) << 16);
const green = (/** @type {string} */ c) => parseInt(c.slice(3, 5), 16) << 8;

/**
 * A plot of points in a canvas.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {SVGSVGElement} overlay  What lies above the points.
 */
export function createPlot(canvas, overlay) {
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { alpha: false }));
  const surface = d3.select(canvas);
  /** @type {Float32Array} */ let x = new Float32Array();
  /** @type {Float32Array} */ let y = new Float32Array();
  let size = 1; // radius in CSS pixels, not zoomed
  /** @type {ImageData} */ let image;
  /** @type {Uint32Array} */ let pixels;
  /** @type {Drawing|null} */ let drawn = null;
  /** @type {number|null} */ let marked = null;
  /** @type {number[]} */ let neighbors = [];
  /** @type {number[]} */ let emphasised = [];
  /** @type {[number, number][]} */ let corners = [];
  /** @type {Label[]} */ let labels = [];
  /** @type {"pan"|"lasso"} */ let mode = "pan";
  let stretched = false, ratio = 1, view = d3.zoomIdentity, pending = false, settled = 0;
  /** @type {any} */ let tree = null;

  const events = /** @type {Events} */ ({ onHover() {}, onClick() {}, onLasso() {}, onSettled() {}, onMove() {} });
  const plot = {
    canvas, frames: 0, ...events,
    at: (/** @type {number} */ px, /** @type {number} */ py) => toScreen(px, py),
    points, draw, mark, emphasise, showLasso, showLabels, setMode, toScreen: (/** @type {number} */ row) => toScreen(x[row], y[row]),
    reset: () => surface.call(zoom.transform, d3.zoomIdentity), zoomTo, setView, view: currentView, schedule, project, onScreen,
    zoomBy: (/** @type {number} */ factor) => surface.call(zoom.scaleBy, factor),
    moveBy: (/** @type {number} */ dx, /** @type {number} */ dy) => surface.call(zoom.translateBy, dx / view.k, dy / view.k),
  };

  /** Of the canvas, as long as the view was made for it; pixels. */
  let width = canvas.clientWidth, height = canvas.clientHeight;
  const middle = () => [width / 2, height / 2];
  /** Pixels per unit: the same in both directions, unless the axes are two quantities. @returns {[number, number]} */
  const scale = () => {
    const [w, h] = middle().map((v) => Math.max(1, v)), both = Math.min(w, h);
    return stretched ? [w, h] : [both, both];
  };
  /** @param {number} px @param {number} py @returns {[number, number]} */
  const toScreen = (px, py) => view.apply([middle()[0] + px * scale()[0], middle()[1] - py * scale()[1]]);
  /** @param {[number, number]} point @returns {[number, number]} */
  function toMap(point) {
    const [sx, sy] = view.invert(point);
    return [(sx - middle()[0]) / scale()[0], (middle()[1] - sy) / scale()[1]];
  }

  /**
   * Show other points, or the same at other places.
   *
   * @param {Float32Array} newX
   * @param {Float32Array} newY
   * @param {boolean} [isStretched]  Whether the two axes have scales of their own.
   */
  function points(newX, newY, isStretched = false) {
    [x, y, stretched] = [newX, newY, isStretched];
    size = x.length > 20000 ? 0.85 : x.length > 2000 ? 1.8 : 3.2;
    const rows = Array.from(x.keys()).filter((row) => !Number.isNaN(x[row] + y[row]));
    tree = d3.quadtree(rows, (/** @type {number} */ row) => x[row], (/** @type {number} */ row) => y[row]);
    schedule();
  }

  function settle() {
    clearTimeout(settled);
    settled = setTimeout(() => plot.onSettled(currentView()), SETTLED);
  }

  function resize() {
    const shown = currentView();
    [width, height] = [canvas.clientWidth, canvas.clientHeight];
    ratio = Math.min(devicePixelRatio || 1, 2);
    canvas.width = Math.max(1, Math.round(width * ratio));
    canvas.height = Math.max(1, Math.round(height * ratio));
    if (shown) setView(shown); // what was in the middle stays there
    image = context.createImageData(canvas.width, canvas.height);
    pixels = new Uint32Array(image.data.buffer);
    schedule();
    settle();
  }

  /** @param {Drawing} drawing */
  function paint({ codes, shown, colors, paper }) {
    const w = canvas.width, h = canvas.height, [kx, ky] = scale().map((s) => view.k * s * ratio);
    const [left, top] = toScreen(0, 0).map((v) => v * ratio);
    const radius = Math.min(size * view.k ** 0.45, LARGEST) * ratio;
    const rbs = colors.map(redAndBlue), greens = colors.map(green);
    pixels.fill(0xff000000 | redAndBlue(paper) | green(paper));
    for (const full of [0, 1]) { // the others below, in grey
      const { reach, offsets } = stampOf(radius, full ? OPACITY : FADED);
      for (let i = 0; i < codes.length; i++) {
        if (shown[i] !== full) continue;
        const px = Math.round(left + x[i] * kx), py = Math.round(top - y[i] * ky);
        if (!(px >= reach && py >= reach && px < w - reach && py < h - reach)) continue; // also what has no place
        const code = full ? codes[i] : 0, rb = rbs[code], g = greens[code], at = py * w + px;
        for (let o = 0; o < offsets.length; o++) {
          const [dx, dy, cover] = offsets[o], below = pixels[at + dy * w + dx], rest = 256 - cover;
          pixels[at + dy * w + dx] = 0xff000000
            | ((((below & 0xff00ff) * rest + rb * cover) >>> 8) & 0xff00ff)
            | ((((below & 0x00ff00) * rest + g * cover) >>> 8) & 0x00ff00);
        }
      }
    }
    context.putImageData(image, 0, 0);
    plot.frames++;
  }

  function schedule() {
    if (pending || !drawn) return;
    pending = true;
    requestAnimationFrame(() => {
      pending = false;
      if (drawn) paint(drawn);
      overlay.replaceChildren(...overlays());
      plot.onMove();
    });
  }

  function overlays() {
    const found = [];
    /** @param {number} row @param {number} r @param {string} kind */
    const ring = (row, r, kind) => {
      const [cx, cy] = toScreen(x[row], y[row]);
      if (!Number.isNaN(cx + cy)) found.push(svg("circle", { cx, cy, r, class: kind }));
    };
    for (const row of emphasised) ring(row, 5, "emphasised");
    for (const row of neighbors) ring(row, 6, "neighbor");
    if (marked !== null) ring(marked, 11, "marked");
    if (corners.length > 1) found.push(svg("path", { d: `M${corners.map((c) => toScreen(...c).join(" ")).join("L")}Z` }));
    for (const label of labels) {
      const [lx, ly] = toScreen(label.x, label.y);
      found.push(svg("text", { x: lx, y: ly, class: label.kind }, label.text));
    }
    return found;
  }

  /** @param {[number, number]} point */
  function rowAt(point) {
    const row = tree?.find(...toMap(point), REACH / (view.k * Math.min(...scale())));
    return row === undefined ? null : row;
  }

  // Moving and zooming; in lasso mode the wheel and two fingers still zoom.
  /** @type {D3Zoom<HTMLCanvasElement>} */
  const zoom = d3.zoom();
  zoom.scaleExtent([0.6, 600])
    .filter((/** @type {any} */ event) => !event.button && (mode === "pan" || event.type === "wheel" || event.touches?.length > 1))
    .on("zoom", (/** @type {any} */ event) => {
      view = event.transform;
      plot.onHover(null, [0, 0]);
      schedule();
      settle();
    });
  surface.call(zoom).on("dblclick.zoom", null);

  surface.on("pointermove.hover", (/** @type {PointerEvent} */ event) => {
    if (event.buttons) return;
    const point = /** @type {[number, number]} */ (d3.pointer(event)), row = rowAt(point);
    canvas.classList.toggle("over", row !== null);
    plot.onHover(row, point);
  }).on("pointerleave.hover", () => plot.onHover(null, [0, 0]));
  surface.on("click", (/** @type {PointerEvent} */ event) => {
    const row = mode === "pan" ? rowAt(/** @type {[number, number]} */ (d3.pointer(event))) : null;
    if (row !== null) plot.onClick(row);
  });

  // The lasso lies on the map and moves with it.
  let tracing = false;
  surface.on("pointerdown.lasso", (/** @type {PointerEvent} */ event) => {
    if (mode !== "lasso" || event.button || !event.isPrimary) return;
    tracing = true;
    plot.onHover(null, [0, 0]);
    corners = [toMap(/** @type {[number, number]} */ (d3.pointer(event)))];
    canvas.setPointerCapture(event.pointerId);
  }).on("pointermove.lasso", (/** @type {PointerEvent} */ event) => {
    if (tracing && event.isPrimary) { corners.push(toMap(/** @type {[number, number]} */ (d3.pointer(event)))); schedule(); }
  }).on("pointerup.lasso", () => {
    if (!tracing) return;
    tracing = false;
    plot.onLasso(corners.length > 2 ? corners : []);
  }).on("pointercancel.lasso", () => { tracing = false; showLasso([]); });

  /** @param {Drawing} drawing */
  function draw(drawing) { drawn = drawing; schedule(); }
  /** Ring a crystal and its neighbours. @param {number|null} row @param {number[]} [near] */
  function mark(row, near = []) { [marked, neighbors] = [row, near]; schedule(); }
  /** @param {number[]} rows */
  function emphasise(rows) { emphasised = rows; schedule(); }
  /** @param {[number, number][]} polygon */
  function showLasso(polygon) { corners = polygon; schedule(); }
  /** @param {Label[]} written */
  function showLabels(written) { labels = written; schedule(); }
  /** @param {"pan"|"lasso"} name */
  function setMode(name) { mode = name; canvas.classList.toggle("lasso", name === "lasso"); }

  /** @returns {View|null} */
  function currentView() {
    const [mx, my] = middle();
    return view.k === 1 && view.x === 0 && view.y === 0 ? null : [view.k, ...toMap([mx, my])];
  }

  /** @param {View|null} wanted */
  function setView(wanted) {
    if (!wanted) return void plot.reset();
    const [k, px, py] = wanted, [mx, my] = middle();
    surface.call(zoom.transform, d3.zoomIdentity.translate(mx, my).scale(k).translate(-mx - px * scale()[0], -my + py * scale()[1]));
  }

  /** @param {number[]} rows  The first is brought to the middle, with the others around it. */
  function zoomTo([first, ...others]) {
    const reach = Math.max(1e-3, ...others.map((row) => Math.hypot(x[row] - x[first], y[row] - y[first])).filter(Number.isFinite));
    // Not so near that a crystal stands without its surroundings.
    const k = Math.min(Math.max(2, Math.sqrt(x.length) / 6), Math.max(1, 0.8 / reach));
    if (!Number.isNaN(x[first] + y[first])) setView([k, x[first], y[first]]);
  }

  /** Where all points are on the screen; NaN where they are not. @param {Uint8Array} shown */
  function project(shown) {
    const px = new Float32Array(x.length).fill(NaN), py = new Float32Array(x.length).fill(NaN);
    const [left, top] = toScreen(0, 0), [kx, ky] = scale().map((s) => view.k * s);
    for (let row = 0; row < x.length; row++) {
      const sx = left + x[row] * kx, sy = top - y[row] * ky;
      if (shown[row] && sx >= 0 && sy >= 0 && sx < width && sy < height) [px[row], py[row]] = [sx, sy];
    }
    return { px, py };
  }

  /** The coordinates of a place on the screen. @param {number} sx @param {number} sy */
  function onScreen(sx, sy) { return toMap([sx, sy]); }

  new ResizeObserver(resize).observe(canvas);
  resize();
  return plot;
}
