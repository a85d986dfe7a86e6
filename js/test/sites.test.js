// Several sites, each with a router that is made here, or with none.

import assert from "node:assert/strict";
import { test } from "node:test";

import { CborSerializer } from "wampy/CborSerializer.js";

import { joinSites } from "../sisock.js";

const [HELLO, WELCOME, ABORT, SUBSCRIBE, SUBSCRIBED, CALL, RESULT, CHALLENGE, AUTHENTICATE] = [1, 2, 3, 32, 33, 48, 50, 4, 5];
const FIELDS = [{ x: { type: "number", timeline: "t" } }, { t: { interval: 1 } }];

/** WebSockets of routers: of each the nodes, what it does, and what it was asked. */
function makeSockets(routers) {
  const cbor = new CborSerializer();
  return class Socket {
    protocol = "wamp.2.cbor";
    readyState = 1;

    constructor(url) {
      this.router = routers[new URL(url).hostname];
      this.router.socket = this;
      queueMicrotask(() => (this.router.isGone ? this.onclose({}) : this.onopen()));
    }

    send(bytes) {
      if (this.router.isHanging) return;
      const [kind, id, , uri] = cbor.decode(bytes);
      const { nodes } = this.router;
      if (kind === HELLO) this.answer([CHALLENGE, "wampcra", { challenge: "{}" }]);
      if (kind === AUTHENTICATE) {
        this.router.signed = id;
        this.answer(this.router.refuses ? [ABORT, {}, "wamp.error.not_authorized"] : [WELCOME, 7, { roles: { broker: {}, dealer: {} } }]);
      }
      if (kind === SUBSCRIBE) this.answer([SUBSCRIBED, id, 99]);
      if (kind === CALL) (this.router.asked ??= []).push(uri);
      if (kind === CALL && !this.router.isStuck) this.answer([RESULT, id, {}, [uri.endsWith("get_data_node") ? nodes : FIELDS]]);
    }

    answer(message) {
      queueMicrotask(() => this.onmessage({ data: cbor.encode(message) }));
    }

    close() {}
  };
}

function setUp(t, routers, secrets = {}) {
  const told = [];
  const sites = Object.keys(routers).map((name) => ({ name, url: `wss://${name}/ws`, secret: name in secrets ? secrets[name] : "s" }));
  const sisock = joinSites({ sites, ws: makeSockets(routers), onState: ({ site, state }) => told.push(`${site} ${state}`) });
  t.after(() => {
    sisock.close();
    for (const { socket } of Object.values(routers)) socket?.onclose({});
  });
  const stateOf = (name) => sisock.sites.find((each) => each.name === name);
  return { sisock, told, stateOf };
}

async function until(condition) {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}

const names = (nodes) => nodes.map(({ name }) => name);

test("nodes of all sites are named site/node, and each is asked at its own router", async (t) => {
  const routers = { a: { nodes: [{ name: "n" }] }, b: { nodes: [{ name: "n" }, { name: "m/k" }] } };
  const { sisock } = setUp(t, routers);
  await sisock.settle();
  assert.deepEqual(names(await sisock.nodes()), ["a/n", "b/m/k", "b/n"]);
  const { node, fields } = await sisock.find("b/m/k", ["x"]);
  assert.deepEqual([node.name, Object.keys(fields)], ["b/m/k", ["x"]]);
  assert.ok(routers.b.asked.includes("org.simonsobservatory.consumer.m/k.get_fields"));
  assert.ok(!routers.a.asked.some((uri) => uri.endsWith("get_fields")));
});

test("a site that is gone or hangs leaves the others alone, and errors name it", async (t) => {
  const routers = { a: { nodes: [{ name: "n" }] }, gone: { isGone: true }, hangs: { isHanging: true } };
  const { sisock, stateOf } = setUp(t, routers);
  await until(() => stateOf("a").state === "joined" && stateOf("gone").state === "waiting");
  assert.deepEqual(names(await sisock.nodes()), ["a/n"]);
  assert.deepEqual([stateOf("hangs").state, stateOf("gone").since], ["connecting", null]);
  assert.match(stateOf("gone").reason, /nothing answers at wss:\/\/gone\/ws/);
  for (const site of ["gone", "hangs"]) {
    const error = await sisock.get(`${site}/n`, ["x"], -1, 0).catch((each) => each);
    assert.deepEqual([error.kind, error.site], ["unreachable", site]);
    assert.match(error.message, new RegExp(`^the site '${site}' cannot be reached: `));
  }
  const { message, site } = await sisock.fields("a/none").catch((error) => error);
  assert.deepEqual([message, site], ["a: the data node none is not there", undefined]);
  await assert.rejects(sisock.fields("peru/n"), { kind: "node", message: "there is no site 'peru'" });
  await assert.rejects(sisock.fields("n"), { kind: "node", message: /^n names no site/ });
});

test("a site that is joined but does not answer delays no list of another", async (t) => {
  const { sisock } = setUp(t, { a: { nodes: [{ name: "n" }] }, stuck: { isStuck: true } });
  await sisock.settle();
  assert.deepEqual(names(await sisock.nodes("a")), ["a/n"]);
  sisock.nodes("stuck").catch(() => {});
  assert.deepEqual(Object.keys(await sisock.fields("a/n")), ["x"]);
});

test("a site that refuses is joined with another secret, the others stay", async (t) => {
  const routers = { a: { nodes: [] }, b: { nodes: [{ name: "n" }], refuses: true }, c: { nodes: [] } };
  const { sisock, told, stateOf } = setUp(t, routers, { c: undefined });
  await until(() => stateOf("a").state === "joined" && stateOf("b").state === "refused");
  assert.deepEqual([stateOf("b").kind, stateOf("c").kind, routers.c.socket], ["refused", "secret", undefined]);
  const heard = [];
  const stop = await sisock.onNodes((node, isPresent) => heard.push([node.name, isPresent]));
  const first = routers.b.signed;
  routers.b.refuses = false;
  sisock.signIn("b", "right");
  sisock.signIn("c", "hush");
  assert.equal(stateOf("b").state, "connecting");
  await until(() => stateOf("b").state === "joined" && stateOf("c").state === "joined");
  assert.notEqual(routers.b.signed, first);
  assert.equal(told.filter((each) => each === "a joined").length, 1);
  assert.deepEqual(names(await sisock.nodes("b")), ["b/n"]);
  await stop();
  assert.deepEqual(heard, []);
});

test("a site that is lost says since when, and comes back", async (t) => {
  const routers = { a: { nodes: [{ name: "n" }] }, b: { nodes: [] } };
  const { sisock, stateOf } = setUp(t, routers);
  await sisock.settle();
  routers.a.socket.onclose({});
  await until(() => stateOf("a").state === "waiting");
  assert.ok(stateOf("a").since > 1e9);
  assert.deepEqual(await sisock.nodes(), []);
  await until(() => stateOf("a").state === "joined");
  assert.deepEqual(names(await sisock.nodes()), ["a/n"]);
});

test("odd names of sites are refused", () => {
  for (const sites of [[{ name: "a/b" }], [{ name: "" }], [{ name: "a" }, { name: "a" }]]) {
    assert.throws(() => joinSites({ sites }), { kind: "argument" });
  }
});
