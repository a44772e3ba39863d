// Well-known crystals, with their lines of Cu K-alpha 1 by pymatgen (tests/explorer/test_reflections.py compares them).

import { readFileSync } from "node:fs";

export const CRYSTALS = JSON.parse(readFileSync(new URL("crystals.json", import.meta.url), "utf-8"));
