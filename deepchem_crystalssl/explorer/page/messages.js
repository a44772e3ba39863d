// The line that says what is going on.

import { $ } from "#elements";

/** @param {string} text @param {boolean} [isError] */
export function say(text, isError = false) {
  $("message").textContent = text;
  $("message").className = isError ? "error" : "";
}
