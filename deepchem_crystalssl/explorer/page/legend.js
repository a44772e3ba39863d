// The legend: what colours mean. A click on a kind keeps this kind alone, or adds it to those that are kept.

import { columns, label, labelWithUnit, n, shortNumber } from "#data";
import { $, make } from "#elements";
import { without } from "#filters";
import { onChange, state, update } from "#state";

export function fillColorChoice() {
  const options = [...columns.keys()].map((name) => new Option(labelWithUnit(name), name));
  $("color").replaceChildren(...options);
  for (const axis of ["x", "y"]) {
    const choices = [...columns.keys()].map((name) => new Option(labelWithUnit(name), name));
    $(axis).replaceChildren(new Option("the map", ""), ...choices);
  }
}

$("color").onchange = () => update({ color: $("color").value });
for (const axis of ["x", "y"]) {
  $(axis).onchange = () => {
    const other = axis === "x" ? "y" : "x", first = [...columns.values()].find((c) => !c.categories)?.name ?? "";
    // One column alone is no plot: the other axis goes along.
    update({ [axis]: $(axis).value, ...($(axis).value === "" ? { [other]: "" } : $(other).value === "" ? { [other]: first } : {}), view: null });
  };
}

/**
 * @param {string} name  The column.
 * @param {{ kinds?: import("#scales").KindScale, numbers?: import("#scales").NumberScale, colors: string[] }} scale
 */
export function showLegend(name, { kinds, numbers, colors }) {
  const key = $("key");
  key.replaceChildren();
  $("color").value = name;
  for (const axis of /** @type {const} */ (["x", "y"])) $(axis).value = columns.has(state()[axis]) ? state()[axis] : "";
  if (kinds) {
    kinds.named.forEach((kind, i) => key.append(kindRow(name, kind, colors[i])));
    if (kinds.others) key.append(make("div", "ends", `${kinds.others.toLocaleString("en")} others or unknown, grey`));
  }
  if (numbers) {
    const bar = make("div", "bar");
    bar.style.background = `linear-gradient(90deg, ${colors.join(",")})`;
    key.append(make("span", "ends", shortNumber(numbers.low)), bar,
      make("span", "ends", `${shortNumber(numbers.high)}${numbers.isLogarithmic ? ", logarithmic" : ""}`));
    if (numbers.known < n) key.append(make("div", "ends", `${(n - numbers.known).toLocaleString("en")} unknown, grey`));
  }
}

/** @param {string} column @param {{ name: string, count: number }} kind @param {string} color */
function kindRow(column, kind, color) {
  const row = make("button"), dot = make("i");
  dot.style.background = color;
  row.append(dot, make("span", "", kind.name), make("small", "", kind.count.toLocaleString("en")));
  row.title = `Keep only ${label(column)} ${kind.name}, or add it to those that are kept`;
  row.dataset.kind = kind.name;
  row.setAttribute("aria-pressed", String(state().kinds[column]?.includes(kind.name) ?? false));
  row.onclick = () => {
    const kept = state().kinds[column] ?? [], others = without(state().kinds, column);
    const now = kept.includes(kind.name) ? kept.filter((one) => one !== kind.name) : [...kept, kind.name];
    update({ kinds: now.length ? { ...others, [column]: now } : others });
  };
  return row;
}

onChange(({ kinds }, changed) => {
  if (!changed.has("kinds")) return;
  const kept = kinds[$("color").value] ?? [];
  for (const row of $("key").querySelectorAll("button")) row.setAttribute("aria-pressed", String(kept.includes(row.dataset.kind)));
});
