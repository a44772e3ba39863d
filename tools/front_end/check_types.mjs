// Checks the types of the page's modules, which are written in comments, as tsc would.

import path from "node:path";
import ts from "typescript";

// Modules that are still without types. One without faults is named, so that the list becomes shorter.
const UNTYPED = new Set(["loader", "messages", "pattern"]);

const folder = import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname);
const config = ts.getParsedCommandLineOfConfigFile(path.join(folder, "tsconfig.json"), {}, {
  ...ts.sys, onUnRecoverableConfigFileDiagnostic: (fault) => { throw new Error(String(fault.messageText)); },
});
const faults = ts.getPreEmitDiagnostics(ts.createProgram(config.fileNames, config.options));
const moduleOf = (fault) => path.basename(fault.file?.fileName ?? "", ".js");
const counted = faults.filter((fault) => !UNTYPED.has(moduleOf(fault)));
process.stdout.write(ts.formatDiagnostics(counted, { getCanonicalFileName: (name) => name, getCurrentDirectory: () => path.join(folder, "../.."), getNewLine: () => "\n" }));
const names = new Set(config.fileNames.map((name) => path.basename(name, ".js"))), faulty = new Set(faults.map(moduleOf));
const finished = [...UNTYPED].filter((name) => !names.has(name) || !faulty.has(name));
if (finished.length) console.log(`Without faults, to be taken off the list in check_types.mjs: ${finished.join(", ")}`);
process.exitCode = counted.length ? 1 : 0;
