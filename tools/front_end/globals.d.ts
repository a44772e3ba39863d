// The libraries of the page that are not modules: the bundle of d3.js, and 3Dmol.js once it has been started.

type D3 = typeof import("d3-polygon") & typeof import("d3-quadtree") & typeof import("d3-selection") & typeof import("d3-zoom")
  & typeof import("d3-array") & typeof import("d3-axis") & typeof import("d3-scale") & typeof import("d3-shape");
type D3Scale = import("d3-scale").ScaleLinear<number, number> | import("d3-scale").ScalePower<number, number>;
type D3Axis = import("d3-axis").Axis<import("d3-scale").NumberValue>;
type D3Zoom<E extends Element> = import("d3-zoom").ZoomBehavior<E, unknown>;
type D3Line<T> = import("d3-shape").Line<T>;
type D3Transform = import("d3-zoom").ZoomTransform;

declare const d3: D3;

interface Window {
  $3Dmol: typeof import("3dmol");
}
