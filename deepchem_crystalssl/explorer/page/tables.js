// Tables of crystals. Words from data are always text, never markup.

import { make } from "#elements";

export function formulaElement(formula, tag = "span") {
  const whole = make(tag);
  for (const part of formula.split(/(\d+\.?\d*)/)) whole.append(/^\d/.test(part) ? make("sub", "", part) : part);
  return whole;
}

export function tableOf(headings, rows, onRow) {
  const table = make("table"), head = make("tr"), body = make("tbody");
  for (const heading of headings) head.append(make("th", heading.number ? "number" : "", heading.name));
  for (const row of rows) {
    const line = make("tr");
    headings.forEach((heading) => {
      const cell = make("td", heading.number ? "number" : ""), value = heading.of(row);
      cell.append(value instanceof Node ? value : String(value));
      cell.title = cell.textContent; // it may be cut
      line.append(cell);
    });
    line.tabIndex = 0;
    line.onclick = () => onRow(row);
    line.onkeydown = (event) => { if (event.key === "Enter") onRow(row); };
    body.append(line);
  }
  const top = make("thead");
  top.append(head);
  table.append(top, body);
  return table;
}
