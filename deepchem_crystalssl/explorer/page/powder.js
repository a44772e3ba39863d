// The mode for powder patterns: a list of them, and of one the figure, the phases, the candidates and the files.

import { make } from "#elements";
import { createFigure } from "#powder_figure";
import { asPng, figureFile, save } from "#powder_export";
import { createForm } from "#powder_form";
import { patternList } from "#powder_list";
import { radiationWords, stemOf } from "#powder_numbers";
import { createPatterns } from "#powder_patterns";
import { sentenceOf } from "#requests";
import { candidatesTable, hypothesesTable, markCandidate, phasesTable, quality, sentences } from "#powder_tables";

const FILES = [["CIF of the phases", "phases.cif"], ["Reflections (CSV)", "reflections.csv"], ["Report (HTML)", "report.html"], ["All files (ZIP)", "export.zip"]];

/** @param {string} text @param {() => void} onClick @returns {HTMLButtonElement} */
function button(text, onClick, title = "") {
  const one = make("button", "", text);
  one.type = "button";
  one.title = title;
  one.onclick = onClick;
  return one;
}

/**
 * @param {HTMLElement} container Empty; the mode fills it.
 * @param {{ openCrystal: (row: number) => void, showMode: (mode: "map" | "powder") => void }} host
 * @returns {{
 *   addFiles: (files: Iterable<File>, options?: import("#requests").PatternOptions) => void,
 *   addAnswer: (answer: import("#powder_patterns").Answer, file: File, options?: import("#requests").PatternOptions) => void,
 *   show: () => void,
 * }} addFiles asks about files and shows the first; addAnswer shows what was asked already; show draws when the mode is entered.
 */
export function mountPowder(container, host) {
  container.classList.add("powder");
  const main = make("div", "powder-answer"), side = make("div", "powder-side"), empty = make("div", "powder-empty");
  const head = make("div", "powder-head"), shownLine = make("div", "powder-shown"), tools = make("div", "powder-tools");
  const box = make("div", "powder-box"), tables = make("div", "powder-tables"), files = make("div", "powder-files"), listBox = make("div");
  const message = make("p", "powder-message"), chooser = make("input");
  message.setAttribute("role", "status");
  shownLine.setAttribute("role", "status");
  tools.setAttribute("role", "toolbar");
  tools.setAttribute("aria-label", "Figure");
  const figure = createFigure(box), form = createForm({ onAsk: askAgain }), patterns = createPatterns(changed);
  /** @type {{ id: number | null, rank: number | null }} */
  let shown = { id: null, rank: null };
  /** The answer that the figure draws. @type {import("#powder_patterns").Answer | null} */
  let drawn = null;
  /** The answer that the tables tell. @type {import("#powder_patterns").Answer | null} */
  let told = null;

  chooser.type = "file";
  chooser.multiple = true;
  chooser.hidden = true;
  chooser.className = "powder-chooser";
  chooser.onchange = () => { const chosen = [...(chooser.files ?? [])]; chooser.value = ""; addFiles(chosen); };
  const roots = button("√ scale", () => {
    const on = roots.getAttribute("aria-pressed") !== "true";
    roots.setAttribute("aria-pressed", String(on));
    figure.setRoots(on);
  }, "Square roots of the intensities, which show weak lines");
  roots.setAttribute("aria-pressed", "false");
  const nearer = button("+", () => figure.widen(0.6), "Show less"), farther = button("−", () => figure.widen(1 / 0.6), "Show more");
  nearer.setAttribute("aria-label", "Zoom in");
  farther.setAttribute("aria-label", "Zoom out");
  tools.append(button("Whole pattern", () => figure.reset()), nearer, farther, roots,
    make("small", "", "Drag or scroll to zoom, double click for all. Shift and drag moves, shift and scroll stretches weak lines."));
  const left = button("What is left?", () => { const pattern = current(); if (pattern) choose(patterns.addRest(pattern).id, null); },
    "Search in what the phases do not explain");
  left.classList.add("powder-left");
  files.append(make("h3", "", "Save"), button("Figure (SVG)", () => saveFigure("svg")), button("Figure (PNG)", () => saveFigure("png")),
    ...FILES.map(([words, file]) => button(words, () => saveFile(file))));
  empty.append(make("h2", "", "Powder patterns"), make("p", "", "Drop files here, or choose them: columns of angles and counts (.xy, .xye, .csv, …), or files of diffractometers (.raw, .brml, .xrdml, …). Several at once make a list."),
    button("Choose powder patterns", () => chooser.click()));
  side.append(button("Add powder patterns", () => chooser.click()), chooser, listBox, form.element, files);
  const stage = make("div", "powder-stage");
  stage.append(shownLine, box, tools);
  main.append(head, stage, message, tables);
  const layout = make("div", "powder-layout");
  layout.append(empty, main, side);
  container.append(layout);

  function current() { return patterns.all.find((one) => one.id === shown.id) ?? null; }
  /** @param {string} text @param {boolean} [isError] */
  function say(text, isError = false) { message.textContent = text; message.classList.toggle("error", isError); }

  /** @param {import("#powder_patterns").Pattern} pattern */
  function changed(pattern) {
    if (shown.id === null) choose(pattern.id, null);
    else if (pattern.id === shown.id) render();
    else renderList();
  }

  function renderList() {
    // The button that has the focus keeps it, though the list is made anew.
    const focused = document.activeElement?.closest?.(".powder-list button")?.getAttribute("data-pattern");
    listBox.replaceChildren(patternList(patterns.all, shown.id, (one) => choose(one.id, null)));
    const again = listBox.querySelector(`[data-pattern="${focused}"]`);
    if (again instanceof HTMLElement) again.focus();
  }

  /** @param {number} id @param {number | null} rank Of the candidate; null for all phases. */
  function choose(id, rank, remember = true) {
    if (id === shown.id && rank === shown.rank) return;
    const first = shown.id === null;
    shown = { id, rank };
    if (remember) history[first ? "replaceState" : "pushState"]({ ...history.state, powder: shown }, "");
    say("");
    form.say("");
    const pattern = current();
    if (pattern) form.fill(pattern.options, { rest: pattern.of !== null, many: patterns.all.length > 1 });
    render();
  }
  addEventListener("popstate", (event) => {
    const wanted = event.state?.powder;
    if (wanted && patterns.all.some((one) => one.id === wanted.id)) choose(wanted.id, wanted.rank, false);
  });

  function render() {
    const pattern = current(), answer = pattern?.answer;
    empty.hidden = pattern !== null;
    main.hidden = side.hidden = pattern === null;
    if (!pattern) return;
    renderList();
    container.dataset.state = pattern.state;
    form.setBusy(pattern.state === "waiting" || pattern.state === "reading");
    head.replaceChildren(make("h2", "", pattern.name));
    for (const part of [stage, tables, files]) part.hidden = !answer;
    left.disabled = pattern.state !== "answer";
    if (pattern.state === "waiting") head.append(make("p", "", "Waiting for the patterns before it …"));
    if (pattern.state === "reading") head.append(make("p", "", "Comparing it with the crystals of the index …"));
    if (pattern.error) head.append(make("p", "powder-error", pattern.error));
    shownLine.replaceChildren();
    if (!answer) return;
    head.append(...sentences(answer), make("p", "powder-facts", `${radiationWords(answer.radiation)} · ${quality(answer, pattern.of !== null)}`));
    if (told !== answer) { // otherwise the tables stay as they were sorted
      told = answer;
      const hypotheses = hypothesesTable(answer);
      tables.replaceChildren(phasesTable(answer, host.openCrystal),
        candidatesTable(answer, (rank) => chooseCandidate(pattern.id, rank), host.openCrystal), ...(hypotheses ? [hypotheses] : []));
    }
    markCandidate(tables, shown.rank);
    renderFigure(pattern, answer);
  }

  /** A candidate that is chosen far from the figure is shown where it can be seen. @param {number} id @param {number} rank */
  function chooseCandidate(id, rank) {
    choose(id, rank);
    const { top, bottom } = stage.getBoundingClientRect();
    if (bottom < 120 || top > innerHeight - 120) stage.scrollIntoView();
  }

  /** @param {import("#powder_patterns").Pattern} pattern @param {import("#powder_patterns").Answer} answer */
  function renderFigure(pattern, answer) {
    const { rank } = shown, { curve, radiation } = answer, unit = answer.counted ? "counts" : "", keep = drawn === answer;
    drawn = answer;
    if (rank === null) {
      shownLine.append(make("b", "", answer.phases.length > 1 ? "Shown: all phases together" : "Shown: the phase"), left);
      figure.draw({ curve, phases: answer.phases, radiation, unit }, keep);
      return;
    }
    const match = answer.matches[rank - 1];
    shownLine.append(make("b", "", `Shown: candidate ${rank}, ${match.formula} (${match.material_id}), score ${match.score.toFixed(3)}`),
      button("Back to all phases", () => choose(pattern.id, null)));
    figure.draw({ curve: { ...curve, calculated: match.calculated, parts: [] }, phases: [match], radiation, unit }, keep);
  }

  /** @param {import("#requests").PatternOptions} options @param {boolean} everywhere */
  function askAgain(options, everywhere) {
    const pattern = current();
    if (!pattern) return;
    choose(pattern.id, null); // the candidates may be others then
    form.say("");
    for (const one of everywhere ? patterns.all.filter((each) => each.of === null) : [pattern]) {
      patterns.ask(one, options).then(() => { if (one.id === shown.id) form.say(one.error, true); });
    }
  }

  /** Two lines over a figure that is saved: the pattern, and what is shown with it. @param {import("#powder_patterns").Pattern} pattern */
  function titles({ answer, name }) {
    if (!answer) return [name, ""];
    const match = shown.rank === null ? null : answer.matches[shown.rank - 1];
    const named = (/** @type {{ formula: string, material_id: string }} */ one) => `${one.formula} (${one.material_id})`;
    return [name, match ? `candidate ${match.rank}, ${named(match)}` : answer.phases.map(named).join(", ")];
  }
  /** @param {"svg" | "png"} format */
  async function saveFigure(format) {
    const pattern = current();
    if (!pattern) return;
    const file = figureFile(figure.node, titles(pattern));
    save(format === "svg" ? new Blob([file.text], { type: "image/svg+xml" }) : await asPng(file), `${stemOf(pattern.name)}.${format}`);
  }
  /** @param {string} file That the server writes. */
  async function saveFile(file) {
    const pattern = current();
    if (!pattern) return;
    say("The file is being written …");
    try {
      save(await patterns.file(pattern, file), `${stemOf(pattern.name)}_${file}`);
      say("");
    } catch (error) {
      say(sentenceOf(error), true);
    }
  }

  /** @param {Iterable<File>} files @param {import("#requests").PatternOptions} [options] */
  function addFiles(files, options = {}) {
    if (![...files].length) return;
    host.showMode("powder"); // first, so that it is a step of the history of its own
    choose([...files].map((file) => patterns.add(file, options))[0].id, null);
  }

  render();
  return {
    addFiles,
    /** @param {import("#powder_patterns").Answer} answer @param {File} file @param {import("#requests").PatternOptions} [options] Of a pattern that was asked already. */
    addAnswer(answer, file, options = {}) {
      host.showMode("powder");
      choose(patterns.addAnswer(answer, file, options).id, null);
    },
    show() { render(); },
  };
}
