// Follows a node until told to end; for each line of input it writes what came so far, of each timeline:
//   node follow.js NODE

import { createInterface } from "node:readline";

import websocket from "websocket";

import { connect } from "../../sisock.js";

const { SISOCK_URL: url, SISOCK_SECRET: secret } = process.env;
const lines = {};

function take({ timeline, t, values, gap }) {
  const line = (lines[timeline] ??= { count: 0, first: null, last: null, missing: 0, disordered: 0, gaps: [] });
  if (gap) return line.gaps.push(gap);
  Object.values(values)[0].forEach((number, i) => {
    line.count += 1;
    line.first ??= number;
    // Missing numbers are no fault where the samples are said to be lost.
    const isAfterGap = line.gaps.at(-1)?.end === t[i];
    if (line.last !== null && number > line.last + 1 && !isAfterGap) line.missing += number - line.last - 1;
    if (line.last !== null && number <= line.last) line.disordered += 1;
    line.last = number;
  });
}

const sisock = await connect({ url, secret, ws: websocket.w3cwebsocket });
await sisock.follow(process.argv[2], take);
for await (const _ of createInterface({ input: process.stdin })) console.log(JSON.stringify(lines));
sisock.close();
