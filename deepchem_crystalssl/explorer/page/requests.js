// Questions to the server of this page.

/** A refusal of the server, in a sentence; its status is 0 if it does not answer at all. */
export class Refusal extends Error {
  /** @param {number} status @param {string} sentence */
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

/** @param {unknown} error @returns {string} What it says. */
export const sentenceOf = (error) => (error instanceof Error ? error.message : String(error));

/**
 * What is known of a sample and its measurement.
 * @typedef {{ wavelength?: string, elements?: string[], allowed?: string[], excluded?: string[], phases?: string }} PatternOptions
 */

/**
 * @param {PatternOptions} options
 * @returns {string} The same as the query of an address, with its question mark; empty if nothing is known.
 */
export function queryOf(options) {
  const query = new URLSearchParams();
  if (options.wavelength) query.set("wavelength", options.wavelength);
  if (options.phases) query.set("phases", options.phases);
  for (const name of /** @type {const} */ (["elements", "allowed", "excluded"])) {
    const symbols = options[name];
    if (symbols?.length) query.set(name, symbols.join(","));
  }
  const text = query.toString();
  return text && `?${text}`;
}

/**
 * @param {string} path
 * @param {RequestInit} [init]
 * @returns {Promise<Response>} Rejected with a Refusal if the server does not answer, or not with what was asked for.
 */
export async function request(path, init) {
  let response;
  try {
    response = await fetch(path, init);
  } catch {
    throw new Refusal(0, "The server does not answer.");
  }
  if (response.ok) return response;
  const said = await response.json().catch(() => ({}));
  throw new Refusal(response.status, said.error ?? "The server could not answer.");
}
