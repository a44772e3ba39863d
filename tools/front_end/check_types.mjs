// Checks the types of the page's modules, which are written in comments, as tsc would.

import path from "node:path";
import ts from "typescript";

const folder = import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname);
const config = ts.getParsedCommandLineOfConfigFile(path.join(folder, "tsconfig.json"), {}, {
  ...ts.sys, onUnRecoverableConfigFileDiagnostic: (fault) => { throw new Error(String(fault.messageText)); },
});
const faults = ts.getPreEmitDiagnostics(ts.createProgram(config.fileNames, config.options));
process.stdout.write(ts.formatDiagnostics(faults, { getCanonicalFileName: (name) => name, getCurrentDirectory: () => path.join(folder, "../.."), getNewLine: () => "\n" }));
process.exitCode = faults.length ? 1 : 0;
