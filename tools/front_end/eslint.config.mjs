// Faults that a check of types does not see: names that are not used, code that is never reached, and so on.

import js from "@eslint/js";
import globals from "globals";

export default [
  { ignores: ["**/vendor/"] },
  {
    files: ["**/*.js", "**/*.mjs"],
    ...js.configs.recommended,
    languageOptions: { ecmaVersion: 2024, sourceType: "module", globals: { ...globals.browser, d3: "readonly" } },
    rules: { ...js.configs.recommended.rules, eqeqeq: "error", "no-eval": "error", "no-implied-eval": "error", "prefer-const": "error" },
  },
  { files: ["**/*.mjs"], languageOptions: { globals: globals.nodeBuiltin } },
];
