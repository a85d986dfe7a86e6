// The directory with a hub and a node that are made here.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Directory } from "../directory.js";

class FakeConnection {
  joins = 1;
  listed = [{ name: "b", description: "B" }, { name: "a", features: ["bucket"], generation: "1" }];
  fields = { x: { timeline: "t" } };
  timelines = { t: { interval: 2 } };
  calls = [];
  #topics = {};

  async call(tail) {
    this.calls.push(tail);
    if (this.fail) throw this.fail;
    await this.delay;
    return tail.endsWith("get_fields") ? [structuredClone(this.fields), this.timelines] : [...this.listed];
  }

  async subscribe(tail, callback) {
    this.#topics[tail] = callback;
  }

  publish(change, entry) {
    this.#topics[`consumer.data_node_${change}`](entry);
  }
}

function setUp(t) {
  const connection = new FakeConnection();
  const directory = new Directory(connection);
  t.after(() => directory.close());
  return { connection, directory };
}

const namesOf = (nodes) => nodes.map(({ name }) => name);

test("the list is asked for once and then kept by events", async (t) => {
  const { connection, directory } = setUp(t);
  const [first, second] = await Promise.all([directory.nodes(), directory.nodes()]);
  assert.deepEqual([namesOf(first), namesOf(second)], [["a", "b"], ["a", "b"]]);
  assert.deepEqual([first[0].features, first[0].generation, first[1].description], [["bucket"], "1", "B"]);
  connection.publish("added", { name: "c" });
  connection.publish("subtracted", { name: "b" });
  assert.deepEqual(namesOf(await directory.nodes()), ["a", "c"]);
  assert.deepEqual(connection.calls, ["consumer.get_data_node"]);
});

test("after a join the list is asked for again, and what changed is told", async (t) => {
  const { connection, directory } = setUp(t);
  const told = [];
  await directory.onChange(({ name }, isPresent) => told.push([name, isPresent]));
  assert.deepEqual(told, []);
  connection.joins = 2;
  connection.listed = [{ name: "a", generation: "2" }, { name: "c" }];
  await directory.nodes();
  assert.deepEqual(told, [["b", false], ["a", true], ["c", true]]);
});

test("an event while the list travels is not lost", async (t) => {
  const { connection, directory } = setUp(t);
  let answer;
  connection.delay = new Promise((resolve) => (answer = resolve));
  const listing = directory.nodes();
  await new Promise((resolve) => setTimeout(resolve, 5));
  connection.listed = [...connection.listed, { name: "c" }];
  connection.publish("added", { name: "c" });
  answer();
  assert.deepEqual(namesOf(await listing), ["a", "b", "c"]);
});

test("a node without a generation gets one at each start and join", async (t) => {
  const { connection, directory } = setUp(t);
  const generation = async () => (await directory.node("b")).generation;
  const seen = [await generation()];
  assert.equal(await generation(), seen[0]);
  connection.publish("added", { name: "b" });
  seen.push(await generation());
  connection.joins += 1;
  seen.push(await generation());
  assert.equal(new Set(seen).size, 3);
});

test("fields are asked for once per generation", async (t) => {
  const { connection, directory } = setUp(t);
  const fields = async (...wanted) => directory.fields(await directory.node("a"), wanted);
  const [first] = await Promise.all([fields(), fields("x")]);
  assert.equal(first.x.interval, 2);
  await fields("x");
  // Of a name that is not known it is asked again, but not at once.
  await fields("y");
  const asked = () => connection.calls.filter((tail) => tail === "consumer.a.get_fields").length;
  assert.equal(asked(), 1);
  connection.publish("added", { name: "a", generation: "2" });
  await fields("x");
  assert.equal(asked(), 2);
});

test("a node's trouble is told apart from its description, when it begins and when it ends", async (t) => {
  const { connection, directory } = setUp(t);
  const told = [];
  await directory.onChange((node, isPresent) => told.push([node.name, node.description, node.trouble, isPresent]));
  assert.equal((await directory.node("a")).trouble, null);
  connection.publish("added", { name: "a", generation: "1", description: "A" });
  for (const description of ["A [problem: it is off\n[Errno 111]]", "A", "[problem: why]"]) {
    connection.publish("added", { name: "a", generation: "1", description });
  }
  assert.deepEqual(told.slice(1), [["a", "A", "it is off\n[Errno 111]", true], ["a", "A", null, true], ["a", "", "why", true]]);
});

test("a failure is said and not kept", async (t) => {
  const { connection, directory } = setUp(t);
  connection.fail = new Error("no hub");
  await assert.rejects(directory.nodes(), /no hub/);
  connection.fail = null;
  await assert.rejects(directory.node("nowhere"), (error) => error.kind === "node");
  const node = await directory.node("a");
  connection.fail = new Error("broken");
  await assert.rejects(directory.fields(node), /broken/);
  connection.fail = null;
  assert.deepEqual(Object.keys(await directory.fields(node)), ["x"]);
});

test("what a node says beside the type is passed on, as far as it can be used", async (t) => {
  const { connection, directory } = setUp(t);
  const limits = { warning: [0, null], alarm: [-5, 50] };
  connection.fields.x = { timeline: "t", limits, precision: 2, labels: { 0: "off" } };
  connection.fields.y = { timeline: "u", limits: { warning: [1], alarm: "high" }, precision: -1, labels: "on" };
  connection.timelines = { t: { interval: 2, first: 10, last: 20, stale_after: 5 }, u: { first: "early" } };
  const { x, y } = await directory.fields(await directory.node("a"));
  assert.deepEqual([x.limits, x.precision, x.labels], [limits, 2, { 0: "off" }]);
  assert.deepEqual([x.interval, x.first, x.last, x.staleAfter], [2, 10, 20, 5]);
  assert.deepEqual([y.limits, y.precision, y.labels], [{ warning: null, alarm: null }, null, {}]);
  assert.deepEqual([y.interval, y.first, y.last, y.staleAfter], [null, null, null, null]);
});

test("fields that are asked for again are told if they are others", async (t) => {
  const { connection, directory } = setUp(t);
  const told = [];
  await directory.onChange(({ name }, isPresent) => told.push([name, isPresent]));
  const node = await directory.node("a");
  await directory.fields(node);
  connection.timelines = { t: { interval: 2, last: 99 } };
  await directory.refresh(node);
  assert.deepEqual(told, []);
  connection.fields.y = { timeline: "t" };
  await directory.refresh(node);
  assert.deepEqual(told, [["a", true]]);
  assert.deepEqual(Object.keys(await directory.fields(node)), ["x", "y"]);
});

test("a live node and one that is described anew are asked for their fields again", async (t) => {
  const { connection, directory } = setUp(t);
  connection.listed.push({ name: "c", features: ["live"], generation: "1" });
  for (const name of ["a", "b", "c"]) await directory.fields(await directory.node(name));
  const before = connection.calls.length;
  connection.listed[0] = { name: "b", description: "another" };
  connection.joins += 1;
  await directory.nodes();
  const asked = connection.calls.slice(before).filter((tail) => tail.endsWith("get_fields"));
  assert.deepEqual(asked, ["consumer.b.get_fields", "consumer.c.get_fields"]);
});
