// The client with a connection that is made here: latest samples, and what interrupts the following.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Sisock } from "../sisock.js";

const NOW = Date.now() / 1000;

/** A router with one node of one sample a second, from a time on and up to another, and a sparse field. */
class FakeConnection {
  joins = 1;
  features = [];
  first = NOW - 1e6;
  until = NOW;
  sparse = [NOW - 5000];
  mostSamples = Infinity;
  calls = [];
  #topics = new Map();
  #listeners = [];

  async call(tail, args, keywords) {
    if (tail === "consumer.get_data_node") return [{ name: "n", features: this.features, generation: "1" }];
    if (tail.endsWith("get_fields")) return this.#fields();
    this.calls.push({ names: args[0], start: args[1], end: args[2], ...keywords });
    const [names, start, end, stride = 1] = args;
    const times = { a: this.#times(start, end, stride), s: this.sparse.filter((t) => t >= start && t < end) };
    const lines = { x: "a", y: "s", z: "a" };
    const some = names.filter((name) => times[lines[name]].length);
    if (some.some((name) => times[lines[name]].length > this.mostSamples)) return false;
    return {
      data: Object.fromEntries(some.map((name) => [name, times[lines[name]].map((t, i) => this.value(name, t, i))])),
      timeline: Object.fromEntries(some.map((name) => [lines[name], { t: times[lines[name]] }])),
    };
  }

  value(name, t) {
    return name === "z" && t > this.until - 10 ? null : t;
  }

  #times(start, end, stride) {
    const [low, high] = [Math.ceil(Math.max(start, this.first)), Math.min(end, this.until)];
    const step = Math.ceil(stride);
    return Array.from({ length: Math.max(Math.ceil((high - low) / step), 0) }, (_, i) => low + i * step);
  }

  #fields() {
    const about = (timeline) => ({ timeline, type: "number", units: "m" });
    return [{ x: about("a"), y: about("s"), z: about("a") }, { a: { interval: 1 }, s: {} }];
  }

  async subscribe(tail, callback) {
    this.#topics.set(tail, [...(this.#topics.get(tail) ?? []), callback]);
    return async () => this.#topics.set(tail, this.#topics.get(tail).filter((each) => each !== callback));
  }

  onChange(listener) {
    this.#listeners.push(listener);
    return () => (this.#listeners = this.#listeners.filter((each) => each !== listener));
  }

  publish(tail, event) {
    for (const callback of this.#topics.get(tail) ?? []) callback(event);
  }

  publishSamples(...t) {
    this.until = t.at(-1) + 1;
    this.publish("consumer.n.data", { data: { x: t }, timeline: { a: { t } } });
  }

  change(isJoined) {
    if (isJoined) this.joins += 1;
    for (const listener of this.#listeners) listener(isJoined);
  }

  get isUsed() {
    return this.#listeners.length > 0 || this.#topics.get("consumer.n.data")?.length > 0;
  }

  close() {}
}

function setUp(t, changes = {}) {
  const connection = Object.assign(new FakeConnection(), changes);
  const sisock = new Sisock(connection);
  t.after(() => sisock.close());
  return { connection, sisock };
}

test("a node that knows its latest samples is asked for them", async (t) => {
  const { connection, sisock } = setUp(t, { features: ["latest"], value: (name, time) => time });
  const { x } = await sisock.latest("n", ["x"], NOW - 100);
  assert.deepEqual([x.value, x.units], [x.t, "m"]);
  const [{ latest, end }, ...more] = connection.calls;
  assert.deepEqual([latest, end, more], [true, NOW - 100, []]);
});

test("of other nodes it is looked for ten times further back each time", async (t) => {
  const { connection, sisock } = setUp(t);
  const { x, y, z } = await sisock.latest("n", null, NOW);
  assert.equal(x.t, Math.ceil(NOW) - 1);
  assert.deepEqual([y.t, y.value], [NOW - 5000, NOW - 5000]);
  // Its last samples have no value.
  assert.ok(z.t <= NOW - 10 && z.value === z.t);
  const asked = connection.calls.filter(({ names }) => names.includes("y"));
  assert.deepEqual(asked.map(({ start, end }) => [NOW - start, NOW - end].map(Math.round)), [[60, 0], [600, 60], [6000, 600]]);
});

test("where the samples are too many for a node, the last one is found, too", async (t) => {
  const { sisock } = setUp(t, { mostSamples: 1500, until: NOW - 7000 });
  const { x, y } = await sisock.latest("n", ["x", "y"], NOW);
  assert.equal(x.t, Math.ceil(NOW - 7000) - 1);
  assert.equal(y.t, NOW - 5000);
});

test("missing values at the end of many samples hide no later one", async (t) => {
  const missingFrom = Math.floor(NOW) - 15_000;
  const value = (name, time) => (name === "z" && time > missingFrom ? null : -time);
  const { sisock } = setUp(t, { value, until: NOW - 7000, first: NOW - 59_000 });
  assert.equal((await sisock.latest("n", ["z"], NOW)).z.value, -missingFrom);
});

test("a field without samples has no latest one", async (t) => {
  const { sisock } = setUp(t, { sparse: [] });
  assert.deepEqual(Object.keys(await sisock.latest("n", ["y"])), []);
});

const settled = () => new Promise((resolve) => setTimeout(resolve, 5));

test("whatever interrupts a node, its samples come once", async (t) => {
  const T = Math.floor(NOW);
  const { connection, sisock } = setUp(t, { features: ["live"], until: T });
  const samples = [];
  const stop = await sisock.watch("n", (sample) => samples.push(sample), { fields: ["x"] });
  connection.publishSamples(T, T + 1);
  connection.change(false);
  connection.until = T + 4;
  connection.change(true);
  await settled();
  connection.publish("consumer.data_node_subtracted", { name: "n" });
  connection.until = T + 6;
  connection.publish("consumer.data_node_added", { name: "n", features: ["live"], generation: "1" });
  connection.publishSamples(T + 6);
  // Requests for one timeline are a while apart.
  while (samples.length < 7) await settled();
  assert.deepEqual(samples.map(({ t, values }) => [t, values.x]), [0, 1, 2, 3, 4, 5, 6].map((i) => [T + i, T + i]));
  connection.first = T + 9;
  connection.publish("consumer.data_node_added", { name: "n", features: ["live"], generation: "2" });
  connection.publishSamples(T + 9);
  while (samples.length < 9) await settled();
  assert.deepEqual(samples[7], { timeline: "a", gap: { start: T + 6, end: T + 9 } });
  await stop();
  connection.publishSamples(T + 10);
  assert.equal(samples.length, 9);
  assert.ok(!connection.isUsed);
});
