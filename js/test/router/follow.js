// Follows a node until told to end; for each line of input it writes what came so far, of each timeline:
//   node follow.js NODE

import { createInterface } from "node:readline";

import websocket from "websocket";

import { connect } from "../../sisock.js";
import { tally } from "./tally.js";

const { SISOCK_URL: url, SISOCK_SECRET: secret } = process.env;
const lines = {};
const sisock = await connect({ url, secret, ws: websocket.w3cwebsocket });
await sisock.follow(process.argv[2], tally(lines));
for await (const _ of createInterface({ input: process.stdin })) console.log(JSON.stringify(lines));
sisock.close();
