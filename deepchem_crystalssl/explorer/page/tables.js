// Tables of crystals: sorted by a click, saved as CSV. Words from data are always text, never markup.

import { make } from "#elements";

/**
 * @template Row
 * @typedef {object} Heading  A column of a table.
 * @property {string} name
 * @property {boolean} [number]
 * @property {(row: Row) => string | number | Node} of  What is shown.
 * @property {(row: Row) => string | number} [value]  What is sorted and saved; by default what is shown.
 * @property {string} [csv]  Its name in a file; by default the name.
 */

/** A formula with subscripts. @param {string} formula @param {keyof HTMLElementTagNameMap} [tag] */
export function formulaElement(formula, tag = "span") {
  const whole = make(tag);
  for (const part of formula.split(/(\d+\.?\d*)/)) whole.append(/^\d/.test(part) ? make("sub", "", part) : part);
  return whole;
}

/** @template Row @param {Heading<Row>} heading @param {Row} row @returns {string | number} */
function valueOf(heading, row) {
  const value = (heading.value ?? heading.of)(row);
  return value instanceof Node ? value.textContent ?? "" : value;
}

/** Numbers by size, words by the alphabet, and what is empty last. @param {string | number} a @param {string | number} b */
export function compare(a, b) {
  const empty = (/** @type {string | number} */ v) => v === "" || Number.isNaN(v);
  if (empty(a) || empty(b)) return Number(empty(a)) - Number(empty(b));
  const [p, q] = [Number(a), Number(b)];
  return Number.isNaN(p - q) ? String(a).localeCompare(String(b), "en", { numeric: true }) : p - q;
}

/**
 * A table that is sorted by a click on a heading.
 *
 * @template Row
 * @param {Heading<Row>[]} headings
 * @param {Row[]} rows
 * @param {(row: Row) => void} onRow  Called when a row is chosen.
 * @param {{ most?: number }} [options]  How many rows are shown.
 */
export function tableOf(headings, rows, onRow, { most = Infinity } = {}) {
  const table = make("table"), head = make("tr"), body = make("tbody");
  let sorted = rows, by = -1, falling = false;

  function fill() {
    body.replaceChildren(...sorted.slice(0, most).map((row) => {
      const line = make("tr");
      for (const heading of headings) {
        const cell = make("td", heading.number ? "number" : ""), shown = heading.of(row);
        cell.append(shown instanceof Node ? shown : String(shown));
        cell.title = cell.textContent ?? ""; // it may be cut
        line.append(cell);
      }
      line.tabIndex = 0;
      line.onclick = () => onRow(row);
      line.onkeydown = (event) => { if (event.key === "Enter") onRow(row); };
      return line;
    }));
  }

  headings.forEach((heading, place) => {
    const cell = make("th", heading.number ? "number" : ""), button = make("button", "", heading.name);
    button.type = "button";
    button.onclick = () => {
      falling = by === place ? !falling : Boolean(heading.number) && !heading.name.startsWith("distance");
      by = place;
      sorted = [...rows].sort((a, b) => {
        const [p, q] = [valueOf(heading, a), valueOf(heading, b)], order = compare(p, q);
        return falling && p !== "" && q !== "" ? -order : order;
      });
      head.querySelectorAll("th").forEach((other, i) => {
        if (i === place) other.setAttribute("aria-sort", falling ? "descending" : "ascending"); else other.removeAttribute("aria-sort");
      });
      fill();
    };
    cell.scope = "col";
    cell.append(button);
    head.append(cell);
  });
  fill();
  const top = make("thead");
  top.append(head);
  table.append(top, body);
  return table;
}

/** A cell of a CSV file. One that begins like a formula of a spreadsheet is made text. @param {string | number} value */
function cellOf(value) {
  const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** @template Row @param {Heading<Row>[]} headings @param {Row[]} rows */
export function csvOf(headings, rows) {
  const lines = [headings.map((heading) => heading.csv ?? heading.name), ...rows.map((row) => headings.map((h) => valueOf(h, row)))];
  return lines.map((line) => line.map(cellOf).join(",") + "\n").join("");
}

/** Save a text as a file. @param {string} name @param {string} text @param {string} type */
export function save(name, text, type = "text/csv") {
  const link = make("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
