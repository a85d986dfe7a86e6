// Bundles the client into one file, which browsers and node take without anything else.

import { build } from "esbuild";

// wampy names node's modules for node alone.
export const EXTERNAL = ["crypto", "ws"];

/** Write the one file. */
export function bundleClient(entry, outfile) {
  return build({ entryPoints: [entry], outfile, bundle: true, format: "esm", target: "es2022", minify: true, external: EXTERNAL });
}
