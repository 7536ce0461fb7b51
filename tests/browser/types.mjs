// Checks the types of scripts by their JSDoc comments, each with the scripts that it refers to; prints what is wrong.
import ts from "typescript";

/** @type {ts.CompilerOptions} */
const options = {
  allowJs: true,
  checkJs: true,
  noEmit: true,
  strict: true,
  noImplicitReturns: true,
  noFallthroughCasesInSwitch: true,
  target: ts.ScriptTarget.ES2022,
  // A page has no packages; a test of node's has those beside this file.
  types: [],
  lib: ["lib.es2023.d.ts", "lib.dom.d.ts", "lib.dom.iterable.d.ts"],
};
const files = process.argv.slice(2);
const host = ts.createCompilerHost(options);
/** @type {Map<string, ts.SourceFile | undefined>} */
const read = new Map(); // the declarations of the browser are parsed once for all scripts
const parse = host.getSourceFile;
host.getSourceFile = (name, ...rest) => {
  if (!read.has(name)) read.set(name, parse(name, ...rest));
  return read.get(name);
};
// One program each: scripts of different pages may use the same names.
const found = files.flatMap((file) => ts.getPreEmitDiagnostics(ts.createProgram([file], options, host)));
const unique = new Map(found.map((it) => [`${it.file?.fileName}:${it.start}:${it.code}`, it]));
console.log(ts.formatDiagnostics([...unique.values()], { getCurrentDirectory: () => process.cwd(), getCanonicalFileName: (name) => name, getNewLine: () => "\n" }));
process.exitCode = unique.size ? 1 : 0;
