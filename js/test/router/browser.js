// Follows a node in a browser; bundled by tests/browser/followers.py.

import { connect } from "../../sisock.js";
import { tally } from "./tally.js";

/** Follow a node of the router that served the page; what came is counted in `lines`. */
export async function follow(secret, node, lines) {
  const sisock = await connect({ url: `wss://${location.host}/ws`, secret });
  await sisock.follow(node, tally(lines));
}
