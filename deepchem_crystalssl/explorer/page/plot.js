// Many points on one canvas, drawn pixel by pixel: as fast without a graphics processor as with one. Panning and
// zooming by d3-zoom, the point under the pointer by d3-quadtree.

import { svg } from "#elements";

export function createPlot(canvas, overlay, x, y) {
  const context = canvas.getContext("2d", { alpha: false });
  const surface = d3.select(canvas);
  const size = x.length > 20000 ? 0.85 : x.length > 2000 ? 1.8 : 3.2; // radius in CSS pixels, not zoomed
  const FADED = 0.3, OPACITY = 0.75, REACH = 8;
  let image, pixels, ratio = 1, view = d3.zoomIdentity, drawn = null, pending = false, marked = null, corners = [];
  const tree = d3.quadtree().x((row) => x[row]).y((row) => y[row]).addAll(Array.from(x.keys()));

  const plot = { canvas, onHover() {}, onClick() {}, onLasso() {} };
  const middle = () => [canvas.clientWidth / 2, canvas.clientHeight / 2];
  const scale = () => Math.min(canvas.clientWidth, canvas.clientHeight) / 2;
  const toScreen = (px, py) => view.apply([middle()[0] + px * scale(), middle()[1] - py * scale()]);
  function toMap(point) {
    const [sx, sy] = view.invert(point);
    return [(sx - middle()[0]) / scale(), (middle()[1] - sy) / scale()];
  }

  function resize() {
    ratio = Math.min(devicePixelRatio || 1, 2);
    canvas.width = Math.max(1, Math.round(canvas.clientWidth * ratio));
    canvas.height = Math.max(1, Math.round(canvas.clientHeight * ratio));
    image = context.createImageData(canvas.width, canvas.height);
    pixels = new Uint32Array(image.data.buffer);
    schedule();
  }

  // The pixels of a disc around its middle, and how much of each it covers, of 256.
  function stamp(radius, opacity) {
    const reach = Math.ceil(radius), offsets = [];
    for (let dy = -reach; dy <= reach; dy++) for (let dx = -reach; dx <= reach; dx++) {
      const cover = Math.max(0, Math.min(1, radius + 0.5 - Math.hypot(dx, dy))) * opacity;
      if (cover > 0.02) offsets.push([dx, dy, Math.round(256 * cover)]);
    }
    return { reach, offsets };
  }

  function paint({ codes, shown, colors }) {
    const w = canvas.width, h = canvas.height, k = view.k * scale() * ratio;
    const [left, top] = toScreen(0, 0).map((v) => v * ratio);
    const radius = Math.min(size * view.k ** 0.45, 7) * ratio;
    const red = colors.map((c) => parseInt(c.slice(1, 3), 16) | (parseInt(c.slice(5, 7), 16) << 16));
    const green = colors.map((c) => parseInt(c.slice(3, 5), 16) << 8);
    pixels.fill(0xffffffff);
    for (const full of [0, 1]) { // the others below, in grey
      const { reach, offsets } = stamp(radius, full ? OPACITY : FADED);
      for (let i = 0; i < codes.length; i++) {
        if (shown[i] !== full) continue;
        const px = Math.round(left + x[i] * k), py = Math.round(top - y[i] * k);
        if (px < reach || py < reach || px >= w - reach || py >= h - reach) continue;
        const code = full ? codes[i] : 0, rb = red[code], g = green[code], at = py * w + px;
        for (let o = 0; o < offsets.length; o++) {
          const [dx, dy, cover] = offsets[o], below = pixels[at + dy * w + dx], rest = 256 - cover;
          pixels[at + dy * w + dx] = 0xff000000
            | ((((below & 0xff00ff) * rest + rb * cover) >>> 8) & 0xff00ff)
            | ((((below & 0x00ff00) * rest + g * cover) >>> 8) & 0x00ff00);
        }
      }
    }
    context.putImageData(image, 0, 0);
    plot.frames = (plot.frames ?? 0) + 1;
  }

  function schedule() {
    if (pending || !drawn) return;
    pending = true;
    requestAnimationFrame(() => { pending = false; paint(drawn); overlay.replaceChildren(...overlays()); });
  }

  function overlays() {
    const found = [];
    if (marked !== null) {
      const [cx, cy] = toScreen(x[marked], y[marked]);
      found.push(svg("circle", { cx, cy, r: 11 }));
    }
    if (corners.length > 1) found.push(svg("path", { d: `M${corners.map((c) => toScreen(...c).join(" ")).join("L")}Z` }));
    return found;
  }

  function rowAt(point) {
    const row = tree.find(...toMap(point), REACH / (view.k * scale()));
    return row === undefined ? null : row;
  }

  // Moving and zooming; in lasso mode the wheel still zooms.
  let mode = "pan";
  const zoom = d3.zoom().scaleExtent([0.6, 600])
    .filter((event) => !event.button && (mode === "pan" ? true : event.type === "wheel"))
    .on("zoom", (event) => { view = event.transform; plot.onHover(null, [0, 0]); schedule(); });
  surface.call(zoom).on("dblclick.zoom", null);

  surface.on("pointermove.hover", (event) => {
    if (event.buttons) return;
    const point = d3.pointer(event), row = rowAt(point);
    canvas.classList.toggle("over", row !== null);
    plot.onHover(row, point);
  }).on("pointerleave.hover", () => plot.onHover(null, [0, 0]));
  surface.on("click", (event) => {
    const row = mode === "pan" ? rowAt(d3.pointer(event)) : null;
    if (row !== null) plot.onClick(row);
  });

  // The lasso lies on the map and moves with it.
  let tracing = false;
  surface.on("pointerdown.lasso", (event) => {
    if (mode !== "lasso" || event.button) return;
    tracing = true;
    plot.onHover(null, [0, 0]);
    corners = [toMap(d3.pointer(event))];
    canvas.setPointerCapture(event.pointerId);
  }).on("pointermove.lasso", (event) => {
    if (tracing) { corners.push(toMap(d3.pointer(event))); schedule(); }
  }).on("pointerup.lasso", () => {
    if (!tracing) return;
    tracing = false;
    const rows = [];
    if (corners.length > 2) for (let i = 0; i < x.length; i++) if (d3.polygonContains(corners, [x[i], y[i]])) rows.push(i);
    plot.onLasso(rows);
  });

  plot.draw = (state) => { drawn = state; schedule(); };
  plot.mark = (row) => { marked = row; schedule(); };
  plot.clearLasso = () => { corners = []; schedule(); };
  plot.setMode = (name) => { mode = name; canvas.classList.toggle("lasso", name === "lasso"); };
  plot.toScreen = (row) => toScreen(x[row], y[row]);
  plot.reset = () => surface.call(zoom.transform, d3.zoomIdentity);
  plot.zoomTo = ([first, ...others]) => {
    const reach = Math.max(1e-3, ...others.map((row) => Math.hypot(x[row] - x[first], y[row] - y[first])));
    // Not so near that a crystal stands without its surroundings.
    const k = Math.min(Math.max(2, Math.sqrt(x.length) / 6), Math.max(1, 0.8 / reach));
    const [cx, cy] = [middle()[0] + x[first] * scale(), middle()[1] - y[first] * scale()];
    surface.call(zoom.transform, d3.zoomIdentity.translate(...middle()).scale(k).translate(-cx, -cy));
  };
  new ResizeObserver(resize).observe(canvas);
  resize();
  return plot;
}
