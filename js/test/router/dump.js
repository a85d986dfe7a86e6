// What the client module gets, told to a test in another language:
//   node dump.js NODE '["field", …]' START END '{"maxPoints": 100}'
// A typed array as its type and the digest of its bytes, any other as it is.

import { createHash } from "node:crypto";

import websocket from "websocket";

import { connect } from "../../sisock.js";

const { SISOCK_URL: url, SISOCK_SECRET: secret } = process.env;
const [node, fields, start, end, options] = process.argv.slice(2);

function told(array) {
  if (Array.isArray(array)) return array;
  const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  return { type: array.constructor.name, digest: createHash("sha256").update(bytes).digest("hex") };
}

const sisock = await connect({ url, secret, ws: websocket.w3cwebsocket });
try {
  const data = await sisock.get(node, JSON.parse(fields), Number(start), Number(end), JSON.parse(options));
  const all = Object.entries(data).map(([name, { t, values }]) => [name, { t: told(t), values: told(values) }]);
  console.log(JSON.stringify(Object.fromEntries(all)));
} catch (error) {
  console.log(JSON.stringify({ kind: error.kind, message: error.message }));
}
sisock.close();
