import assert from "node:assert/strict";
import { test } from "node:test";

import { columnsWithin, fill, inOrder } from "../page/values/arrangement.js";
import { judge } from "../page/panels/limits.js";
import { ageText, staleSeconds } from "../page/values/age.js";
import { sparkline } from "../page/values/sparkline.js";

const LIMITS = { warning: [0, 10], alarm: [null, 20] };

test("a value is judged by the limit that matters most", () => {
  const judged = (value, limits = LIMITS) => Object.values(judge(value, limits));
  assert.deepEqual(judged(25), ["alarm", "high", 20]);
  assert.deepEqual(judged(20), ["warning", "high", 10]);
  assert.deepEqual(judged(-1), ["warning", "low", 0]);
  for (const well of [0, 10, null, NaN, "25"]) assert.deepEqual(judged(well), [null, null, null], String(well));
  assert.deepEqual(judged(-3, { warning: null, alarm: [-2, null] }), ["alarm", "low", -2]);
  for (const none of [undefined, { warning: null, alarm: null }]) assert.equal(judge(7, none).level, null);
});

test("a field is stale as its node says, else after five intervals", () => {
  assert.equal(staleSeconds({ staleAfter: 3, interval: 60 }), 3);
  assert.equal(staleSeconds({ staleAfter: null, interval: 60 }), 300);
  assert.equal(staleSeconds({ interval: 0.01 }), 5);
  assert.equal(staleSeconds({ interval: null }), null);
  assert.equal(staleSeconds(null), null);
});

test("while a node has a trouble, its fields are stale soon", () => {
  assert.equal(staleSeconds({ staleAfter: 60, interval: null }, "it is off"), 5);
  assert.equal(staleSeconds({ staleAfter: null, interval: null }, "it is off"), 5);
  assert.equal(staleSeconds({ staleAfter: 3, interval: null }, "it is off"), 3);
  assert.equal(staleSeconds({ staleAfter: null, interval: 60 }, "it is off"), 300);
});

test("an age has a number and a unit", () => {
  const texts = { 0: "now", 1.9: "now", 2: "2 s", 59.9: "59 s", 60: "1 min", 7199: "1 h", 172800: "2 d", 31536000: "1 y" };
  for (const [seconds, text] of Object.entries(texts)) assert.equal(ageText(Number(seconds)), text);
  assert.equal(ageText(-0.5), "now");
  assert.equal(ageText(-90), "−1 min");
});

const RANGE = { start: 0, end: 100 };
const curve = (t, values, more = {}) => ({ t: Float64Array.from(t), values, longest: 15, gaps: [], ...more });

test("a sparkline goes from the smallest value to the largest and keeps gaps", () => {
  assert.equal(sparkline(curve([0, 10, 20], [1, 3, 2]), RANGE, 100, 23), "M0 21.5L10 1.5L20 11.5");
  assert.equal(sparkline(curve([0, 10, 50, 60], [0, 1, 1, 0]), RANGE, 100, 23), "M0 21.5L10 1.5M50 1.5L60 21.5");
  assert.equal(sparkline(curve([0, 10, 20], [0, NaN, 1]), RANGE, 100, 23), "M0 21.5h0M20 1.5h0");
  assert.equal(sparkline(curve([10, 20], [false, true]), RANGE, 100, 23), "M10 21.5L20 1.5");
});

test("a constant sparkline is in the middle, and none is nothing", () => {
  assert.equal(sparkline(curve([0, 10], [7, 7]), RANGE, 100, 20), "M0 10L10 10");
  assert.equal(sparkline(curve([], []), RANGE, 100, 20), "");
  assert.equal(sparkline(curve([10, 20], [NaN, null]), RANGE, 100, 20), "");
});

test("what lies before the range doesn't change a sparkline's scale", () => {
  const path = sparkline(curve([-10, 0, 10], [1000, 1, 2]), RANGE, 100, 23);
  assert.equal(path, "M-10 1.5L0 21.5L10 1.5");
});

const row = (key, level, value, t) => ({ key, level, value, t });

test("rows are sorted as chosen, and equal ones keep their order", () => {
  const rows = [
    row("n::a10", "", 5, 3),
    row("n::a9", "alarm", "text", 1),
    row("n::b", "warning", null, null),
    row("n::c", "stale", -1, 2),
    row("m::d", "warning", 5, 9),
  ];
  const sorted = (order) => inOrder(rows, order).map(({ key }) => key.split("::")[1]);
  assert.deepEqual(sorted("given"), ["a10", "a9", "b", "c", "d"]);
  assert.deepEqual(sorted("name"), ["d", "a9", "a10", "b", "c"]);
  assert.deepEqual(sorted("level"), ["a9", "b", "d", "c", "a10"]);
  assert.deepEqual(sorted("value"), ["c", "a10", "d", "a9", "b"]);
  assert.deepEqual(sorted("age"), ["d", "a10", "c", "a9", "b"]);
});

test("rows fill a screen with the largest type that has room", () => {
  for (const [count, width, height] of [[1, 1920, 1080], [20, 1920, 1080], [200, 3840, 2160], [7, 400, 900]]) {
    const { columns, size } = fill(count, width, height);
    assert.ok(columns >= 1 && columns <= count, `${columns} columns for ${count}`);
    assert.ok((Math.ceil(count / columns) + 1) * 1.9 * size <= height + 1e-6 || size === 12);
    assert.ok(columns * 26 * size <= width + 1e-6);
  }
  assert.ok(fill(200, 3840, 2160).columns >= 4);
  assert.equal(fill(7, 400, 900).columns, 1);
  assert.equal(fill(10_000, 1920, 1080).size, 12);
  assert.equal(fill(0, 1920, 1080).columns, 1);
  assert.equal(columnsWithin(300, 14), 1);
});
