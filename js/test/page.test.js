import assert from "node:assert/strict";
import { test } from "node:test";

import { firstFrom } from "../arrays.js";
import { decimateTo } from "../grid.js";
import { longestSpacing, visible } from "../page/data/curves.js";
import { parseTime } from "../page/time/ranges.js";
import { timeLabels } from "../page/time/text.js";
import { Curve } from "../page/data/curve.js";
import { Growing } from "../page/data/growing.js";
import { rowsOf } from "../page/panels/table.js";
import { valueText } from "../page/panels/units.js";

test("what is drawn keeps smallest and largest at their own times", () => {
  const n = 100000;
  const t = Float64Array.from({ length: n }, (_, i) => i);
  const values = Float64Array.from({ length: n }, (_, i) => Math.sin(i / 50));
  values[54321] = 99;
  values[12345] = -99;
  const { x, y } = visible(t, values, 0, n, 500, 1);
  assert.ok(x.length < 5 * 501);
  assert.equal(y[x.indexOf(54321)], 99);
  assert.equal(y[x.indexOf(12345)], -99);
  for (let i = 1; i < x.length; i += 1) assert.ok(x[i] > x[i - 1]);
  assert.deepEqual([x[0], x.at(-1)], [0, n - 1]);
});

test("gaps and missing values stay visible, long curve or short", () => {
  for (const pixels of [10, 10000]) {
    const t = Float64Array.from({ length: 1000 }, (_, i) => (i < 500 ? i : i + 100));
    const values = Float64Array.from(t, (v, i) => (i === 250 ? NaN : v));
    const { x, y } = visible(t, values, 0, 2000, pixels, 5);
    const gaps = x.filter((_, i) => y[i] === null);
    assert.deepEqual(gaps, [250, 549.5]);
  }
});

test("where samples are lost the line is broken, however short the time", () => {
  const t = Float64Array.from({ length: 1000 }, (_, i) => i);
  for (const pixels of [10, 10000]) {
    const { x, y } = visible(t, t, 0, 2000, pixels, 5, [{ start: 99, end: 100 }, { start: 2000, end: 3000 }]);
    assert.deepEqual(x.filter((_, i) => y[i] === null), [99.5]);
  }
});

/** A series without a gap but the one of 10,000 s that begins at second 50,000, decimated. */
function decimated(n, valueOf, points) {
  const t = Float64Array.from({ length: n }, (_, i) => (i < 50000 ? i : i + 10000));
  const values = Float64Array.from({ length: n }, (_, i) => valueOf(i));
  const { kept, w } = decimateTo(t, values, points);
  return { t: Float64Array.from(kept, (i) => t[i]), values: Float64Array.from(kept, (i) => values[i]), w };
}

test("a decimated curve is whole but for its gap, whatever its shape", () => {
  const shapes = { sine: (i) => Math.sin(i / 50), still: () => 1, ramp: (i) => i, saw: (i) => -i % 400, noise: (i) => (i * 7919) % 1009 };
  for (const [name, valueOf] of Object.entries(shapes)) {
    for (const points of [500, 2000, 60000]) {
      const { t, values, w } = decimated(100000, valueOf, points);
      const { x, y } = visible(t, values, 0, 2e5, points / 2, longestSpacing(t, w, 1));
      assert.deepEqual(x.filter((_, i) => y[i] === null).length, 1, `${name} in ${points} points`);
    }
  }
});

test("a gap is wider than two buckets and than five usual spacings", () => {
  const t = Float64Array.from({ length: 100 }, (_, i) => i + 1000 * Math.floor(i / 10));
  assert.equal(longestSpacing(t, null, 1), 5);
  assert.equal(longestSpacing(t, 64, 1), 128);
  assert.equal(longestSpacing(t, 2, 7), 5);
  assert.equal(longestSpacing(Float64Array.from([7]), null, 2), 10);
  assert.equal(longestSpacing(Float64Array.from([7]), null, null), Infinity);
});

test("64-bit integers are kept and written whole", () => {
  const big = series("n::i", null, [0, 1], BigInt64Array.from([1n, 2n ** 63n - 1n]));
  assert.deepEqual(rowsOf([big]), [[0, 1n], [1, 2n ** 63n - 1n]]);
  big.t.append([2]);
  big.values.append([5]);
  assert.deepEqual(big.values.array, [1n, 2n ** 63n - 1n, 5]);
});

test("the drawn part goes one sample beyond each edge", () => {
  const t = Float64Array.from([0, 1, 2, 3, 4, 5]);
  assert.deepEqual(visible(t, t, 1.5, 3.5, 100, 1).x, [1, 2, 3, 4]);
  assert.equal(firstFrom(t, 2), 2);
  assert.equal(firstFrom(t, 99), 6);
});

test("a published sample of a wrong time goes when earlier ones follow it", () => {
  const curve = new Curve("n::x");
  curve.append([1, 2], [10, 20]);
  curve.append([90_000], [0]);
  curve.append([3, 4], [30, 40]);
  assert.deepEqual([curve.t.array, curve.values.array], [[1, 2, 3, 4], [10, 20, 30, 40]]);
});

test("live samples are added without losing any", () => {
  const growing = new Growing(Float64Array.from([0]));
  for (let i = 1; i < 1000; i += 1) growing.append([i]);
  growing.append([null]);
  assert.equal(growing.array.length, 1001);
  assert.ok(Number.isNaN(growing.array.at(-1)));
  assert.equal(growing.array[999], 999);
});

const series = (key, units, t, values) => ({ key, about: { units }, t: new Growing(Float64Array.from(t)), values: new Growing(values) });

test("the table has a row for each time of any field", () => {
  const both = [
    series("n::a", "K", [0, 1], Float64Array.from([1.5, NaN])),
    series('n::"b"', null, [1, 2], ["x,y", null]),
  ];
  assert.deepEqual(rowsOf(both), [[0, 1.5, null], [1, null, "x,y"], [2, null, null]]);
});

test("times at the axis are of 24 hours, with what they have in common once", () => {
  const labels = (step, ...times) => timeLabels(times.map((text) => parseTime(text)), step);
  assert.deepEqual(labels(7200, "2017-07-14 22:00", "2017-07-15", "2017-07-15 02:00"), ["22:00\n2017-07-14", "00:00\n2017-07-15", "02:00"]);
  assert.deepEqual(labels(86400, "2017-12-31", "2018-01-01", "2018-01-02"), ["12-31\n2017", "01-01\n2018", "01-02"]);
  assert.deepEqual(labels(15, "2017-07-14 13:00:15", "2017-07-14 13:00:30"), ["13:00:15\n2017-07-14", "13:00:30"]);
  assert.deepEqual(labels(0.05, "2017-07-14 13:00:15.05", "2017-07-14 13:00:15.10"), ["13:00:15.05\n2017-07-14", "13:00:15.10"]);
  assert.deepEqual(labels(31 * 86400, "2017-07-01", "2017-08-01"), ["2017-07", "2017-08"]);
  assert.deepEqual(labels(366 * 86400, "2016-01-01", "2017-01-01"), ["2016", "2017"]);
});

test("times are read as people write them", () => {
  assert.equal(parseTime("1970-01-02"), 86400);
  for (const same of ["1970-01-01 00:01:00", " 1970-01-01T00:01Z ", "1970-01-01 00:01:00.000"]) assert.equal(parseTime(same), 60);
  for (const none of ["", "yesterday", "1970-13-01", "1970-01-01 25:00", "12:00"]) assert.ok(Number.isNaN(parseTime(none)), none);
});

test("values are shown with the digits and labels that the node names", () => {
  assert.equal(valueText(2 / 3, { precision: 2, labels: {} }), "0.67");
  assert.equal(valueText(1234567890.5, null), "1234567900");
  assert.equal(valueText(1, { precision: null, labels: { 1: "open" } }), "open");
  assert.equal(valueText(true, { labels: { true: "on" } }), "on");
  assert.deepEqual([valueText(null, {}), valueText(NaN, {}), valueText("text", {})], ["", "", "text"]);
});
