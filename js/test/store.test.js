// The store with a node that is made here: what it fetches, and that what it shows is right.

import assert from "node:assert/strict";
import { test } from "node:test";

import { SisockError } from "../errors.js";
import { bucketSizeOf, requestsFor } from "../page/data/plan.js";
import { TILE_BUCKETS, Tiles } from "../page/data/tiles.js";
import { T0, assertWhole, setUp } from "./fake.js";

test("moving and zooming within what was fetched asks for nothing", async () => {
  const { sisock, store, load } = setUp();
  assert.equal((await load(0, 20_000)).length, 1);
  assertWhole(sisock, store, 0, 20_000, 64);
  assert.equal((await load(5000, 10_000)).length, 1);
  assertWhole(sisock, store, 5000, 10_000, 16);
  for (const [start, end, w] of [[0, 20_000, 64], [5100, 9900, 16], [5000, 10_000, 16], [10, 20_010, 64]]) {
    assert.deepEqual(await load(start, end), [], `${start} to ${end}`);
    assertWhole(sisock, store, start, end, w);
  }
});

test("moving on fetches the new part alone, in whole tiles", async () => {
  const { sisock, store, load } = setUp();
  const [first] = await load(30_000, 50_000);
  const size = TILE_BUCKETS * first.bucket;
  assert.deepEqual([first.start % size, first.end % size], [0, 0]);
  const [second, ...more] = await load(40_000, 60_000);
  assert.deepEqual([second.start, more], [first.end, []]);
  assertWhole(sisock, store, 40_000, 60_000, 64);
  const [third] = await load(20_000, 40_000);
  assert.equal(third.end, first.start);
});

test("a wider view is made of the finer tiles where these are", async () => {
  const { sisock, store, load } = setUp();
  await load(20_000, 40_000);
  const calls = await load(10_000, 50_000);
  assert.equal(calls.length, 2);
  const fetched = calls.reduce((sum, { start, end }) => sum + end - start, 0);
  assert.ok(fetched < 40_000, `${fetched} s`);
  assertWhole(sisock, store, 10_000, 50_000, 128);
});

test("closer views need no others if all samples are there", async () => {
  const { sisock, store, load } = setUp();
  await load(0, 900);
  assert.equal(store.series[0].t.length, 900);
  for (const [start, end] of [[100, 500], [100, 110], [0, 900]]) {
    assert.deepEqual(await load(start, end), []);
    assertWhole(sisock, store, start, end, 1);
  }
});

test("samples that come in bursts are seen one by one when one comes closer", async () => {
  const { store, load } = setUp({ step: 0.01 });
  await load(0, 900);
  await load(100, 102);
  assert.equal(store.series[0].t.length, 200);
});

test("only what was not final is fetched again, and only after a while", async () => {
  const { sisock, clock, store, load } = setUp({ until: T0 + 700, finalTo: T0 + 650.5 });
  clock.now = T0 + 700;
  await load(0, 900);
  assert.deepEqual(await load(1, 901), []);
  [clock.now, sisock.until, sisock.finalTo] = [T0 + 720, T0 + 720, T0 + 719];
  const [again, ...more] = await load(0, 900);
  assert.deepEqual([again.start, again.end, more], [T0 + 650, T0 + 721, []]);
  assertWhole(sisock, store, 0, 900, 1);
});

test("a reply of a replica that is behind takes no final sample away", async () => {
  const tiles = new Tiles();
  const samples = (to, finalTo) => {
    const t = Float64Array.from({ length: to }, (_, i) => i);
    return { t, values: t, finalTo };
  };
  const view = { start: 0, end: 64 };
  tiles.put("s", 1, [0, 64], samples(50, 50), 0);
  tiles.put("s", 1, [40, 64], samples(45, 45), 20);
  assert.equal(tiles.read("s", 1, view).t.length, 50);
  assert.deepEqual(tiles.missing("s", 1, view, 100), [[50, 64]]);
});

test("another generation is fetched, also if it changes meanwhile", async () => {
  const { sisock, store, load } = setUp();
  await load(0, 20_000);
  sisock.node = { ...sisock.node, generation: "two" };
  sisock.valueOf = (t) => t % 7;
  assert.equal((await load(0, 20_000)).length, 1);
  assertWhole(sisock, store, 0, 20_000, 64);
  let answer;
  sisock.delay = new Promise((resolve) => (answer = resolve));
  const loading = load(30_000, 50_000);
  await new Promise((resolve) => setTimeout(resolve, 5));
  sisock.node = { ...sisock.node, generation: "three" };
  answer();
  await loading;
  assert.equal((await load(30_000, 50_000)).length, 1);
});

test("what is there is drawn at once, also while the rest is fetched", async () => {
  const { sisock, store, load } = setUp();
  await load(30_000, 50_000);
  let answer;
  sisock.delay = new Promise((resolve) => (answer = resolve));
  const loading = load(40_000, 60_000);
  const [curve] = store.series;
  assert.ok(curve.t.array[0] - (T0 + 40_000) < 64);
  assert.ok(curve.t.array.at(-1) > T0 + 49_000);
  answer();
  await loading;
  assertWhole(sisock, store, 40_000, 60_000, 64);
});

/** Hold the answers of a node back; returns what lets them go. */
function hold(sisock) {
  let answer;
  sisock.delay = new Promise((resolve) => (answer = resolve));
  return answer;
}

const rest = () => new Promise((resolve) => setTimeout(resolve, 5));

test("what is under way is not asked for again", async () => {
  const { sisock, store, load } = setUp();
  const answer = hold(sisock);
  const first = load(30_000, 50_000);
  await rest();
  const second = load(40_000, 60_000);
  await rest();
  const third = store.load(["n::x", "n::y"], { start: T0 + 40_000, end: T0 + 60_000, points: 1000, isLive: false });
  await rest();
  answer();
  assert.deepEqual(await Promise.all([first, second, third]).then(([, , isNewest]) => isNewest), true);
  const [of30, of50, ofOther] = sisock.calls;
  assert.deepEqual(sisock.calls.map(({ names }) => names), [["x"], ["x"], ["y"]]);
  assert.deepEqual([of50.start, ofOther.end], [of30.end, of50.end]);
  assertWhole(sisock, store, 40_000, 60_000, 64);
  assert.equal(store.series[1].t.length, store.series[0].t.length);
});

test("a request for what is not shown any more is given up", async () => {
  const { sisock, load } = setUp();
  const answer = hold(sisock);
  const first = load(0, 20_000);
  await rest();
  const second = load(60_000, 80_000);
  await rest();
  answer();
  await Promise.all([first, second]);
  assert.deepEqual(sisock.calls.map(({ signal }) => signal.aborted), [true, false]);
});

test("the newest samples are not asked for again before their answer, unless some may be lost", async () => {
  const { sisock, clock, store, load } = setUp({ until: T0 + 700 });
  clock.now = T0 + 700;
  const answer = hold(sisock);
  const loads = [load(0, 900)];
  await rest();
  clock.now = T0 + 705;
  loads.push(load(0, 900));
  await rest();
  assert.equal(sisock.calls.length, 1);
  store.expire();
  loads.push(load(0, 900));
  await rest();
  answer();
  await Promise.all(loads);
  assert.ok(sisock.calls.length > 1);
});

test("samples added to an archive appear, whether the range is followed or not", async () => {
  const { sisock, clock, store, load } = setUp({ until: T0 + 500 });
  sisock.node.features = ["bucket"];
  clock.now = T0 + 500;
  await load(-400, 900);
  sisock.until = T0 + 502;
  clock.now = T0 + 502;
  await store.poll();
  assert.equal(store.series[0].last, T0 + 501);
  const [whole, added] = sisock.calls;
  assert.ok(added.start > whole.end - 100, "only what is not final is asked for");
  await load(0, 400);
  const count = sisock.calls.length;
  await store.poll();
  assert.equal(sisock.calls.length, count, "what is final is not asked for again");
});

test("a followed node is not polled", async () => {
  const { sisock, clock, store, load } = setUp({ until: T0 + 500 });
  clock.now = T0 + 500;
  await load(-400, 500, { isLive: true });
  await store.poll();
  assert.equal(sisock.calls.length, 1);
});

test("a field that fails and is taken away costs the others nothing", async () => {
  const { sisock, store } = setUp();
  const view = { start: T0, end: T0 + 20_000, points: 1000, isLive: false };
  const answer = hold(sisock);
  const get = sisock.get.bind(sisock);
  sisock.get = async (name, names, ...more) => {
    const data = await get(name, names, ...more);
    if (names.includes("bad")) throw new SisockError("node_failed", "it failed");
    return data;
  };
  const first = store.load(["n::x", "n::bad"], view);
  await rest();
  const second = store.load(["n::x"], view);
  await rest();
  answer();
  await Promise.all([first, second]);
  assert.equal(store.series[0].error, null);
  assertWhole(sisock, store, 0, 20_000, 64);
});

test("published samples follow the fetched ones, each once", async () => {
  const { sisock, clock, store, load } = setUp({ until: T0 + 500 });
  clock.now = T0 + 500;
  const live = { isLive: true };
  await load(-400, 500, live);
  sisock.publish(T0 + 509);
  clock.now = T0 + 509;
  assert.deepEqual(await load(-391, 509, live), []);
  assertWhole(sisock, store, -391, 509, 1);
  sisock.publish(T0 + 540);
  clock.now = T0 + 540;
  const [rest] = await load(-360, 540, live);
  assert.equal(rest.start, T0 + 500);
  assertWhole(sisock, store, -360, 540, 1);
  // Not followed for a while: what was published then is fetched when it is followed again.
  await store.load([], { start: T0, end: T0 + 1, points: 1000, isLive: true });
  sisock.publish(T0 + 545);
  clock.now = T0 + 545;
  await load(-355, 545, live);
  assertWhole(sisock, store, -355, 545, 1);
});

test("of fast samples no more are kept than there is room for, and no spike is lost", async () => {
  const { sisock, clock, store, load } = setUp({ until: T0 + 500, step: 0.001 });
  sisock.about = { ...sisock.about, interval: 0.001 };
  sisock.valueOf = (t) => (t === T0 + 503 ? 99 : Math.sin(t));
  clock.now = T0 + 500;
  await load(-400, 500, { isLive: true });
  const [curve] = store.series;
  const before = curve.t.length;
  for (let t = 500.05; t < 560; t += 0.05) sisock.publish(T0 + t);
  assert.ok(curve.t.length < before + 4000, `${curve.t.length}`);
  assert.equal(Math.max(...curve.values.array), 99);
  const t = [...curve.t.array];
  assert.deepEqual(t, [...new Set(t)].sort((a, b) => a - b));
  assert.ok(sisock.until - t.at(-1) < 0.002);
});

test("only chosen fields are followed, with as many samples as there is room for", async () => {
  const { sisock, store, load } = setUp({ until: T0 + 500 });
  await load(-400, 500, { isLive: true });
  assert.deepEqual([sisock.options.fields(), sisock.options.maxPoints()], [["x"], 1000]);
  await store.load(["n::x", "n::z"], { start: T0, end: T0 + 500, points: 70, isLive: true });
  assert.deepEqual([sisock.options.fields(), sisock.options.maxPoints()], [["x", "z"], 70]);
});

test("a gap of its timeline is kept until samples within it have come", async () => {
  const { sisock, clock, store, load } = setUp({ until: T0 + 500 });
  clock.now = T0 + 500;
  await load(-400, 500, { isLive: true });
  const gap = { start: T0 + 499, end: T0 + 510 };
  sisock.tell({ timeline: "b", gap });
  const lost = sisock.samples;
  sisock.samples = (start, end) => lost.call(sisock, start, end).filter((t) => t < T0 + 500 || t >= T0 + 510);
  sisock.tell({ timeline: "a", gap });
  sisock.publish(T0 + 520);
  clock.now = T0 + 520;
  await load(-380, 520, { isLive: true });
  const [curve] = store.series;
  assert.deepEqual(curve.gaps, [gap]);
  sisock.samples = lost;
  store.expire();
  sisock.finalTo = T0 + 505;
  clock.now = T0 + 540;
  sisock.node = { ...sisock.node, generation: "two" };
  await load(-360, 540, { isLive: true });
  assert.deepEqual(curve.gaps, []);
});

test("what a restarted node has forgotten stays on the screen", async () => {
  const { sisock, clock, store, load } = setUp({ until: T0 + 500 });
  clock.now = T0 + 500;
  await load(-400, 500, { isLive: true });
  sisock.publish(T0 + 510);
  const samples = sisock.samples;
  sisock.samples = (start, end) => samples.call(sisock, Math.max(start, T0 + 520), end);
  Object.assign(sisock, { until: T0 + 530, node: { ...sisock.node, generation: "two" } });
  clock.now = T0 + 530;
  await load(-370, 530, { isLive: true });
  sisock.publish(T0 + 540);
  const expected = [...Array(510).keys(), ...Array.from({ length: 20 }, (_, i) => 520 + i)];
  const shown = () => [...store.series[0].t.array].map((t) => t - T0);
  assert.deepEqual(shown(), expected);
  clock.now = T0 + 540;
  await load(-360, 540, { isLive: true });
  assert.deepEqual(shown(), expected);
  assert.deepEqual([...store.series[0].values.array], expected.map((i) => sisock.valueOf(T0 + i)));
});

test("text is followed, too, also where there was none", async () => {
  const { sisock, store, load } = setUp({ until: T0 });
  sisock.about = { ...sisock.about, type: "string" };
  await load(0, 500, { isLive: true });
  sisock.tell({ timeline: "a", t: Float64Array.of(T0 + 1, T0 + 2), values: { x: ["on", null] } });
  const [curve] = store.series;
  assert.deepEqual([[...curve.t.array], curve.values.array], [[T0 + 1, T0 + 2], ["on", null]]);
});

test("the fields of a node are asked for by one call", async () => {
  const { sisock, store } = setUp();
  const view = { start: T0, end: T0 + 20_000, points: 1000, isLive: false };
  await store.load(["n::x", "n::y"], view);
  assert.deepEqual(sisock.calls.map(({ names }) => names), [["x", "y"]]);
  await store.load(["n::x", "n::y", "n::z"], view);
  assert.deepEqual(sisock.calls[1].names, ["z"]);
});

test("a node without buckets is asked for few points, or with a stride", async () => {
  const { sisock, load } = setUp({ node: { name: "n", features: ["max_points"], generation: "one" } });
  assert.equal((await load(0, 20_000))[0].maxPoints, 1000);
  assert.equal((await load(0, 20_000))[0].maxPoints, 1000);
  sisock.node = { ...sisock.node, features: [] };
  assert.equal((await load(0, 60_000))[0].minStride, 60);
});

test("a node that is away leaves its curve, greyed, with the reason", async () => {
  const { sisock, store, load } = setUp();
  await load(0, 1000);
  sisock.node = null;
  store.mark("n", true);
  await load(0, 20_000);
  const [curve] = store.series;
  assert.deepEqual([curve.gone, curve.error], [true, "the data node n is not there"]);
  assert.ok(curve.t.length > 0);
  sisock.find = async () => {
    throw new SisockError("unreachable", "the router is not there");
  };
  await load(0, 20_000);
  assert.deepEqual([curve.gone, curve.error], [true, "the router is not there"]);
});

test("tiles that were longest not used go first", () => {
  const tiles = new Tiles();
  const none = { t: new Float64Array(0), values: new Float64Array(0), finalTo: 1e9 };
  tiles.put("s", 1, [0, 4 * TILE_BUCKETS], none, 0);
  tiles.read("s", 1, { start: 0, end: TILE_BUCKETS });
  tiles.trim(2);
  const view = { start: 0, end: 4 * TILE_BUCKETS };
  assert.deepEqual(tiles.missing("s", 1, view, 1e9), [[TILE_BUCKETS, 3 * TILE_BUCKETS]]);
});

test("the bucket size depends on the length of the view alone", () => {
  for (const span of [3600, 999.99, 1024, 86400 * 14]) {
    const w = bucketSizeOf(span, 1700, null, true);
    assert.equal(bucketSizeOf(span * (1 + 1e-9), 1700, null, true), w);
    assert.ok(2 * (span / w + 2) <= 1700 && 8 * (span / w) > 1700, `${span}`);
  }
  assert.equal(bucketSizeOf(1000, 1700, 1, true), 1);
  assert.equal(bucketSizeOf(1000, 1700, 0.995, true), 1);
  assert.equal(bucketSizeOf(1000, 1700, 0.9, true), 0.5);
  assert.equal(bucketSizeOf(10, 1700, 1, false), 2 ** -6);
});

test("requests are cut to the limits of the protocol, where tiles begin", () => {
  const curves = Array.from({ length: 50 }, (_, i) => i);
  const requests = requestsFor(curves.map((curve) => ({ curve, w: 1, ranges: [[10, 40_000]] })));
  let cells = 0;
  for (const { curves: some, range: [from, to] } of requests) {
    assert.ok(to - from <= 16_384 && (to - from) * some.length <= 524_288);
    assert.ok(from === 10 || from % TILE_BUCKETS === 0);
    cells += (to - from) * some.length;
  }
  assert.equal(cells, 50 * 39_990);
});

/** Numbers from 0 to 1 that are the same in each run. */
function* randomNumbers(seed) {
  for (let state = seed; ; ) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    yield state / 2 ** 32;
  }
}

test("whatever one looks at while samples come, none is stale or missing", async () => {
  for (let seed = 1; seed <= 20; seed += 1) {
    const numbers = randomNumbers(seed);
    const random = (low, high) => low + numbers.next().value * (high - low);
    const { sisock, clock, store, load } = setUp({ until: T0 + 3000, step: [1, 0.25][seed % 2] });
    clock.now = sisock.until;
    let [middle, half, final] = [1500, 1000, T0];
    for (let step = 0; step < 40; step += 1) {
      const kind = random(0, 1);
      if (kind < 0.4) middle += random(-half, half);
      else if (kind < 0.7) half *= [0.5, 2][Math.round(random(0, 1))];
      else if (kind < 0.9) {
        clock.now += random(10, 500);
        sisock.until = clock.now;
      } else [sisock.node, final] = [{ ...sisock.node, generation: `${step}` }, T0];
      // What nobody called final may be corrected; now and then a replica is behind.
      const [corrected, until, before] = [random(0, 9), final, sisock.valueOf];
      sisock.valueOf = (t) => (t >= until ? corrected : before(t));
      final = Math.max(final, sisock.until - random(1, 300));
      sisock.finalTo = final - Math.max(random(-400, 200), 0);
      clock.now += 10;
      await load(middle - half, middle + half);
      const w = bucketSizeOf(2 * half, 1000, 1, store.series[0].isRegular);
      assertWhole(sisock, store, middle - half, middle + half, w);
    }
  }
});
