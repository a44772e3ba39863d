// Filters: the chips that show which are in force, the periodic table, and a histogram for each column of numbers.

import { columns, elementShares, label, labelWithUnit, n } from "#data";
import { $, make } from "#elements";
import { filtersOf, passing, without } from "#filters";
import { histogram } from "#histogram";
import { axisAlong, known } from "#known";
import { periodicTable } from "#periodic_table";
import { onChange, state, update } from "#state";

/** @param {import("#filters").Filter[]} filters @param {number} count  Crystals that pass. */
export function showChips(filters, count) {
  const bar = $("chips");
  bar.replaceChildren(...filters.map((filter) => {
    const chip = make("button", "chip", filter.words), cross = make("span", "", "×");
    cross.setAttribute("aria-hidden", "true");
    chip.setAttribute("aria-label", `${filter.words}: remove this filter`);
    chip.append(cross);
    chip.onclick = () => update(filter.without);
    return chip;
  }));
  bar.hidden = !filters.length;
  $("count").textContent = filters.length
    ? `${count.toLocaleString("en")} of ${n.toLocaleString("en")} crystals` : `${n.toLocaleString("en")} crystals`;
  if (filters.length > 1) {
    const all = make("button", "chip all", "Remove all");
    all.onclick = () => update(filters.reduce((changes, filter) => ({ ...changes, ...emptied(filter.without) }), {}));
    bar.append(all);
  }
}

/** The change of the state that ends all filters of a kind. @param {Partial<import("#state").State>} change */
function emptied(change) {
  const ends = { ...change };
  if (ends.kinds) ends.kinds = {};
  if (ends.ranges) ends.ranges = {};
  return ends;
}

/** @type {Map<string, ReturnType<typeof histogram>>} */
const histograms = new Map();
/** @type {ReturnType<typeof periodicTable> | null} */
let table = null;

/** Each histogram counts the crystals that pass the filters of all others. */
async function refresh() {
  if ($("filters").hidden) return;
  table?.show(state());
  const { ranges } = state();
  for (const [name, one] of histograms) {
    one.show(await passing(filtersOf({ ...state(), ranges: without(ranges, name) }, label), known), ranges[name]);
  }
}

async function build() {
  table = periodicTable(elementShares().keys(), (choice) => update(choice));
  const numbers = [...columns.values()].filter((column) => !column.categories);
  for (const { name } of numbers) {
    histograms.set(name, histogram(await axisAlong(name), labelWithUnit(name), (range) => {
      const others = without(state().ranges, name);
      update({ ranges: range ? { ...others, [name]: range } : others });
    }));
  }
  $("filters").append(make("h2", "", "Elements"), table.element,
    make("p", "hint", "A click on an element: it must be contained. Again: it may be. Once more: it must not."),
    make("h2", "", "Properties"), ...[...histograms.values()].map((one) => one.element));
}

/** @param {boolean} isOpen */
export async function openFilters(isOpen) {
  $("filters").hidden = !isOpen;
  $("filter").setAttribute("aria-expanded", String(isOpen));
  if (isOpen && !table) await build();
  await refresh();
}
$("filter").onclick = () => openFilters($("filters").hidden);

onChange((_, changed) => {
  if (["search", "kinds", "ranges", "must", "may", "not", "lasso"].some((key) => changed.has(/** @type {any} */ (key)))) refresh();
});
