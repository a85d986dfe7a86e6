// Makes the files for `npm pack`: the client as one file, types from its JSDoc, README, and the licences of its parts.

import { readFile, readdir, rm, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

import ts from "typescript";

import { bundleClient } from "./bundle.js";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const BUNDLED = ["wampy"];

await rm(here("packed"), { recursive: true, force: true });
if (process.argv.includes("--clean")) {
  for (const made of ["README.md", "LICENSE"]) await rm(here(made), { force: true });
} else {
  writeTypes();
  await bundleClient(here("sisock.js"), here("packed/sisock.js"));
  await writeFile(here("README.md"), readmeOf(await readFile(here("../docs/how-to/javascript.md"), "utf8")));
  const texts = await Promise.all(BUNDLED.map(licenceOf));
  await writeFile(here("LICENSE"), [await readFile(here("../LICENSE"), "utf8"), ...texts].join("\n"));
}

/** Write a .d.ts for each module; fail if TypeScript finds an error in one. */
function writeTypes() {
  const program = ts.createProgram([here("sisock.js")], {
    allowJs: true,
    checkJs: true,
    declaration: true,
    emitDeclarationOnly: true,
    outDir: here("packed"),
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    skipLibCheck: true,
  });
  const faults = [...ts.getPreEmitDiagnostics(program), ...program.emit().diagnostics];
  if (!faults.length) return;
  console.error(ts.formatDiagnostics(faults, { getCanonicalFileName: (name) => name, getCurrentDirectory: () => here("."), getNewLine: () => "\n" }));
  process.exit(1);
}

/** Return a how-to guide for reading on its own: replace links to other pages by their files' names. */
function readmeOf(page) {
  const fileOf = (path) => new URL(path, "file:///docs/how-to/").pathname.slice(1);
  const text = page.replaceAll(/\[([^\]]*)\]\((?!https?:)([^)#]+)[^)]*\)/g, (_, named, path) => `${named} (\`${fileOf(path)}\`)`);
  return `${text}\nFiles in \`docs/\` and \`js/\` are those of sisock's repository.\n`;
}

/** Return the licence of a package that the one-file build contains. */
async function licenceOf(name) {
  const folder = here(`node_modules/${name}`);
  const file = (await readdir(folder)).find((each) => /^licen[cs]e/i.test(each));
  return `The file packed/sisock.js also holds ${name}:\n\n${await readFile(`${folder}/${file}`, "utf8")}`;
}
