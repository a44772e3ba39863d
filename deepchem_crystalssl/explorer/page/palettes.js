// Colours that people with any colour vision can tell apart.

const isDark = () => matchMedia("(prefers-color-scheme: dark)").matches;

// Kinds: the schemes "muted" and "light" of Paul Tol, for a light and a dark background.
const MUTED = ["#332288", "#88ccee", "#44aa99", "#117733", "#999933", "#ddcc77", "#cc6677", "#882255", "#aa4499"];
const LIGHT = ["#77aadd", "#99ddff", "#44bb99", "#bbcc33", "#aaaa00", "#eedd88", "#ee8866", "#ffaabb", "#dddddd"];
const VIRIDIS = ["#440154", "#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"];

/** @returns {{ kinds: string[], numbers: string[], unknown: string, paper: string }} */
export const palette = () => isDark()
  ? { kinds: LIGHT, numbers: VIRIDIS, unknown: "#4a5663", paper: "#12181f" }
  : { kinds: MUTED, numbers: VIRIDIS, unknown: "#d5dae0", paper: "#ffffff" };

/** Call a function when the colour scheme of the system changes. @param {() => void} follow */
export const onScheme = (follow) => matchMedia("(prefers-color-scheme: dark)").addEventListener("change", follow);

/** So many colours between those given. @param {string[]} colors @param {number} steps */
export function blend(colors, steps) {
  const parts = colors.map((c) => [1, 3, 5].map((i) => parseInt(c.slice(i, i + 2), 16)));
  return Array.from({ length: steps }, (_, k) => {
    const at = (k / (steps - 1)) * (colors.length - 1), low = Math.min(Math.floor(at), colors.length - 2);
    const mixed = parts[low].map((v, i) => Math.round(v + (at - low) * (parts[low + 1][i] - v)));
    return "#" + mixed.map((v) => v.toString(16).padStart(2, "0")).join("");
  });
}
