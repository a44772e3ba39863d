// The widget of a notebook: it shows the page in a frame of its own, and stands between the page and Python. The
// messages are described in bridge.js. The frame has no access to the notebook: it is of another origin.

const FRAME = "crystalssl-map";
const PERMISSIONS = "allow-scripts allow-forms allow-downloads allow-popups allow-popups-to-escape-sandbox";
const PATIENCE = 10000; // milliseconds

/** @param {DataView} view */
const bytesOf = (view) => new Uint8Array(/** @type {ArrayBuffer} */ (view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength)));

/** @param {Uint8Array<ArrayBuffer>} bytes gzipped */
const unpack = (bytes) => new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();

/**
 * Parts of the data, which the kernel gives.
 * @param {any} model
 */
function partsOf(model) {
  /** @type {Map<string, { resolve: (bytes: Uint8Array<ArrayBuffer>) => void, reject: (error: Error) => void }[]>} */
  const asked = new Map();
  const receive = (/** @type {{ part: string, error?: string }} */ message, /** @type {DataView[]} */ buffers) => {
    const waiting = asked.get(message.part) ?? [];
    asked.delete(message.part);
    for (const one of waiting) message.error ? one.reject(new Error(message.error)) : one.resolve(bytesOf(buffers[0]));
  };
  model.on("msg:custom", receive);
  return {
    /** @param {string} part */
    ask: (part) => /** @type {Promise<Uint8Array<ArrayBuffer>>} */ (new Promise((resolve, reject) => {
      asked.set(part, [...(asked.get(part) ?? []), { resolve, reject }]);
      model.send({ type: "ask", part });
    })),
    close: () => model.off("msg:custom", receive),
  };
}

/** @param {{ model: any, el: HTMLElement }} arguments */
function render({ model, el }) {
  const parts = partsOf(model), frame = document.createElement("iframe"), words = document.createElement("p");
  /** @type {Record<string, any>} */
  const told = {}; // by the page
  const sent = new Map(); // versions of the columns that the page has
  /** @type {string | null} */
  let address = null;
  let turn = Promise.resolve(), isReady = false;
  words.textContent = "Reading the map …";
  const late = setTimeout(() => { words.textContent += " If this lasts, no kernel answers: run the cell again."; }, PATIENCE);
  frame.name = FRAME;
  frame.title = "Map of crystals";
  frame.setAttribute("sandbox", PERMISSIONS);
  const fit = () => { frame.style.cssText = `border: 0; width: 100%; height: ${model.get("height")}px`; };
  fit();
  el.append(words);

  const send = (/** @type {object} */ message) => frame.contentWindow?.postMessage(message, "*"); // the frame's origin is null

  async function newColumns() {
    for (const { name, version, categories } of model.get("_columns")) {
      if (sent.get(name) === version) continue;
      const buffer = await unpack(await parts.ask(`column:${name}`));
      send({ type: "set", column: { name, categories, values: categories ? new Uint16Array(buffer) : new Float32Array(buffer) } });
      sent.set(name, version);
    }
  }
  const inTurn = (/** @type {() => any} */ action) => { turn = turn.then(action).catch((error) => console.error(error)); };
  // What the page has told is not sent back to it.
  const pass = (/** @type {string} */ name) => { if (isReady) inTurn(async () => {
    await newColumns();
    const value = model.get(name);
    if (told[name] !== value) send({ type: "set", [name]: value });
    told[name] = value;
  }); };

  const fromPage = (/** @type {MessageEvent} */ { source, data }) => {
    if (source !== frame.contentWindow) return;
    if (data.type === "ask") {
      parts.ask(data.part).then((bytes) => send({ type: "part", part: data.part, bytes }),
        (error) => send({ type: "part", part: data.part, error: error.message }));
    } else if (data.type === "ready") {
      isReady = true;
      sent.clear();
      inTurn(newColumns);
      for (const name of ["color", "highlighted", "crystal"]) {
        if (name === "color" || model.get(name)?.length || Number.isInteger(model.get(name))) { delete told[name]; pass(name); }
      }
    } else if (data.type === "state") {
      for (const name of ["selection", "crystal", "color"]) if (name in data) {
        told[name] = data[name];
        model.set(name, data[name]);
      }
      model.save_changes();
    }
  };
  addEventListener("message", fromPage);
  /** @type {Record<string, () => void>} */
  const watched = { "change:height": fit, "change:_columns": () => { if (isReady) inTurn(newColumns); } };
  for (const name of ["color", "highlighted", "crystal"]) watched[`change:${name}`] = () => pass(name);
  for (const [event, action] of Object.entries(watched)) model.on(event, action);

  parts.ask("page").then(unpack).then((page) => {
    address = URL.createObjectURL(new Blob([page], { type: "text/html" }));
    frame.src = address;
    el.replaceChildren(frame);
  }).catch((error) => { words.textContent = error.message; }).finally(() => clearTimeout(late));

  return () => {
    removeEventListener("message", fromPage);
    for (const [event, action] of Object.entries(watched)) model.off(event, action);
    parts.close();
    clearTimeout(late);
    if (address) URL.revokeObjectURL(address);
  };
}

export default { render };
