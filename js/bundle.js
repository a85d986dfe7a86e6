// Bundles the client into one file, which browsers and node can use on its own.

import { build } from "esbuild";

// wampy imports these modules only in node.
export const EXTERNAL = ["crypto", "ws"];

/** Write the bundle. */
export function bundleClient(entry, outfile) {
  return build({ entryPoints: [entry], outfile, bundle: true, format: "esm", target: "es2022", minify: true, external: EXTERNAL });
}
