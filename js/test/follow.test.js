// Following a node that is made here, through interruptions.

import assert from "node:assert/strict";
import { test } from "node:test";

import { SisockError } from "../errors.js";
import { Follower } from "../follow.js";

/** A node of one timeline, sampled at whole seconds; the value is the time. Events reach its follower or are lost. */
class FakeNode {
  fields = { x: { timeline: "a", type: "number", first: null, last: null } };
  published = { a: [] };
  keptFrom = -Infinity;
  isHeard = true;
  error = null;
  wanted = null;
  asked = [];
  told = [];
  #answer = null;

  constructor() {
    this.follower = new Follower(
      {
        describe: async () => this.#check() ?? structuredClone(this.fields),
        fetch: (names, start, end = Infinity) => this.#fetch(names, start, end),
        choose: (names) => names.filter((name) => this.wanted?.includes(name) ?? true),
      },
      (item) => this.told.push(item),
      async () => {},
    );
  }

  #check() {
    if (this.error) throw this.error;
  }

  async #fetch(names, start, end) {
    this.asked.push({ names, start });
    await this.#answer;
    this.#check();
    const { timeline } = this.fields[names[0]];
    const t = this.published[timeline].filter((each) => each >= start && each < end && each >= this.keptFrom);
    const series = { t: Float64Array.from(t), values: Float64Array.from(t) };
    return Object.fromEntries(names.map((name) => [name, series]));
  }

  /** Keep requests waiting until the returned function is called. */
  hold() {
    let answer;
    this.#answer = new Promise((resolve) => (answer = resolve));
    return answer;
  }

  publish(t, timeline = "a") {
    (this.published[timeline] ??= []).push(...t);
    const names = Object.keys(this.fields).filter((name) => this.fields[name].timeline === timeline);
    if (!this.isHeard) return;
    const data = Object.fromEntries(names.map((name) => [name, t]));
    this.follower.hear({ data, timeline: { [timeline]: { t } } });
  }

  /** Be away while these samples are taken. */
  async miss(...t) {
    this.follower.interrupt();
    this.isHeard = false;
    this.publish(t);
    this.isHeard = true;
    await this.follower.resume();
  }

  /** The times and gaps that were told of a timeline. */
  heard(timeline = "a") {
    const own = this.told.filter((item) => item.timeline === timeline);
    return own.flatMap(({ t, gap }) => (gap ? [[gap.start, gap.end]] : [...t]));
  }
}

const settled = () => new Promise((resolve) => setTimeout(resolve, 1));

test("published samples come as typed arrays, each once", async () => {
  const node = new FakeNode();
  await node.follower.begin();
  node.publish([1, 2]);
  node.follower.hear({ data: { x: [2, null], s: ["b", "c"] }, timeline: { a: { t: [2, 3] } } });
  assert.deepEqual(node.told, [
    { timeline: "a", t: Float64Array.of(1, 2), values: { x: Float64Array.of(1, 2) } },
    { timeline: "a", t: Float64Array.of(3), values: { x: Float64Array.of(NaN), s: ["c"] } },
  ]);
  assert.deepEqual(node.asked, []);
});

test("after a wrong time nothing is missed or doubled", async (t) => {
  const warn = t.mock.method(console, "warn", () => {});
  const node = new FakeNode();
  await node.follower.begin();
  node.publish([1, 2]);
  node.follower.hear({ data: { x: [0] }, timeline: { a: { t: [90_000] } } });
  node.published.a.push(3);
  node.publish([4]);
  await settled();
  node.publish([5]);
  assert.deepEqual(node.heard(), [1, 2, 90_000, 3, 4, 5]);
  node.follower.hear({ timeline: { a: { last: 90_000 } } });
  node.published.a.push(6);
  node.follower.hear({ timeline: { a: { last: 6 } } });
  await settled();
  node.publish([7]);
  await settled();
  assert.deepEqual(node.heard(), [1, 2, 90_000, 3, 4, 5, 6, 7]);
  assert.equal(warn.mock.callCount(), 2);
});

test("of ever new timelines only so many are known", async () => {
  const node = new FakeNode();
  await node.follower.begin();
  node.publish([1]);
  for (let first = 0; first <= 50_000; first += 5000) {
    const names = Array.from({ length: 5000 }, (_, i) => `line ${first + i}`);
    node.follower.hear({ timeline: Object.fromEntries(names.map((name) => [name, { last: 1 }])) });
    node.publish([first + 2]);
  }
  // The first ones are forgotten: what is said of them is news, and nothing was missed.
  node.follower.hear({ timeline: { "line 0": { last: 5 }, "line 50000": { last: 1 } } });
  await settled();
  assert.equal(node.heard().length, 12);
  assert.deepEqual(node.asked, []);
});

for (const event of [
  null,
  "x",
  { timeline: null },
  { timeline: { a: null } },
  { timeline: { a: {} } },
  { timeline: { a: { last: "soon" } } },
  { timeline: { a: { last: 1.7e12 } } },
  { data: { x: [5] }, timeline: { a: { t: [NaN] } } },
  { data: { x: [5] }, timeline: { a: { t: ["5"] } } },
  { data: { x: [5] }, timeline: { a: { t: [1.7e12] } } },
  { data: { x: [5, 4] }, timeline: { a: { t: [5, 4] } } },
  { data: { x: "5" }, timeline: { a: { t: [3] } } },
  { data: null, timeline: { a: { t: [3] } } },
]) {
  test(`what is no event is asked for: ${JSON.stringify(event)}`, async (t) => {
    const warn = t.mock.method(console, "warn", () => {});
    const node = new FakeNode();
    await node.follower.begin();
    node.publish([1, 2]);
    node.published.a.push(3);
    node.follower.hear(event);
    await settled();
    node.publish([4]);
    await settled();
    assert.deepEqual(node.heard(), [1, 2, 3, 4]);
    assert.equal(warn.mock.callCount(), 1);
  });
}

test("what was missed is fetched, and what is published meanwhile waits", async () => {
  const node = new FakeNode();
  node.publish([1, 2]);
  const answer = node.hold();
  const resumed = node.miss(3, 4);
  node.publish([5]);
  await settled();
  node.publish([6]);
  assert.deepEqual(node.heard(), [1, 2]);
  answer();
  await resumed;
  assert.deepEqual(node.heard(), [1, 2, 3, 4, 5, 6]);
  assert.deepEqual(node.asked, [{ names: ["x"], start: 2 }]);
});

test("an interruption during the request has it repeated", async () => {
  const node = new FakeNode();
  node.publish([1]);
  const answer = node.hold();
  const resumed = node.miss(2);
  await settled();
  await Promise.all([node.miss(3), answer()]);
  await resumed;
  await settled();
  assert.deepEqual(node.heard(), [1, 2, 3]);
});

test("before the first event the last sample that the node names counts", async () => {
  const node = new FakeNode();
  node.isHeard = false;
  node.publish([1, 2]);
  node.fields.x.last = 2;
  await node.follower.begin();
  await node.miss(3, 4);
  assert.deepEqual(node.heard(), [3, 4]);
});

test("samples that the node has no more are a gap", async () => {
  const node = new FakeNode();
  node.publish([1, 2]);
  node.keptFrom = 5;
  await node.miss(3, 4, 5, 6);
  assert.deepEqual(node.heard(), [1, 2, [2, 5], 5, 6]);
  node.keptFrom = 9;
  await node.miss(7);
  node.publish([9]);
  assert.deepEqual(node.heard().slice(5), [[6, 9], 9]);
});

test("a node that kept everything after all leaves no gap", async () => {
  const node = new FakeNode();
  node.publish([1, 2]);
  node.keptFrom = 9;
  await node.miss(3);
  node.keptFrom = -Infinity;
  await node.miss(4);
  assert.deepEqual(node.heard(), [1, 2, 3, 4]);
});

test("samples that are only announced are fetched", async () => {
  const node = new FakeNode();
  const announce = (last) => node.follower.hear({ timeline: { a: { last } } });
  announce(1);
  node.published.a = [1, 2, 3];
  announce(3);
  await settled();
  node.published.a.push(4, 5);
  announce(4);
  announce(5);
  await settled();
  assert.deepEqual(node.heard(), [2, 3, 4, 5]);
  const before = node.asked.length;
  announce(5);
  await settled();
  assert.equal(node.asked.length, before);
});

test("while node or hub is away nothing is asked, and then all", async () => {
  const node = new FakeNode();
  node.publish([1]);
  node.error = new SisockError("node", "it is not there");
  await node.miss(2, 3);
  assert.deepEqual(node.heard(), [1]);
  node.error = null;
  await node.follower.resume();
  assert.deepEqual(node.heard(), [1, 2, 3]);
});

test("a request that fails is repeated, and given up as a gap", async () => {
  const node = new FakeNode();
  node.publish([1]);
  node.error = new SisockError("node_failed", "it failed");
  await node.miss(2);
  assert.equal(node.asked.length, 5);
  node.error = null;
  node.publish([3, 4]);
  assert.deepEqual(node.heard(), [1, [1, 3], 3, 4]);
});

test("more samples than can wait are fetched", async () => {
  const node = new FakeNode();
  node.publish([1]);
  const answer = node.hold();
  const resumed = node.miss(2);
  await settled();
  const many = Array.from({ length: 60_000 }, (_, i) => 3 + i);
  node.publish(many);
  node.publish(many.map((t) => t + 60_000));
  node.publish([120_003]);
  answer();
  await resumed;
  const heard = node.heard();
  assert.equal(heard.length, 120_003);
  assert.ok(heard.every((t, i) => t === i + 1));
});

test("the node is asked once of a field that nobody knew", async () => {
  const node = new FakeNode();
  let described = 0;
  Object.defineProperty(node.fields, "x", { enumerable: true, get: () => ((described += 1), { timeline: "a" }) });
  await node.follower.begin();
  node.fields.y = { timeline: "a", type: "number" };
  const before = described;
  node.publish([1]);
  const once = described - before;
  node.publish([2]);
  await settled();
  assert.ok(once > 0 && node.told.every(({ values }) => "y" in values));
  const after = described;
  node.publish([3]);
  assert.ok(described - after < once);
});

test("of a timeline that began during an interruption all samples come", async () => {
  const node = new FakeNode();
  node.publish([1]);
  await node.follower.begin();
  node.follower.interrupt();
  node.isHeard = false;
  node.fields.y = { timeline: "b", type: "number", first: 10, last: 11 };
  node.publish([10, 11], "b");
  node.isHeard = true;
  const resumed = node.follower.resume();
  node.publish([12], "b");
  await resumed;
  assert.deepEqual(node.heard("b"), [10, 11, 12]);
});

test("only wanted fields are fetched, and of others nothing is missing", async () => {
  const node = new FakeNode();
  node.fields.y = { timeline: "b", type: "number", first: null, last: null };
  node.wanted = ["y"];
  node.publish([1]);
  node.publish([1], "b");
  node.keptFrom = 3;
  await node.miss(2, 3);
  node.publish([4]);
  assert.deepEqual(node.heard("a"), []);
  assert.deepEqual(node.asked.map(({ names }) => names).flat(), ["y", "y"]);
});

test("nothing comes after the end, whatever is still under way", async () => {
  const node = new FakeNode();
  node.publish([1]);
  const answer = node.hold();
  const resumed = node.miss(2);
  await settled();
  node.follower.close();
  answer();
  await resumed;
  node.publish([3]);
  assert.deepEqual(node.heard(), [1]);
});

test("who fails to take a sample gets the next ones", async (t) => {
  t.mock.method(console, "error", () => {});
  const node = new FakeNode();
  const times = [];
  const source = { describe: async () => ({}), fetch: async () => ({}), choose: (names) => names };
  const follower = new Follower(source, (item) => {
    times.push(item.t[0]);
    throw new Error("of the callback");
  });
  for (const t of [1, 2]) follower.hear({ data: { x: [t] }, timeline: { a: { t: [t] } } });
  assert.deepEqual(times, [1, 2]);
  assert.equal(console.error.mock.callCount(), 2);
  assert.deepEqual(node.told, []);
});

/** Numbers from 0 to 1 that are the same in each run. */
function* randomNumbers(seed) {
  for (let state = seed; ; ) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    yield state / 2 ** 32;
  }
}

test("whatever is interrupted when, all samples come once and in order, or are a gap", async () => {
  for (let seed = 1; seed <= 200; seed += 1) {
    const numbers = randomNumbers(seed);
    const random = () => numbers.next().value;
    const node = new FakeNode();
    let [now, answer, isJoined] = [1, () => {}, true];
    node.publish([0]);
    for (let step = 0; step < 60; step += 1) {
      const kind = random();
      if (kind < 0.5) {
        const t = Array.from({ length: 1 + Math.floor(random() * 4) }, () => now++);
        node.publish(t);
      } else if (kind < 0.6) {
        [isJoined, node.isHeard] = [false, false];
        node.follower.interrupt();
      } else if (kind < 0.75 && !isJoined) {
        [isJoined, node.isHeard] = [true, true];
        node.follower.resume();
      } else if (kind < 0.8) {
        answer();
        answer = node.hold();
      }
      else if (kind < 0.9) answer();
      else if (kind < 0.93) node.keptFrom = now - 3;
      else if (kind < 0.96) node.error = random() < 0.5 ? new SisockError("node", "away") : null;
      else await settled();
    }
    [node.error, node.isHeard] = [null, true];
    answer();
    await node.follower.resume();
    await settled();
    node.publish([now]);
    await settled();
    let expected = 0;
    for (const item of node.heard()) {
      if (Array.isArray(item)) {
        assert.equal(item[0], expected - 1, `seed ${seed}`);
        assert.ok(item[1] >= expected && item[1] <= node.keptFrom, `seed ${seed}`);
        expected = item[1];
      } else assert.equal(item, expected++, `seed ${seed}`);
    }
    assert.equal(expected, now + 1, `seed ${seed}`);
  }
});
