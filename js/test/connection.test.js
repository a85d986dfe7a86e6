// A connection to a router that is made here, and falls silent.

import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { test } from "node:test";

import { CborSerializer } from "wampy/CborSerializer.js";

import { Connection } from "../connection.js";

const [HELLO, WELCOME, SUBSCRIBE, SUBSCRIBED, EVENT, CALL, RESULT] = [1, 2, 32, 33, 36, 48, 50];

/** The WebSockets that were opened, each with a router behind it. */
function makeSockets() {
  const cbor = new CborSerializer();
  return class Socket {
    static all = [];
    isSilent = false;
    protocol = "wamp.2.cbor";
    readyState = 1;

    constructor() {
      Socket.all.push(this);
      queueMicrotask(() => this.onopen());
    }

    send(bytes) {
      if (this.isSilent) return;
      const [kind, id] = cbor.decode(bytes);
      if (kind === HELLO) this.answer([WELCOME, 7, { roles: { broker: {}, dealer: {} } }]);
      if (kind === SUBSCRIBE) this.answer([SUBSCRIBED, id, 99]);
      if (kind === CALL) this.answer([RESULT, id, {}, ["an answer"]]);
    }

    answer(message) {
      queueMicrotask(() => this.onmessage({ data: cbor.encode(message) }));
    }

    publish(event) {
      this.answer([EVENT, 99, 1, {}, [event]]);
    }

    close() {}
  };
}

async function setUp(t, seconds) {
  const ws = makeSockets();
  const states = [];
  const options = { url: "wss://router/ws", secret: "s", ws, onState: ({ state }) => states.push(state) };
  const connection = new Connection(options, seconds);
  t.after(() => connection.close());
  await connection.join();
  return { connection, states, sockets: ws.all };
}

async function until(condition) {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}

test("a connection that answers is kept", async (t) => {
  const { connection, sockets, states } = await setUp(t);
  assert.equal(await connection.call("anything", []), "an answer");
  await connection.check();
  assert.deepEqual([sockets.length, states], [1, ["joined"]]);
});

test("a signal that outlives its calls does not keep them", async (t) => {
  const { connection } = await setUp(t);
  const { signal } = new AbortController();
  for (let i = 0; i < 3; i += 1) await connection.call("x", [], {}, null, signal);
  assert.equal(getEventListeners(signal, "abort").length, 0);
});

for (const [what, act] of [["a call", (each) => each.call("x", [])], ["a check", (each) => each.check()]]) {
  test(`a connection on which ${what} has no answer, nor comes anything, is renewed`, async (t) => {
    const { connection, sockets, states } = await setUp(t, { call: 0.05, check: 0.05 });
    const changes = [];
    connection.onChange((isJoined) => changes.push(isJoined));
    const events = [];
    await connection.subscribe("topic", (event) => events.push(event));
    sockets[0].isSilent = true;
    await act(connection).catch(({ kind }) => assert.equal(kind, "timeout"));
    await until(() => connection.joins === 2);
    sockets[1].publish("an event");
    await until(() => events.length);
    assert.deepEqual([events, changes, states], [["an event"], [false, true], ["joined", "waiting", "joined"]]);
  });
}

test("a call without an answer is no loss while events come", async (t) => {
  const { connection, sockets } = await setUp(t, { call: 0.2 });
  await connection.subscribe("topic", () => {});
  sockets[0].isSilent = true;
  const timer = setInterval(() => sockets[0].publish("an event"), 5);
  await assert.rejects(connection.call("x", []), { kind: "timeout" });
  clearInterval(timer);
  assert.equal(sockets.length, 1);
});

test("a check does not wait for the next try", async (t) => {
  const { connection, sockets, states } = await setUp(t);
  sockets[0].onclose({});
  await until(() => states.at(-1) === "waiting");
  await connection.check();
  assert.equal(sockets.length, 2);
  await until(() => connection.joins === 2);
});
