// The directory with a hub and a node that are made here.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Directory } from "../directory.js";

class FakeConnection {
  joins = 1;
  listed = [{ name: "b", description: "B" }, { name: "a", features: ["bucket"], generation: "1" }];
  fields = { x: { timeline: "t" } };
  calls = [];
  #topics = {};

  async call(tail) {
    this.calls.push(tail);
    if (this.fail) throw this.fail;
    await this.delay;
    return tail.endsWith("get_fields") ? [{ ...this.fields }, { t: { interval: 2 } }] : [...this.listed];
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
