// What is known of a sample and its measurement: radiation, elements, number of phases; asked again by a button.

import { make, SYMBOLS } from "#elements";
import { periodicTable } from "#periodic_table";
import { symbolsIn } from "#powder_numbers";

const RADIATIONS = [["", "what the file says, or Cu Kα"], ["CuKa", "Cu Kα"], ["CuKa1", "Cu Kα₁"], ["CoKa", "Co Kα"], ["CoKa1", "Co Kα₁"],
  ["MoKa", "Mo Kα"], ["MoKa1", "Mo Kα₁"], ["CrKa", "Cr Kα"], ["FeKa", "Fe Kα"], ["AgKa", "Ag Kα"], ["other", "another wavelength"]];

/** @param {string} label @param {HTMLElement} input @param {string} [hint] */
function field(label, input, hint = "") {
  const box = make("label", "powder-field");
  box.append(make("span", "", label), input);
  if (hint) box.append(make("small", "", hint));
  return box;
}

/** @param {string} name */
function textField(name) {
  const input = make("input");
  input.name = name;
  input.autocomplete = "off";
  input.spellcheck = false;
  return input;
}

/**
 * @param {{ onAsk: (options: import("#requests").PatternOptions, everywhere: boolean) => void }} actions
 */
export function createForm({ onAsk }) {
  const element = make("form", "powder-form"), radiation = make("select"), length = textField("wavelength");
  radiation.name = "radiation";
  for (const [value, words] of RADIATIONS) radiation.append(new Option(words, value));
  length.inputMode = "decimal";
  const lengthField = field("wavelength in Å", length), radiationField = field("radiation", radiation);
  const elements = textField("elements"), allowed = textField("allowed"), excluded = textField("excluded");
  elements.placeholder = "Li Co O";
  const phases = make("select");
  phases.name = "phases";
  for (const [value, words] of [["", "as many as are needed"], ["1", "1"], ["2", "2"], ["3", "3"], ["4", "4"]]) phases.append(new Option(words, value));
  const again = make("button", "powder-main", "Search again"), everywhere = make("button", "", "Search all patterns again"), message = make("p", "powder-message");
  everywhere.type = "button";
  message.setAttribute("role", "status");
  const elementsField = field("contains", elements, "its phases contain no others than these and the next");
  const tableBox = make("details", "powder-elements");
  const table = periodicTable(SYMBOLS, ({ must, may, not }) => {
    [elements.value, allowed.value, excluded.value] = [must, may, not].map((symbols) => symbols.join(" "));
    showElements();
  });
  tableBox.append(make("summary", "", "Choose elements in the periodic table"), table.element,
    make("small", "", "A click on an element: it is contained. Again: it may be. Once more: it is not."));
  element.append(make("h3", "", "What is known"), radiationField, lengthField, elementsField,
    field("may contain", allowed), field("does not contain", excluded), tableBox, field("number of phases", phases), again, everywhere, message);

  function showElements() {
    table.show({ must: symbolsIn(elements.value), may: symbolsIn(allowed.value), not: symbolsIn(excluded.value) });
  }
  for (const one of [elements, allowed, excluded]) one.oninput = showElements;

  const adapt = () => { lengthField.hidden = radiation.value !== "other" || radiationField.hidden; };
  radiation.onchange = adapt;
  adapt();

  /** @returns {import("#requests").PatternOptions} */
  function options() {
    return {
      wavelength: radiation.value === "other" ? length.value.trim().replace(",", ".") : radiation.value,
      elements: symbolsIn(elements.value), allowed: symbolsIn(allowed.value), excluded: symbolsIn(excluded.value), phases: phases.value,
    };
  }
  element.onsubmit = (event) => { event.preventDefault(); onAsk(options(), false); };
  everywhere.onclick = () => onAsk(options(), true);

  return {
    element,
    options,
    /** @param {import("#requests").PatternOptions} known @param {{ rest: boolean, many: boolean }} kind Of what is shown. */
    fill(known, { rest, many }) {
      const named = RADIATIONS.some(([value]) => value === (known.wavelength ?? ""));
      radiation.value = named ? known.wavelength ?? "" : "other";
      length.value = named ? "" : known.wavelength ?? "";
      elements.value = (known.elements ?? []).join(" ");
      allowed.value = (known.allowed ?? []).join(" ");
      excluded.value = (known.excluded ?? []).join(" ");
      phases.value = known.phases ?? "";
      radiationField.hidden = rest; // it was measured with that of the whole
      elementsField.hidden = tableBox.hidden = rest; // a phase of the rest need not have the elements that others have
      showElements();
      everywhere.hidden = !many;
      adapt();
    },
    /** @param {string} text @param {boolean} [isError] */
    say(text, isError = false) { message.textContent = text; message.classList.toggle("error", isError); },
    /** @param {boolean} busy */
    setBusy(busy) { again.disabled = everywhere.disabled = busy; },
  };
}
