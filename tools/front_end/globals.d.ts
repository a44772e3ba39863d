// The libraries of the page that are not modules: the bundle of d3.js, and 3Dmol.js once it has been started.

type D3 = typeof import("d3-polygon") & typeof import("d3-quadtree") & typeof import("d3-selection") & typeof import("d3-zoom");

declare const d3: D3;

interface Window {
  $3Dmol: typeof import("3dmol");
}
