// Bundles the page into dist/, the only folder that the router serves.

import { copyFile, mkdir, readFile, rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

import { EXTERNAL, bundleClient } from "./bundle.js";

// wampy's object of all its errors keeps them in the bundle, though nobody reads it.
const leaveErrorsOut = {
  name: "leave errors out",
  setup: (bundle) =>
    bundle.onLoad({ filter: /wampy\.js$/ }, async ({ path }) => ({
      contents: (await readFile(path, "utf8")).replace("__export(errors", "/* @__PURE__ */ $&"),
    })),
};

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

await rm(here("dist"), { recursive: true, force: true });
await mkdir(here("dist"), { recursive: true });
await build({
  entryPoints: [{ in: here("page/main.js"), out: "page" }, { in: here("page/styles.css"), out: "page" }],
  outdir: here("dist"),
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  charset: "utf8",
  // Names that wampy uses for itself alone.
  mangleProps: /^_[a-z]/,
  sourcemap: true,
  legalComments: "linked",
  external: EXTERNAL,
  plugins: [leaveErrorsOut],
});
// For pages of others.
await bundleClient(here("sisock.js"), here("dist/sisock.js"));
for (const name of ["index.html", "example.html"]) await copyFile(here("example.html"), here(`dist/${name}`));
