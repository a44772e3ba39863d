// The libraries of the page that are not modules, as far as it uses them.

/** A selection of d3 of one element. */
interface D3Selection<E extends Element> {
  call(behaviour: (selection: any) => void): this;
  call(transform: (...values: any[]) => any, ...values: any[]): this;
  on(types: string, listener: ((event: any) => void) | null): this;
  node(): E;
}

interface D3Transform {
  readonly k: number;
  readonly x: number;
  readonly y: number;
  translate(x: number, y: number): D3Transform;
  scale(k: number): D3Transform;
  invert(point: [number, number]): [number, number];
  invertX(x: number): number;
  rescaleX(scale: D3Scale): D3Scale;
  applyX(x: number): number;
  apply(point: [number, number]): [number, number];
}

interface D3Zoom {
  (selection: any): void;
  scaleExtent(extent: [number, number]): this;
  translateExtent(extent: [[number, number], [number, number]]): this;
  extent(extent: [[number, number], [number, number]]): this;
  clickDistance(distance: number): this;
  filter(filter: (event: any) => boolean): this;
  on(types: string, listener: ((event: any) => void) | null): this;
  transform: (...values: any[]) => any;
  scaleBy: (...values: any[]) => any;
  translateBy: (...values: any[]) => any;
}

interface D3Scale {
  (value: number): number;
  domain(): [number, number];
  domain(ends: number[]): this;
  range(): [number, number];
  range(ends: number[]): this;
  invert(value: number): number;
  copy(): this;
}

interface D3Axis {
  (selection: any): void;
  ticks(count: number): this;
  tickFormat(format: (value: number) => string): this;
  tickSizeOuter(size: number): this;
}

interface D3Line<T> {
  (points: Iterable<T>): string | null;
  digits(digits: number): this;
}

interface D3Quadtree<T> {
  find(x: number, y: number, radius?: number): T | undefined;
}

declare const d3: {
  select<E extends Element>(element: E): D3Selection<E>;
  pointer(event: any, target?: Element): [number, number];
  zoom(): D3Zoom;
  scaleLinear(domain?: number[], range?: number[]): D3Scale;
  scaleSqrt(domain?: number[], range?: number[]): D3Scale;
  axisBottom(scale: D3Scale): D3Axis;
  axisLeft(scale: D3Scale): D3Axis;
  line<T>(x: (one: T) => number, y: (one: T) => number): D3Line<T>;
  bisectLeft(sorted: number[], value: number): number;
  zoomIdentity: D3Transform;
  quadtree<T>(data: Iterable<T>, x?: (one: T) => number, y?: (one: T) => number): D3Quadtree<T>;
  polygonContains(corners: [number, number][], point: [number, number]): boolean;
};

interface Point3D {
  x: number;
  y: number;
  z: number;
}

/** A shape or model of 3Dmol.js; only handed back to it. */
type Drawn3D = object;

interface Viewer3D {
  addModel(): Model3D;
  addCustom(shape: {
    vertexArr: Point3D[]; normalArr: Point3D[]; faceArr: number[]; color: string; opacity?: number;
  }): Drawn3D;
  addLine(line: { start: Point3D; end: Point3D; color?: string; linewidth?: number }): Drawn3D;
  addSphere(sphere: { center: Point3D; radius: number; color: string }): Drawn3D;
  addLabel(text: string, style: object): Drawn3D;
  removeAllShapes(): void;
  removeAllModels(): void;
  removeAllLabels(): void;
  setStyle(selection: object, style: object): void;
  setBackgroundColor(color: string, alpha?: number): void;
  setProjection(kind: "orthographic" | "perspective"): void;
  setView(view: number[]): void;
  getView(): number[];
  zoomTo(selection?: object): void;
  zoom(factor: number): void;
  rotate(degrees: number, axis: "x" | "y" | "z"): void;
  translate(x: number, y: number): void;
  render(): void;
  resize(): void;
  clear(): void;
  pngURI(): string;
}

interface Model3D {
  addAtoms(atoms: Atom3D[]): void;
}

interface Atom3D extends Point3D {
  elem: string;
  serial: number;
  bonds: number[];
  bondOrder: number[];
}

interface Library3D {
  createViewer(box: Element, options: object): Viewer3D;
  elementColors: { Jmol: Record<string, number> };
}

interface Window {
  $3Dmol: Library3D;
}
