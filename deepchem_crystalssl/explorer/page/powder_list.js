// The list of the user's patterns.

import { make } from "#elements";
import { percent } from "#powder_numbers";
import { formulaElement } from "#tables";

const STATES = { waiting: "waiting", reading: "reading …", answer: "", error: "" };

/** What is found, in a line: phases, and how sure they are. @param {import("#powder_patterns").Answer} answer */
function found(answer) {
  const line = make("span", "powder-found");
  if (answer.nothing_fits) { line.append("nothing fits"); return line; }
  answer.phases.forEach((phase, k) => {
    if (k) line.append(", ");
    line.append(formulaElement(phase.formula));
    if (answer.phases.length > 1) line.append(` ${percent(phase.weight_fraction, phase.weight_fraction_error)}`);
  });
  line.append(` · ${answer.probability.toFixed(2)}`);
  return line;
}

/**
 * @param {import("#powder_patterns").Pattern[]} patterns @param {number | null} shown Id of the one that is shown.
 * @param {(pattern: import("#powder_patterns").Pattern) => void} onChoose
 * @returns {HTMLElement}
 */
export function patternList(patterns, shown, onChoose) {
  const list = make("ul", "powder-list");
  for (const pattern of patterns) {
    const item = make("li"), button = make("button");
    button.dataset.pattern = String(pattern.id);
    if (pattern.id === shown) button.setAttribute("aria-current", "true");
    const line = pattern.state === "answer" && pattern.answer ? found(pattern.answer)
      : make("span", pattern.state === "error" ? "powder-error" : "powder-found", STATES[pattern.state] || pattern.error);
    button.append(make("b", "", pattern.name), line);
    button.onclick = () => onChoose(pattern);
    item.append(button);
    list.append(item);
  }
  return list;
}
