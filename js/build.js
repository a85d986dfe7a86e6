// Bundles the page into dist/, the only folder that the router serves.

import { copyFile, mkdir, readFile, rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

import { EXTERNAL, bundleClient } from "./bundle.js";

// The page only calls and subscribes: leave out wampy's methods for publishing and registering.
const UNUSED = ["getOptions", "setOptions", "getSessionId", "publish", "register", "unregister", "progressiveCall", "_renewRegistrations", "_onPublishedMessage", "_onRegisteredMessage", "_onUnregisteredMessage", "_onInvocationMessage"];

function slim(text) {
  // An unused object of all its errors would keep them in the bundle.
  return UNUSED.reduce((left, name) => without(left, name), text.replace("__export(errors", "/* @__PURE__ */ $&").replace(", this._renewRegistrations()", ""));
}

function without(text, name) {
  const left = text.replace(new RegExp(`\\n  (async )?${name}\\([^]*?\\n  }(?=\\n)`), "");
  if (left === text) throw new Error(`wampy has no method ${name} any more: correct UNUSED in build.js`);
  return left;
}

const slimWampy = {
  name: "slim wampy",
  setup: (bundle) =>
    bundle.onLoad({ filter: /wampy\.js$/ }, async ({ path }) => ({ contents: slim(await readFile(path, "utf8")) })),
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
  // Names that only wampy or only the page uses, and that are never read or written as text.
  mangleProps: /^(_[a-z].*|goneSince|askedAt|isFollowing|lowPositive|statistics|staleSeconds|finalizedUntil|isElastic|connectPromise|reconnectingAttempts)$/,
  sourcemap: true,
  legalComments: "linked",
  external: EXTERNAL,
  plugins: [slimWampy],
});
// The client, for other pages.
await bundleClient(here("sisock.js"), here("dist/sisock.js"));
for (const name of ["index.html", "example.html"]) await copyFile(here("example.html"), here(`dist/${name}`));
