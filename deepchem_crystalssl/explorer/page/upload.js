// Files of the user: chosen or dropped, and answered by the server.

import { meta } from "#data";
import { $ } from "#elements";
import { say } from "#messages";
import { queryOf, request, sentenceOf } from "#requests";

const PATTERNS = "xy xye dat csv tsv asc chi gsa gss xra fxye raw brml uxd xrdml udf ras rasx".split(" ");

/**
 * @param {string} name Of a file.
 * @returns {boolean} Whether its suffix says that it holds a powder pattern. A text (.txt) may also be a crystal.
 */
export function namesPattern(name) {
  return PATTERNS.includes((name.split(".").at(-1) ?? "").toLowerCase());
}

/**
 * Asks the server about a file.
 * @param {File} file
 * @param {import("#requests").PatternOptions} [options] What is known of a pattern.
 * @returns {Promise<any>} The answer: its kind is "crystal" or "pattern". Rejected with an Error that has the server's sentence.
 */
export async function askFile(file, options = {}) {
  if (file.size > meta.uploadBytes) throw new Error(`${file.name} is larger than the ${meta.uploadBytes / 1e6} MB allowed.`);
  const headers = { "X-File-Name": encodeURIComponent(file.name), "Content-Type": "application/octet-stream" };
  return (await request(`ask${queryOf(options)}`, { method: "POST", body: file, headers })).json();
}

/**
 * Wires the button, the field for files and the whole page as a place to drop files.
 * @param {{
 *   onCrystal: (answer: any, file: File) => void,
 *   onPattern: (answer: any, file: File, options: import("#requests").PatternOptions) => void,
 *   onPatterns?: (files: File[], options: import("#requests").PatternOptions) => void,
 *   isPattern?: (file: File) => boolean,
 *   onError?: (sentence: string) => void,
 * }} actions Files that are patterns by their names go to onPatterns unasked, if it is given; all others are asked here.
 */
export function mountUpload({ onCrystal, onPattern, onPatterns, isPattern = (file) => namesPattern(file.name), onError = (sentence) => say(sentence, true) }) {
  if (!meta.uploadBytes) return;

  /** @param {File[]} files */
  async function take(files) {
    const options = { wavelength: $("wavelength").value }, patterns = onPatterns ? files.filter(isPattern) : [];
    if (patterns.length) onPatterns?.(patterns, options);
    for (const file of files.filter((one) => !patterns.includes(one))) {
      say(`Reading ${file.name} …`);
      try {
        const answer = await askFile(file, options);
        say("");
        if (answer.kind === "crystal") onCrystal(answer, file); else onPattern(answer, file, options);
      } catch (error) {
        onError(sentenceOf(error));
      }
    }
  }

  $("upload").hidden = false;
  $("open").onclick = () => $("file").click();
  $("file").onchange = () => { const chosen = [...$("file").files]; $("file").value = ""; take(chosen); };
  let inside = 0;
  addEventListener("dragenter", (event) => { event.preventDefault(); inside++; $("drop").hidden = false; });
  addEventListener("dragleave", () => { if (--inside <= 0) { inside = 0; $("drop").hidden = true; } });
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    inside = 0;
    $("drop").hidden = true;
    take([...(event.dataTransfer?.files ?? [])]);
  });
}
