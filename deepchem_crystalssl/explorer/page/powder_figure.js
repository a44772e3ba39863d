// The figure of a fitted pattern: measured points, calculated curve, reflections, difference; zoomed by wheel, drag,
// pinch and keys.

import { make, svg } from "#elements";
import { inBrackets, extent, counts, readingAt, subscripted } from "#powder_numbers";

const MARGIN = { left: 68, right: 14, top: 30, bottom: 44 };
const ROW = 15, GAP = 8, LEAST_RANGE = 0.05;

/**
 * @typedef {{
 *   curve: import("#powder_numbers").Curve, phases: import("#powder_numbers").DrawnPhase[],
 *   radiation: { label: string, wavelength: number }, unit: string,
 * }} Drawing
 */

/**
 * Makes an empty figure.
 * @param {HTMLElement} box It fills this element.
 */
export function createFigure(box) {
  const node = svg("svg", { class: "powder-figure", tabindex: 0, role: "application", "aria-describedby": "powder-reading",
    "aria-label": "Measured and calculated pattern. Arrow keys move and stretch it, plus and minus zoom, 0 shows the whole pattern, shift and an arrow key read it." });
  const windows = Object.fromEntries(["upper", "ticks", "lower"].map((name) => [name, svg("rect", {})]));
  const clips = Object.entries(windows).map(([name, rect]) => { const clip = svg("clipPath", { id: `powder-clip-${name}` }); clip.append(rect); return clip; });
  const layers = Object.fromEntries(["legend", "grid", "upper", "ticks", "lower", "axes", "pointer"].map((name) => [name, svg("g", { class: `powder-${name}` })]));
  for (const name of Object.keys(windows)) layers[name].setAttribute("clip-path", `url(#powder-clip-${name})`);
  const band = svg("rect", { class: "powder-band", visibility: "hidden" }), sheet = svg("rect", { class: "powder-sheet" });
  node.append(...clips, ...Object.values(layers), band, sheet);
  const reading = make("div", "powder-reading");
  reading.id = "powder-reading";
  reading.setAttribute("role", "status");
  reading.hidden = true;
  box.append(node, reading);

  /** @type {Drawing | null} */
  let drawing = null;
  let width = 600, height = 400, shown = [0, 1], whole = [0, 1], gain = 1, roots = false, at = null, frame = 0;
  const scale = d3.scaleLinear(), surface = d3.select(sheet);
  const bottom = () => height - MARGIN.bottom;
  const inner = () => Math.max(40, width - MARGIN.left - MARGIN.right);

  const zoom = d3.zoom().scaleExtent([1, 1])
    .filter((event) => event.type === "wheel" ? !event.shiftKey
      : event.type === "touchstart" ? event.touches.length > 1 || shown[1] - shown[0] < 0.999 * (whole[1] - whole[0])
      : event.type !== "mousedown" || (event.shiftKey && !event.button))
    .on("zoom", ({ transform }) => { shown = transform.rescaleX(base()).domain(); later(); });
  surface.call(zoom).on("dblclick.zoom", () => figure.reset());
  function base() { return d3.scaleLinear(whole, [0, inner()]); }

  /** @param {number} low @param {number} high Angles that are shown, degrees. */
  function show(low, high) {
    const wide = Math.min(whole[1] - whole[0], Math.max(LEAST_RANGE, high - low));
    const from = Math.max(whole[0], Math.min(low, whole[1] - wide)), k = (whole[1] - whole[0]) / wide;
    surface.call(zoom.transform, d3.zoomIdentity.translate(-base()(from) * k, 0).scale(k));
  }
  /** @param {number} factor How much wider the range gets around its middle, or around the reading. */
  function widen(factor) {
    const middle = at !== null && at > shown[0] && at < shown[1] ? at : (shown[0] + shown[1]) / 2;
    show(middle - (middle - shown[0]) * factor, middle + (shown[1] - middle) * factor);
  }

  function later() { frame ||= requestAnimationFrame(() => { frame = 0; draw(); }); }

  function draw() {
    if (!drawing) return;
    const { curve, phases, radiation, unit } = drawing, { least, most, misfit } = extent(curve, ...shown);
    scale.domain(shown).range([MARGIN.left, MARGIN.left + inner()]);
    // Differences have the scale of the intensities, unless they are too large for it.
    const rowsHigh = ROW * phases.length, free = bottom() - MARGIN.top - rowsHigh - 2 * GAP, span = (1.06 * (most - least)) / gain;
    const share = roots ? 0.28 : Math.max(0.12, Math.min(0.3, (2.2 * misfit) / (span + 2.2 * misfit)));
    const lower = free * share, upper = free - lower, reach = roots ? misfit || 1 : (span * lower) / upper / 2;
    const fitted = misfit > 1.6 * reach && gain === 1 ? misfit : reach;
    const heights = (roots ? d3.scaleSqrt() : d3.scaleLinear()).domain([least, least + span]).range([MARGIN.top + upper, MARGIN.top]);
    const rowTop = MARGIN.top + upper + GAP, apart = d3.scaleLinear().domain([-fitted, fitted]).range([bottom(), bottom() - lower]);
    frameOf(windows.upper, MARGIN.top, upper + 1);
    frameOf(windows.ticks, rowTop, rowsHigh);
    frameOf(windows.lower, bottom() - lower, lower);
    frameOf(sheet, MARGIN.top, bottom() - MARGIN.top);
    // One point beyond each edge, so that lines leave the window.
    const first = Math.max(0, d3.bisectLeft(curve.two_theta, shown[0]) - 1);
    const last = Math.min(curve.two_theta.length, d3.bisectLeft(curve.two_theta, shown[1]) + 1);
    const places = Array.from({ length: last - first }, (_, i) => first + i);
    const line = (values) => d3.line((i) => scale(curve.two_theta[i]), (i) => Math.max(-1e4, heights(values[i]))).digits(2)(places) ?? "";
    const points = places.map((i) => `M${scale(curve.two_theta[i]).toFixed(2)} ${Math.max(-1e4, heights(curve.measured[i])).toFixed(2)}h0`).join("");
    const difference = d3.line((i) => scale(curve.two_theta[i]), (i) => apart(curve.measured[i] - curve.calculated[i])).digits(2)(places) ?? "";
    layers.upper.replaceChildren(svg("path", { class: "powder-joined", d: line(curve.measured) }),
      ...curve.parts.map((part, k) => svg("path", { class: `powder-part powder-color-${k % 4}`, d: line(part) })),
      svg("path", { class: "powder-measured", d: points }), svg("path", { class: "powder-calculated", d: line(curve.calculated) }));
    layers.lower.replaceChildren(svg("path", { class: "powder-difference", d: difference }));
    layers.ticks.replaceChildren(...phases.map((phase, k) => {
      const y = rowTop + ROW * k, d = phase.reflections.two_theta.filter((angle) => angle >= shown[0] && angle <= shown[1])
        .map((angle) => `M${scale(angle).toFixed(2)} ${y + 1}v${ROW - 4}`).join("");
      return svg("path", { class: `powder-tick powder-color-${k % 4}`, d });
    }));
    layers.grid.replaceChildren(svg("line", { x1: MARGIN.left, x2: MARGIN.left + inner(), y1: apart(0), y2: apart(0) }));
    axes(heights, apart, unit, radiation.label);
    legend(phases);
    point();
  }

  function frameOf(rect, y, high) {
    for (const [name, value] of Object.entries({ x: MARGIN.left, y, width: inner(), height: Math.max(0, high) })) rect.setAttribute(name, value);
  }

  function axes(heights, apart, unit, label) {
    const g = d3.select(layers.axes);
    g.selectAll("*").remove();
    const top = drawing.curve.top, across = Math.max(2, Math.min(14, inner() / 70));
    g.append("g").attr("transform", `translate(0,${bottom()})`).call(d3.axisBottom(scale).ticks(across).tickSizeOuter(0));
    const inCounts = heights.copy().domain(heights.domain().map((value) => value * top));
    g.append("g").attr("transform", `translate(${MARGIN.left},0)`)
      .call(d3.axisLeft(inCounts).ticks(Math.max(2, (heights.range()[0] - heights.range()[1]) / 50)).tickFormat(counts).tickSizeOuter(0));
    const ends = apart.copy().domain(apart.domain().map((value) => value * top));
    g.append("g").attr("transform", `translate(${MARGIN.left},0)`).call(d3.axisLeft(ends).ticks(3).tickFormat(counts).tickSizeOuter(0));
    g.append("text").attr("class", "powder-name").attr("x", MARGIN.left + inner()).attr("y", height - 8).attr("text-anchor", "end").text(`2θ / degrees (${label})`);
    const middle = (heights.range()[0] + heights.range()[1]) / 2;
    g.append("text").attr("class", "powder-name").attr("transform", `translate(12,${middle}) rotate(-90)`).attr("text-anchor", "middle")
      .text(`${roots ? "√ scale: i" : "I"}ntensity${unit ? ` / ${unit}` : ""}`);
    g.selectAll("[font-family]").attr("font-family", null).attr("font-size", null);
  }

  function legend(phases) {
    layers.legend.replaceChildren();
    const named = [["measured", "powder-measured", "M-6 -4h0M0 -4h0M6 -4h0"], ["calculated", "powder-calculated", "M-7 -4h14"], ["difference", "powder-difference", "M-7 -4h14"],
      ...phases.map((phase, k) => [subscripted(phase.formula), `powder-tick powder-color-${k % 4}`, "M0 -10v11"])];
    let x = MARGIN.left + 8;
    for (const [name, kind, d] of named) {
      const entry = svg("g", { transform: `translate(${x},17)` });
      entry.append(svg("path", { class: kind, d }), svg("text", { x: 11 }, name));
      layers.legend.append(entry);
      x += 11 + entry.lastChild.getComputedTextLength() + 20;
    }
    // What does not fit is named in the tables.
    const over = (x - 20) / (width - MARGIN.right);
    if (over > 1) layers.legend.setAttribute("transform", `translate(${MARGIN.left * (1 - 1 / over)},0) scale(${1 / over})`);
    else layers.legend.removeAttribute("transform");
  }

  /** Draws the line at the angle that is read, and says what is there. */
  function point() {
    layers.pointer.replaceChildren();
    reading.hidden = at === null || !drawing || at < shown[0] || at > shown[1];
    if (reading.hidden) return;
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
    const left = x + 12 + reading.offsetWidth > width ? Math.max(2, x - 12 - reading.offsetWidth) : x + 12;
    reading.style.left = `${Math.max(2, Math.min(left, width - reading.offsetWidth - 2))}px`;
  }
  /** @param {number | null} angle */
  function read(angle) { at = angle === null ? null : Math.max(shown[0], Math.min(shown[1], angle)); point(); }

  // A drag with the mouse marks the range that is shown next; with shift it moves the pattern, which d3-zoom does.
  let from = null;
  surface.on("pointerdown.band", (event) => {
    read(scale.invert(d3.pointer(event, node)[0]));
    if (event.pointerType === "touch" || event.button || event.shiftKey) return;
    from = d3.pointer(event, node)[0];
    sheet.setPointerCapture(event.pointerId);
  }).on("pointermove.band", (event) => {
    const x = d3.pointer(event, node)[0];
    if (event.pointerType !== "touch") read(scale.invert(x));
    if (from === null) return;
    const [low, high] = [from, x].sort((a, b) => a - b);
    frameOf(band, MARGIN.top, bottom() - MARGIN.top);
    band.setAttribute("x", low);
    band.setAttribute("width", high - low);
    band.setAttribute("visibility", "visible");
  }).on("pointerup.band pointercancel.band", (event) => {
    const x = d3.pointer(event, node)[0];
    band.setAttribute("visibility", "hidden");
    if (from !== null && Math.abs(x - from) > 4) show(...[scale.invert(from), scale.invert(x)].sort((a, b) => a - b));
    from = null;
  }).on("pointerleave.band", (event) => { if (event.pointerType !== "touch" && from === null) read(null); });
  sheet.addEventListener("wheel", (event) => {
    if (!event.shiftKey) return;
    event.preventDefault();
    stretch((event.deltaY || event.deltaX) < 0 ? 1.25 : 0.8);
  }, { passive: false });

  function stretch(factor) { gain = Math.max(1, Math.min(1000, gain * factor)); later(); }
  node.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const wide = shown[1] - shown[0], step = event.key === "ArrowRight" ? 1 : -1;
    if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      if (event.shiftKey) read((at ?? (shown[0] + shown[1]) / 2) + (step * wide) / 200);
      else show(shown[0] + 0.2 * step * wide, shown[1] + 0.2 * step * wide);
    } else if (event.key === "ArrowUp" || event.key === "ArrowDown") stretch(event.key === "ArrowUp" ? 1.5 : 1 / 1.5);
    else if (event.key === "+" || event.key === "=") widen(0.6);
    else if (event.key === "-") widen(1 / 0.6);
    else if (event.key === "0" || event.key === "Home") figure.reset();
    else if (event.key === "Escape") read(null);
    else return;
    event.preventDefault();
  });

  const figure = {
    node,
    /** @param {Drawing} next @param {boolean} keep Whether the same angles stay in view, as they do between candidates. */
    draw(next, keep) {
      drawing = next;
      whole = [next.curve.two_theta[0], next.curve.two_theta.at(-1)];
      zoom.scaleExtent([1, Math.max(1, (whole[1] - whole[0]) / LEAST_RANGE)]);
      if (keep) show(...shown); else figure.reset();
      draw();
    },
    reset() { gain = 1; at = null; show(...whole); },
    /** @param {number} factor Below 1 it shows less, above 1 more. */
    widen,
    /** @param {boolean} on Whether the square roots of intensities are drawn, which shows weak lines. */
    setRoots(on) { roots = on; later(); },
    /** @returns {number[]} The range of angles that is shown. */
    range: () => [...shown],
  };
  new ResizeObserver(() => {
    [width, height] = [Math.max(200, box.clientWidth), Math.max(220, box.clientHeight)];
    node.setAttribute("viewBox", `0 0 ${width} ${height}`);
    zoom.extent([[0, 0], [inner(), height]]).translateExtent([[0, 0], [inner(), height]]);
    if (drawing) { show(...shown); draw(); }
  }).observe(box);
  return figure;
}
