// Against a real router with the nodes that tests/browser/test_javascript.py starts.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Wampy } from "wampy";
import { sign } from "wampy/wampcra.js";
import websocket from "websocket";

import { decimate } from "../../grid.js";
import { Serializer } from "../../serializer.js";
import { connect } from "../../sisock.js";

const { SISOCK_URL: url, SISOCK_SECRET: secret } = process.env;
const START = 1.5e9;
const options = { url, secret, ws: websocket.w3cwebsocket };
let sisock;

before(async () => (sisock = await connect(options)));
after(() => sisock.close());

const fails = (promise, kind) => assert.rejects(promise, (error) => error.kind === kind && error.message.length > 10);

test("nodes are listed by name with their features", async () => {
  const nodes = await sisock.nodes();
  const names = nodes.map(({ name }) => name);
  assert.deepEqual(names, ["js_big", "js_odd", "js_ticker"]);
  for (const feature of ["binary", "progressive", "max_points", "bucket", "live"]) {
    assert.ok(nodes[2].features.includes(feature), feature);
  }
});

test("fields come with units, timeline and interval", async () => {
  const { count } = await sisock.fields("js_ticker");
  assert.deepEqual(
    [count.units, count.timeline, count.type, count.interval],
    ["1", "js_ticker", "number", 0.1],
  );
});

// More would come slowly on a machine that is full, and a ping of the router waits behind all of it.
test("half a million samples come as typed arrays, whole and in order", async () => {
  const { f8, f4, i4, b1 } = await sisock.get("js_big", ["f8", "f4", "i4", "b1"], START, START + 500);
  assert.equal(f8.t.length, 500_000);
  assert.ok(f8.values instanceof Float64Array && f4.values instanceof Float32Array && i4.values instanceof Int32Array);
  for (let i = 0; i < 500_000; i += 997) {
    assert.equal(f8.t[i], START + i / 1000);
    assert.ok(Math.abs(f8.values[i] - Math.sin(i / 1e4)) < 1e-15);
    assert.equal(i4.values[i], i - 1000);
    assert.equal(b1.values[i], i % 3 === 0);
  }
});

test("a bucket size gives each bucket's extremes, and what is final", async () => {
  const whole = await sisock.get("js_big", ["f8", "i4"], START, START + 500);
  const data = await sisock.get("js_big", ["f8", "i4"], START, START + 500, { bucket: 4 });
  for (const name of ["f8", "i4"]) {
    const { t, values } = whole[name];
    const kept = decimate(t, values, 4);
    assert.deepEqual(data[name].t, Float64Array.from(kept, (i) => t[i]));
    assert.deepEqual(data[name].values, values.constructor.from(kept, (i) => values[i]));
    assert.equal(data[name].bucket, 4);
    assert.ok(data[name].finalTo >= START + 499.999);
  }
  await fails(sisock.get("js_big", ["f8"], START, START + 5, { bucket: 3 }), "argument");
  await fails(sisock.get("js_big", ["f8"], START, START + 5, { bucket: 1, maxPoints: 9 }), "argument");
});

test("the interval is half-open and minStride exact over windows", async () => {
  const { i4 } = await sisock.get("js_big", ["i4"], START + 1, START + 1.002);
  assert.deepEqual(i4.values, Int32Array.from([0, 1]));
  const thin = (await sisock.get("js_big", ["f4"], START, START + 2000, { minStride: 0.0045 })).f4.t;
  assert.equal(thin.length, 400_000);
  for (let i = 1; i < thin.length; i += 1) assert.ok(thin[i] - thin[i - 1] >= 0.0045);
});

test("the last sample of each field is that with the last value", async () => {
  const { f8, i4 } = await sisock.latest("js_big", ["f8", "i4"]);
  assert.deepEqual([f8.t, f8.value], [START + 1999.999, Math.sin(1_999_999 / 1e4)]);
  assert.equal(i4.value, 1_998_999);
  const { nan, text, empty } = await sisock.latest("js_odd", ["nan", "text", "empty"], START + 4);
  assert.deepEqual([nan.t, nan.value, text.value, empty], [START, 1, "", undefined]);
});

test("missing values and other types", async () => {
  const data = await sisock.get("js_odd", ["nan", "text", "flag", "count", "empty"], START, START + 5);
  assert.deepEqual(data.nan.values, Float64Array.from([1, NaN, NaN, NaN, 5]));
  assert.deepEqual(data.text.values, ["a", null, "ü", "", "e"]);
  assert.deepEqual(data.flag.values, [true, null, false, true, true]);
  assert.deepEqual(data.count.values, Float64Array.from([1, NaN, 3, 4, 5]));
  assert.equal(data.empty.t.length, 0);
  assert.equal(data.nan.finalizedUntil, START + 3);
});

test("each error is a sentence with a kind", async () => {
  await fails(sisock.get("js_odd", ["typo"], START, START + 5), "field");
  await fails(sisock.get("js_odd", ["fails"], START, START + 5), "node_failed");
  await fails(sisock.get("js_odd", ["nan"], 5, 2), "argument");
  await fails(sisock.fields("nowhere"), "node");
  await fails(connect({ ...options, secret: "wrong" }), "refused");
});

test("a request can be given up, and the next one is answered", async () => {
  const abort = new AbortController();
  const given = sisock.get("js_odd", ["slow"], START, START + 5, { signal: abort.signal });
  setTimeout(() => abort.abort(), 300);
  await assert.rejects(given, { name: "AbortError" });
  assert.equal((await sisock.get("js_odd", ["nan"], START, START + 5)).nan.t.length, 5);
});

test("live samples come in order until the watching ends", async () => {
  const times = [];
  let enough;
  const done = new Promise((resolve) => (enough = resolve));
  const stop = await sisock.watch("js_ticker", ({ t, values }) => {
    assert.ok("count" in values);
    if (times.push(t) === 10) enough();
  });
  await done;
  stop();
  assert.deepEqual(times, [...times].sort((a, b) => a - b));
});

test("the connection stays when the watching ends, and the next one works", async (t) => {
  const states = [];
  const own = await connect({ ...options, onState: ({ state }) => states.push(state) });
  t.after(() => own.close());
  for (let round = 0; round < 2; round += 1) {
    const stops = await Promise.all(
      [0, 1].map(() => new Promise((resolve) => {
        const watching = own.watch("js_ticker", () => resolve(watching));
      })),
    );
    for (const stop of stops) await stop();
  }
  const abort = new AbortController();
  const given = own.get("js_odd", ["slow"], START, START + 5, { signal: abort.signal });
  setTimeout(() => abort.abort(), 300);
  await assert.rejects(given, { name: "AbortError" });
  assert.equal((await own.nodes()).length, 3);
  assert.deepEqual(states, ["joined"]);
});

// As a client counts that has sent 8 billion requests.
class LateSerializer extends Serializer {
  encode(message) {
    return super.encode([32, 34, 48, 49].includes(message[0]) ? message.with(1, message[1] + 2 ** 33) : message);
  }

  decode(bytes) {
    const message = super.decode(bytes);
    const place = { 8: 2, 33: 1, 35: 1, 50: 1 }[message[0]];
    return place ? message.with(place, message[place] - 2 ** 33) : message;
  }
}

test("large ids of requests work in every message", async (t) => {
  const prefix = "org.simonsobservatory.consumer.";
  let closed = false;
  const wamp = new Wampy(url, {
    realm: "sisock",
    authid: "simonsobs",
    authmethods: ["wampcra"],
    authMode: "auto",
    authPlugins: { wampcra: sign(secret) },
    uriValidation: "loose",
    autoReconnect: false,
    serializer: new LateSerializer(),
    ws: options.ws,
    onClose: () => (closed = true),
  });
  await wamp.connect();
  t.after(() => wamp.disconnect());
  const call = (node, field, argsDict, more) =>
    wamp.call(`${prefix}${node}.get_data`, { argsList: [[field], START, START + 2000], argsDict }, more);
  let progressed = 0;
  await call("js_big", "f8", { encoding: "binary" }, { progress_callback: () => (progressed += 1) });
  assert.ok(progressed > 0);
  const slow = call("js_odd", "slow", {});
  wamp.cancel(wamp.getOpStatus().reqId);
  await assert.rejects(slow, { errorUri: "wamp.error.canceled" });
  await new Promise((resolve) => wamp.subscribe(`${prefix}js_ticker.data`, resolve));
  await wamp.unsubscribe(`${prefix}js_ticker.data`);
  assert.equal((await wamp.call(`${prefix}get_data_node`)).argsList[0].length, 3);
  assert.equal(closed, false);
});
