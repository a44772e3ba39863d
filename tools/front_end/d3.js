export { bisectLeft } from "d3-array";
export { axisBottom, axisLeft } from "d3-axis";
export { polygonContains } from "d3-polygon";
export { quadtree } from "d3-quadtree";
export { scaleLinear, scaleSqrt } from "d3-scale";
export { pointer, select } from "d3-selection";
export { line } from "d3-shape";
export { zoom, zoomIdentity } from "d3-zoom";
