// The patterns of the user and their answers: asked one after the other, asked again where the server has forgotten.

import { queryOf, Refusal, request, sentenceOf } from "#requests";
import { askFile } from "#upload";

/**
 * What the server says of a pattern; see powder_answers.py.
 * @typedef {"high" | "fair" | "low" | "none"} Confidence
 * @typedef {{ row: number, material_id: string, formula: string, space_group: number | null, symbol: string }} Named
 * @typedef {Named & { rank: number, score: number, fit: number, similarity: number, probability: number, confidence: Confidence,
 *   r_wp: number, cell_scale: number, also: string[], calculated: number[], reflections: import("#powder_numbers").Reflections }} Match
 * @typedef {{ lengths: number[], angles: number[], volume: number, changes: number[] }} Cell
 * @typedef {Named & { weight_fraction: number, weight_fraction_error: number, probability: number, confidence: Confidence,
 *   group: string[], cell: Cell, reflections: import("#powder_numbers").Reflections }} Phase
 * @typedef {{ material_ids: string[], formulas: string[], weight_fractions: number[], r_wp: number }} Hypothesis
 * @typedef {{
 *   kind: string, name: string, key: string, verdict: string, probability: number, nothing_fits: boolean, unexplained: number,
 *   radiation: { label: string, wavelength: number, source: "given" | "file" | "assumed", stated: number | null },
 *   agreement: { r_wp: number, r_wp_above_background: number, r_exp: number | null, goodness_of_fit: number | null },
 *   counted: boolean, group: Named[], deciding: string[], missing: string[], phases: Phase[], hypotheses: Hypothesis[],
 *   matches: Match[], curve: import("#powder_numbers").Curve,
 * }} Answer
 *
 * @typedef {"waiting" | "reading" | "answer" | "error"} State
 * @typedef {{
 *   id: number, name: string, file: File | null, of: Pattern | null, options: import("#requests").PatternOptions,
 *   state: State, answer: Answer | null, error: string,
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
    const pattern = { ...given, id: ++last, state: "waiting", answer: null, error: "" };
    all.push(pattern);
    changed(pattern);
    return pattern;
  }

  /**
   * Questions wait for each other, so that the server is not asked for many files at once.
   * @template T
   * @param {() => Promise<T>} work @returns {Promise<T>}
   */
  function inTurn(work) {
    const done = turn.then(work);
    turn = done.catch(() => {});
    return done;
  }

  /** @param {Pattern} pattern @param {import("#requests").PatternOptions} options @returns {Promise<Answer>} */
  async function answerTo(pattern, options) {
    const found = pattern.of
      ? await withKey(pattern.of, async (key) => (await request(`answers/${key}/rest${queryOf(options)}`, { method: "POST" })).json())
      : await askFile(/** @type {File} */ (pattern.file), options);
    if (found.kind !== "pattern") throw new Error(`${pattern.name} is a crystal, not a pattern. Drop it on the map.`);
    return found;
  }

  /**
   * Does something with the key of an answer. If the server has forgotten it, the pattern is asked again first.
   * @template T
   * @param {Pattern} pattern @param {(key: string) => Promise<T>} work @returns {Promise<T>}
   */
  async function withKey(pattern, work) {
    const answer = /** @type {Answer} */ (pattern.answer); // only of a pattern with an answer more is asked
    try {
      return await work(answer.key);
    } catch (error) {
      if (!(error instanceof Refusal) || error.status !== 410) throw error;
      answer.key = (await answerTo(pattern, pattern.options)).key;
      return work(answer.key);
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
        Object.assign(pattern, { state: "answer", answer, options });
      } catch (error) {
        Object.assign(pattern, { state: pattern.answer ? "answer" : "error", error: sentenceOf(error) });
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
    /** @param {Answer} answer @param {File} file @param {import("#requests").PatternOptions} options @returns {Pattern} */
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
    /** @param {Pattern} pattern @param {string} file @returns {Promise<Blob>} A file that the server writes of the answer. */
    file: (pattern, file) => withKey(pattern, async (key) => (await request(`answers/${key}/${file}`)).blob()),
  };
}
