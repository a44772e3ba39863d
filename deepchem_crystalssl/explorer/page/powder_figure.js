// The figure of a fitted pattern: measured points, calculated curve, reflections, difference; zoomed by wheel, drag,
// pinch and keys.

import { make, svg } from "#elements";
import { axes, fillLegend } from "#powder_axes";
import { counts, extent, inBrackets, readingAt, subscripted } from "#powder_numbers";

const MARGIN = { left: 68, right: 14, top: 30, bottom: 44 };
const ROW = 15, GAP = 8, LEAST_RANGE = 0.05;
const HELP = "Measured and calculated pattern. Arrow keys move and stretch it, plus and minus zoom, 0 shows the whole pattern, shift and an arrow key read it.";

/**
 * @typedef {{
 *   curve: import("#powder_numbers").Curve, phases: import("#powder_numbers").DrawnPhase[],
 *   radiation: { label: string, wavelength: number }, unit: string,
 * }} Drawing
 */

/** @param {SVGRectElement} rect @param {number} x @param {number} y @param {number} width @param {number} height */
function frame(rect, x, y, width, height) {
  for (const [name, value] of Object.entries({ x, y, width, height })) rect.setAttribute(name, String(Math.max(0, value)));
}

/** @param {number} one @param {number} other @returns {[number, number]} */
const inOrder = (one, other) => (one < other ? [one, other] : [other, one]);

/**
 * Makes an empty figure.
 * @param {HTMLElement} box It fills this element.
 */
export function createFigure(box) {
  const node = svg("svg", { class: "powder-figure", tabindex: 0, role: "application", "aria-label": HELP });
  const windows = { upper: svg("rect", {}), ticks: svg("rect", {}), lower: svg("rect", {}) };
  const group = (/** @type {string} */ name) => svg("g", { class: `powder-${name}` });
  const layers = { legend: group("legend"), grid: group("grid"), upper: group("upper"), ticks: group("ticks"), lower: group("lower"), axes: group("axes"), pointer: group("pointer") };
  for (const name of /** @type {const} */ (["upper", "ticks", "lower"])) {
    const clip = svg("clipPath", { id: `powder-clip-${name}` });
    clip.append(windows[name]);
    node.append(clip);
    layers[name].setAttribute("clip-path", `url(#powder-clip-${name})`);
  }
  const band = svg("rect", { class: "powder-band", visibility: "hidden" }), sheet = svg("rect", { class: "powder-sheet" });
  node.append(...Object.values(layers), band, sheet);
  const reading = make("div", "powder-reading");
  reading.setAttribute("role", "status");
  reading.hidden = true;
  box.append(node, reading);

  /** @type {Drawing | null} */
  let drawing = null;
  /** @type {number | null} */
  let at = null;
  /** @type {number | null} */
  let from = null;
  /** @type {[number, number]} */
  let shown = [0, 1];
  /** @type {[number, number]} */
  let whole = [0, 1];
  let width = 600, height = 400, gain = 1, roots = false, pending = 0;
  const scale = d3.scaleLinear(), surface = d3.select(sheet);
  const bottom = () => height - MARGIN.bottom;
  const inner = () => Math.max(40, width - MARGIN.left - MARGIN.right);
  const base = () => d3.scaleLinear(whole, [MARGIN.left, MARGIN.left + inner()]);

  // One finger moves the pattern only where a part of it is shown; else it scrolls the page.
  /** @type {D3Zoom<SVGRectElement>} */
  const zoom = d3.zoom();
  zoom.scaleExtent([1, 1])
    .filter((event) => event.type === "wheel" ? !event.shiftKey
      : event.type === "touchstart" ? event.touches.length > 1 || shown[1] - shown[0] < 0.999 * (whole[1] - whole[0])
      : event.type !== "mousedown" || (event.shiftKey && !event.button))
    .on("zoom", ({ transform }) => { shown = transform.rescaleX(base()).domain(); later(); });
  surface.call(zoom).on("dblclick.zoom", () => reset());

  /** @param {number} low @param {number} high Angles that are shown, degrees. */
  function show(low, high) {
    const wide = Math.min(whole[1] - whole[0], Math.max(LEAST_RANGE, high - low));
    const start = Math.max(whole[0], Math.min(low, whole[1] - wide)), k = (whole[1] - whole[0]) / wide;
    surface.call(zoom.transform, d3.zoomIdentity.translate(MARGIN.left - base()(start) * k, 0).scale(k));
  }
  /** @param {number} factor How much wider the range gets around the reading, or around its middle. */
  function widen(factor) {
    const middle = at !== null && at > shown[0] && at < shown[1] ? at : (shown[0] + shown[1]) / 2;
    show(middle - (middle - shown[0]) * factor, middle + (shown[1] - middle) * factor);
  }
  /** @param {number} factor */
  function stretch(factor) { gain = Math.max(1, Math.min(1000, gain * factor)); later(); }
  function reset() { gain = 1; at = null; show(...whole); later(); }
  function later() { pending ||= requestAnimationFrame(() => { pending = 0; draw(); }); }

  function draw() {
    if (!drawing) return;
    const { curve, phases, radiation, unit } = drawing, { least, most, misfit } = extent(curve, ...shown);
    scale.domain(shown).range([MARGIN.left, MARGIN.left + inner()]);
    // Differences have the scale of the intensities, unless they are too large for it.
    const rowsHigh = ROW * phases.length, free = bottom() - MARGIN.top - rowsHigh - 2 * GAP, span = (1.06 * (most - least)) / gain;
    const share = roots ? 0.28 : Math.max(0.12, Math.min(0.3, (2.2 * misfit) / (span + 2.2 * misfit)));
    const lower = free * share, upper = free - lower, reach = roots ? misfit || 1 : (span * lower) / upper / 2;
    const fitted = misfit > reach && gain === 1 ? 1.04 * misfit : reach, rowTop = MARGIN.top + upper + GAP;
    const heights = (roots ? d3.scaleSqrt() : d3.scaleLinear()).domain([least, least + span]).range([MARGIN.top + upper, MARGIN.top]);
    const apart = d3.scaleLinear().domain([-fitted, fitted]).range([bottom(), bottom() - lower]);
    frame(windows.upper, MARGIN.left, MARGIN.top, inner(), upper + 1);
    frame(windows.ticks, MARGIN.left, rowTop, inner(), rowsHigh);
    frame(windows.lower, MARGIN.left, bottom() - lower, inner(), lower);
    frame(sheet, MARGIN.left, MARGIN.top, inner(), bottom() - MARGIN.top);
    // One point beyond each edge, so that lines leave the window.
    const first = Math.max(0, d3.bisectLeft(curve.two_theta, shown[0]) - 1);
    const last = Math.min(curve.two_theta.length, d3.bisectLeft(curve.two_theta, shown[1]) + 1);
    const places = Array.from({ length: last - first }, (_, i) => first + i), across = (/** @type {number} */ i) => scale(curve.two_theta[i]);
    const up = (/** @type {number} */ value) => Math.max(-1e4, heights(value));
    const line = (/** @type {(i: number) => number} */ y) => d3.line(across, y).digits(2)(places) ?? "";
    const points = places.map((i) => `M${across(i).toFixed(2)} ${up(curve.measured[i]).toFixed(2)}h0`).join("");
    layers.upper.replaceChildren(svg("path", { class: "powder-joined", d: line((i) => up(curve.measured[i])) }),
      ...curve.parts.map((part, k) => svg("path", { class: `powder-part powder-color-${k % 4}`, d: line((i) => up(part[i])) })),
      svg("path", { class: "powder-measured", d: points }), svg("path", { class: "powder-calculated", d: line((i) => up(curve.calculated[i])) }));
    layers.lower.replaceChildren(svg("path", { class: "powder-difference", d: line((i) => apart(curve.measured[i] - curve.calculated[i])) }));
    layers.ticks.replaceChildren(...phases.map((phase, k) => {
      const d = phase.reflections.two_theta.filter((angle) => angle >= shown[0] && angle <= shown[1])
        .map((angle) => `M${scale(angle).toFixed(2)} ${rowTop + ROW * k + 1}v${ROW - 4}`).join("");
      return svg("path", { class: `powder-tick powder-color-${k % 4}`, d });
    }));
    layers.grid.replaceChildren(svg("line", { x1: MARGIN.left, x2: MARGIN.left + inner(), y1: apart(0), y2: apart(0) }));
    const around = { left: MARGIN.left, right: MARGIN.left + inner(), top: MARGIN.top, bottom: bottom() };
    layers.axes.replaceChildren(...axes({ angles: scale, heights, apart, top: curve.top }, around, { label: radiation.label, unit, roots }));
    fillLegend(layers.legend, phases.map((phase) => phase.formula), around);
    point();
  }

  /** Draws the line at the angle that is read, and says what is there. */
  function point() {
    layers.pointer.replaceChildren();
    reading.hidden = at === null || at < shown[0] || at > shown[1];
    if (!drawing || at === null || reading.hidden) return;
    const { curve, phases, radiation, unit } = drawing, found = readingAt(curve, phases, radiation.wavelength, at), x = scale(found.angle);
    layers.pointer.append(svg("line", { x1: x, x2: x, y1: MARGIN.top, y2: bottom() }));
    const rows = [make("b", "", `${found.angle.toFixed(3)}°   d = ${found.d.toFixed(4)} Å`),
      make("div", "", `measured ${counts(found.measured)}, calculated ${counts(found.calculated)}${unit ? ` ${unit}` : ""}`)];
    found.reflections.forEach((one, k) => {
      const row = make("div", `powder-color-${k % 4}`);
      row.append(make("i", "powder-swatch"), `${subscripted(one.formula)} ${inBrackets(one.hkl)} at ${one.two_theta.toFixed(3)}°, d = ${one.d.toFixed(4)} Å`);
      rows.push(row);
    });
    reading.replaceChildren(...rows);
    reading.style.top = `${MARGIN.top + 4}px`;
    const left = x + 12 + reading.offsetWidth > width ? x - 12 - reading.offsetWidth : x + 12;
    reading.style.left = `${Math.max(2, Math.min(left, width - reading.offsetWidth - 2))}px`;
  }
  /** @param {number | null} angle */
  function read(angle) { at = angle === null ? null : Math.max(shown[0], Math.min(shown[1], angle)); point(); }
  const angleOf = (/** @type {PointerEvent} */ event) => scale.invert(d3.pointer(event, node)[0]);

  // A drag with the mouse marks the range that is shown next; with shift it moves the pattern, which d3-zoom does.
  surface.on("pointerdown.band", (event) => {
    read(angleOf(event));
    if (event.pointerType === "touch" || event.button || event.shiftKey) return;
    [from] = d3.pointer(event, node);
    sheet.setPointerCapture(event.pointerId);
  }).on("pointermove.band", (event) => {
    if (event.pointerType !== "touch") read(angleOf(event));
    if (from === null) return;
    const [low, high] = inOrder(from, d3.pointer(event, node)[0]);
    frame(band, low, MARGIN.top, high - low, bottom() - MARGIN.top);
    band.setAttribute("visibility", "visible");
  }).on("pointerup.band pointercancel.band", (event) => {
    band.setAttribute("visibility", "hidden");
    if (from !== null && Math.abs(d3.pointer(event, node)[0] - from) > 4) show(...inOrder(scale.invert(from), angleOf(event)));
    from = null;
  }).on("pointerleave.band", (event) => { if (event.pointerType !== "touch" && from === null) read(null); });
  sheet.addEventListener("wheel", (event) => {
    if (!event.shiftKey) return;
    event.preventDefault();
    stretch((event.deltaY || event.deltaX) < 0 ? 1.25 : 0.8);
  }, { passive: false });

  node.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const wide = shown[1] - shown[0], step = event.key === "ArrowRight" ? 1 : -1;
    if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      if (event.shiftKey) read((at ?? (shown[0] + shown[1]) / 2) + (step * wide) / 200);
      else show(shown[0] + 0.2 * step * wide, shown[1] + 0.2 * step * wide);
    } else if (event.key === "ArrowUp" || event.key === "ArrowDown") stretch(event.key === "ArrowUp" ? 1.5 : 1 / 1.5);
    else if (event.key === "+" || event.key === "=") widen(0.6);
    else if (event.key === "-") widen(1 / 0.6);
    else if (event.key === "0" || event.key === "Home") reset();
    else if (event.key === "Escape") read(null);
    else return;
    event.preventDefault();
  });

  new ResizeObserver(() => {
    [width, height] = [Math.max(200, box.clientWidth), Math.max(220, box.clientHeight)];
    node.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const ends = /** @type {[[number, number], [number, number]]} */ ([[MARGIN.left, 0], [MARGIN.left + inner(), height]]);
    zoom.extent(ends).translateExtent(ends);
    if (drawing) { show(...shown); draw(); }
  }).observe(box);

  return {
    node,
    /** @param {Drawing} next @param {boolean} keep Whether the same angles stay in view, as they do between candidates. */
    draw(next, keep) {
      drawing = next;
      const angles = next.curve.two_theta;
      whole = [angles[0], angles[angles.length - 1]];
      zoom.scaleExtent([1, Math.max(1, (whole[1] - whole[0]) / LEAST_RANGE)]);
      if (keep) show(...shown); else reset();
      draw();
    },
    reset,
    /** @param {number} factor Below 1 it shows less, above 1 more. */
    widen,
    /** @param {boolean} on Whether the square roots of intensities are drawn, which shows weak lines. */
    setRoots(on) { roots = on; later(); },
  };
}
