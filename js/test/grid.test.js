import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { bucketOf, bucketSizeFor, decimate, decimateTo, edges } from "../grid.js";

// Written by tests/vectors/make.py; JSON has no NaN and no infinities, so null stands for them.
const vectors = JSON.parse(readFileSync(new URL("../../tests/vectors/grid.json", import.meta.url)));

test("times lie in the buckets of the shared vectors", () => {
  for (const { t, w, i } of vectors.bucketOf) assert.equal(bucketOf(t, w), i, `${t} by ${w}`);
});

test("bucket sizes are those of the shared vectors", () => {
  for (const { first, last, maxPoints, w } of vectors.sizeFor) {
    assert.equal(bucketSizeFor(first, last, maxPoints), w, `${first} to ${last} in ${maxPoints}`);
  }
});

test("the samples of the shared vectors are kept", () => {
  for (const { t, values, w, kept } of vectors.decimate) assert.deepEqual(decimate(t, values, w), kept);
  for (const { t, values, maxPoints, kept, w } of vectors.decimateTo) {
    assert.deepEqual(decimateTo(t, values, maxPoints), { kept, w });
  }
});

/** All series of up to four samples, at times that may be equal, of these values. */
function* allSeries(values) {
  const extend = function* (t, v) {
    yield [t, v];
    if (t.length === 4) return;
    for (const step of t.length ? [0, 1, 3] : [-2, 0]) {
      for (const value of values) yield* extend([...t, (t.at(-1) ?? 0) + step], [...v, value]);
    }
  };
  yield* extend([], []);
}

const take = (kept, array) => kept.map((i) => array[i]);

for (const [kind, values] of Object.entries({ numbers: [1, 2, NaN], strings: ["a", "b", null], booleans: [true, false, null] })) {
  test(`decimated ${kind} compose, and join where they were cut`, () => {
    for (const [t, v] of allSeries(values)) {
      const once = decimate(t, v, 4);
      const finer = decimate(t, v, 2);
      const twice = take(decimate(take(finer, t), take(finer, v), 4), finer);
      assert.deepEqual(twice, once, JSON.stringify([t, v]));
      const cut = t.findIndex((time) => time >= 0);
      if (cut < 0) continue;
      const [low, high] = [decimate(t.slice(0, cut), v.slice(0, cut), 4), decimate(t.slice(cut), v.slice(cut), 4)];
      assert.deepEqual([...low, ...high.map((i) => i + cut)], once);
    }
  });
}

test("typed arrays are decimated as lists are, 64-bit integers exactly", () => {
  const t = [0, 1, 2, 3];
  const big = BigInt64Array.from([2n ** 62n, 2n ** 62n + 1n, 2n ** 62n - 1n, 2n ** 62n]);
  assert.deepEqual(decimate(t, big, 4), [1, 2]);
  assert.deepEqual(decimate(t, Float32Array.from([Infinity, 5, NaN, 5]), 4), [1]);
  assert.deepEqual(decimate(t, Float64Array.from([NaN, -Infinity, NaN, NaN]), 2), [0, 2]);
});

test("buckets before 1970 count downwards, and no samples have no buckets", () => {
  assert.deepEqual(edges([-3, -2.5, -2, -0.5, 0, 1.9, 2], 2), [0, 2, 4, 6, 7]);
  assert.deepEqual(edges([], 2), [0]);
  assert.deepEqual(decimateTo([], [], 8), { kept: [], w: null });
});

test("few points hold both ends and every spike", () => {
  const t = Float64Array.from({ length: 100000 }, (_, i) => i);
  const values = Float64Array.from(t, (v) => Math.sin(v / 77));
  [values[7], values[43210], values[99998]] = [-9, 9, -8];
  for (const points of [8, 9, 100, 1001]) {
    const { kept } = decimateTo(t, values, points);
    assert.ok(kept.length <= points && kept.length > points / 4);
    for (const index of [0, 7, 43210, 99999]) assert.ok(kept.includes(index), `${index} of ${points}`);
  }
});
