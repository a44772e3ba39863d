// The page inside the widget of a notebook: the two talk by messages. Elsewhere these functions do nothing.
//
// page -> widget  { type: "ready" }                                  the page listens
//                 { type: "ask", part }                              a part of the data is wanted
//                 { type: "state", selection?, crystal?, color? }    what the user has changed: rows, row or null, name
// widget -> page  { type: "part", part, bytes?, error? }             an answer to "ask"; the bytes are gzipped
//                 { type: "set", column?, color?, highlighted?, crystal? }    what Python has changed

/** The name that the widget gives to the frame of the page. */
export const inNotebook = window.name === "crystalssl-map" && parent !== window;

/** @type {Map<string, { resolve: (bytes: Uint8Array<ArrayBuffer>) => void, reject: (error: Error) => void }[]>} */
const asked = new Map();
const order = ["column", "color", "highlighted", "crystal"]; // a colour may be that of a new column
/** @type {Record<string, (value: any) => any>} */
let handlers = {};
let turn = Promise.resolve();

// The page cannot know the origin of its notebook; what it sends are rows and names.
const send = (/** @type {object} */ message) => parent.postMessage(message, "*");

/**
 * Calls the handlers when Python changes something. A new column has numbers (Float32Array, NaN where unknown), or
 * categories and their places (Uint16Array, 65535 where unknown).
 * @param {{ highlighted(rows: number[]): any, color(name: string): any, crystal(row: number | null): any,
 *   column(column: { name: string, categories: string[] | null, values: Float32Array | Uint16Array }): any }} functions
 */
export function listen(functions) {
  handlers = functions;
  if (inNotebook) send({ type: "ready" });
}

/**
 * Tells Python what the user has changed.
 * @param {{ selection?: number[], crystal?: number | null, color?: string }} state
 */
export function tell(state) {
  if (inNotebook) send({ type: "state", ...state });
}

/**
 * A part of the data of the page, gzipped.
 * @param {string} part
 * @returns {Promise<Uint8Array<ArrayBuffer>>}
 */
export function askPart(part) {
  return new Promise((resolve, reject) => {
    asked.set(part, [...(asked.get(part) ?? []), { resolve, reject }]);
    send({ type: "ask", part });
  });
}

if (inNotebook) addEventListener("message", ({ source, data }) => {
  if (source !== parent) return;
  if (data.type === "part") {
    const waiting = asked.get(data.part) ?? [];
    asked.delete(data.part);
    for (const one of waiting) data.error ? one.reject(new Error(data.error)) : one.resolve(data.bytes);
  } else if (data.type === "set") {
    turn = turn.then(async () => {
      for (const name of order) if (name in data) await handlers[name](data[name]);
    }).catch((error) => console.error(error)); // the next message is answered all the same
  }
});
