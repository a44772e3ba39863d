// The line that says what is going on.

import { $ } from "#elements";

export function say(text, isError = false) {
  $("message").textContent = text;
  $("message").className = isError ? "error" : "";
}
