export { polygonContains } from "d3-polygon";
export { quadtree } from "d3-quadtree";
export { pointer, select } from "d3-selection";
export { zoom, zoomIdentity } from "d3-zoom";
