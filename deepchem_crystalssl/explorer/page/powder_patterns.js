// The patterns of the user and their answers: asked one after the other, asked again where the server has forgotten.

import { request, queryOf, Refusal } from "#requests";
import { askFile } from "#upload";

/**
 * @typedef {"waiting" | "reading" | "answer" | "error"} State
 * @typedef {{
 *   id: number, name: string, file: File | null, of: Pattern | null, options: import("#requests").PatternOptions,
 *   state: State, answer: any, error: string, candidates: Map<number, any>,
 * }} Pattern A file, or what the phases of another pattern leave of it.
 */

/**
 * @param {(pattern: Pattern) => void} changed Called whenever the state of one has changed.
 */
export function createPatterns(changed) {
  /** @type {Pattern[]} */
  const all = [];
  /** @type {Promise<unknown>} */
  let turn = Promise.resolve();
  let last = 0;

  /** @param {{ name: string, file: File | null, of: Pattern | null, options: import("#requests").PatternOptions }} given */
  function put(given) {
    /** @type {Pattern} */
    const pattern = { ...given, id: ++last, state: "waiting", answer: null, error: "", candidates: new Map() };
    all.push(pattern);
    changed(pattern);
    return pattern;
  }

  /** Questions wait for each other, so that the server is not asked for many files at once. */
  function inTurn(work) {
    const done = turn.then(work);
    turn = done.catch(() => {});
    return done;
  }

  /** @param {Pattern} pattern @param {import("#requests").PatternOptions} options */
  async function answerTo(pattern, options) {
    const found = pattern.of
      ? await withKey(pattern.of, async (key) => (await request(`answers/${key}/rest${queryOf(options)}`, { method: "POST" })).json())
      : await askFile(pattern.file, options);
    if (found.kind !== "pattern") throw new Error(`${pattern.name} is a crystal, not a pattern. Drop it on the map.`);
    return found;
  }

  /**
   * Does something with the key of an answer. If the server has forgotten it, the pattern is asked again first.
   * @template T
   * @param {Pattern} pattern @param {(key: string) => Promise<T>} work @returns {Promise<T>}
   */
  async function withKey(pattern, work) {
    try {
      return await work(pattern.answer.key);
    } catch (error) {
      if (!(error instanceof Refusal) || error.status !== 410) throw error;
      pattern.answer.key = (await answerTo(pattern, pattern.options)).key;
      return work(pattern.answer.key);
    }
  }

  /**
   * Asks for a pattern, perhaps with other options. An answer that is there already stays if the new one fails.
   * @param {Pattern} pattern @param {import("#requests").PatternOptions} options
   * @returns {Promise<void>} Fulfilled when its state says what came of it.
   */
  function ask(pattern, options) {
    Object.assign(pattern, { state: "waiting", error: "" });
    changed(pattern);
    return inTurn(async () => {
      pattern.state = "reading";
      changed(pattern);
      try {
        const answer = await answerTo(pattern, options);
        Object.assign(pattern, { state: "answer", answer, options, candidates: new Map() });
      } catch (error) {
        Object.assign(pattern, { state: pattern.answer ? "answer" : "error", error: error.message });
      }
      changed(pattern);
    });
  }

  return {
    all,
    ask,
    /** @param {File} file @param {import("#requests").PatternOptions} options @returns {Pattern} */
    add(file, options) {
      const pattern = put({ name: file.name, file, of: null, options });
      ask(pattern, options);
      return pattern;
    },
    /** @param {any} answer @param {File} file @param {import("#requests").PatternOptions} options @returns {Pattern} */
    addAnswer(answer, file, options) {
      const pattern = put({ name: file.name, file, of: null, options });
      Object.assign(pattern, { state: "answer", answer });
      changed(pattern);
      return pattern;
    },
    /** @param {Pattern} pattern @returns {Pattern} What its phases leave, which is asked for. */
    addRest(pattern) {
      const { elements = [], allowed = [], ...others } = pattern.options;
      const options = { ...others, allowed: [...elements, ...allowed], phases: "" };
      const rest = put({ name: `What is left of ${pattern.name}`, file: null, of: pattern, options });
      ask(rest, options);
      return rest;
    },
    /** @param {Pattern} pattern @param {number} rank From 1. @returns {Promise<any>} The curves of a candidate. */
    async candidate(pattern, rank) {
      const answer = pattern.answer;
      if (!pattern.candidates.has(rank)) {
        const found = await withKey(pattern, async (key) => (await request(`answers/${key}/candidate-${rank}`)).json());
        if (pattern.answer === answer) pattern.candidates.set(rank, found);
        return found;
      }
      return pattern.candidates.get(rank);
    },
    /** @param {Pattern} pattern @param {string} file @returns {Promise<Blob>} A file that the server writes of the answer. */
    file: (pattern, file) => withKey(pattern, async (key) => (await request(`answers/${key}/${file}`)).blob()),
  };
}
