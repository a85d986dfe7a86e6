// Ranges of time and times as text.

import assert from "node:assert/strict";
import { test } from "node:test";

import { rangeOf } from "../page/state.js";
import { PRESETS, pan, parseRange, parseTime, within, zoom } from "../page/time/ranges.js";
import { durationText, rangeText, timeText, zoneText } from "../page/time/text.js";
import { timeTicks } from "../page/time/ticks.js";

const NOW = 1.5e9;
const FOLLOWING = { span: 100, offset: 0 };

test("typed ranges are ISO, or count from now and then follow", () => {
  assert.deepEqual(parseRange("-2d", "now", "utc", NOW), { span: 172800, offset: 0 });
  assert.deepEqual(parseRange("now-2h", "-30min", "utc", NOW), { span: 5400, offset: 1800 });
  assert.deepEqual(parseRange("-1 h", "now", "utc", NOW), { span: 3600, offset: 0 });
  assert.deepEqual(parseRange("1970-01-02", "1970-01-02T00:01Z", "utc", NOW), { from: 86400, to: 86460 });
  assert.deepEqual(parseRange("2017-07-14T02:00:00Z", "now", "utc", NOW), { span: 2400, offset: 0 });
  assert.throws(() => parseRange("now", "-1h", "utc", NOW), /before/);
  assert.throws(() => parseRange("yesterday", "now", "utc", NOW), /are written/);
  for (const none of ["", "2", "-2", "- d", "-2 fortnights", "12:00"]) assert.ok(Number.isNaN(parseTime(none, "utc", NOW)), none);
});

test("local times are those of the browser's zone", () => {
  const t = parseTime("2017-07-14 12:00", "local");
  assert.equal(timeText(t, "local"), "2017-07-14 12:00:00");
  assert.equal(parseTime("2017-07-14 12:00Z", "local"), parseTime("2017-07-14 12:00", "utc"));
  assert.equal(zoneText("utc", t), "UTC");
  assert.match(zoneText("local", t), /^UTC[+−]\d\d:\d\d$/);
});

test("what follows keeps its newest sample when one zooms without a place", () => {
  assert.deepEqual(zoom(FOLLOWING, 0.5, null, NOW), { span: 50, offset: 0 });
  assert.deepEqual(zoom(FOLLOWING, 2, NOW - 20, NOW), { span: 200, offset: 0 });
  assert.deepEqual(zoom(FOLLOWING, 0.5, NOW - 60, NOW), { from: NOW - 80, to: NOW - 30 });
  assert.deepEqual(zoom(FOLLOWING, 0.5, NOW - 0.5, NOW), { span: 50, offset: 0 });
});

test("a place keeps where it is while one zooms", () => {
  const fixed = { from: 1000, to: 2000 };
  assert.deepEqual(zoom(fixed, 0.5), { from: 1250, to: 1750 });
  assert.deepEqual(zoom(fixed, 0.5, 1200), { from: 1100, to: 1600 });
  assert.deepEqual(pan(fixed, 0.1), { from: 1100, to: 2100 });
  assert.deepEqual(pan(FOLLOWING, -0.5, NOW), { from: NOW - 150, to: NOW - 50 });
});

test("no range is longer or shorter than can be drawn", () => {
  let time = { from: 1000, to: 2000 };
  for (let i = 0; i < 100; i += 1) time = zoom(time, 2);
  assert.ok(rangeOf(time).end - rangeOf(time).start <= 100 * 365 * 86400);
  for (let i = 0; i < 100; i += 1) time = zoom(time, 0.5);
  const { start, end } = rangeOf(time);
  assert.ok(end > start);
  assert.equal(timeText(start).length, 19);
  assert.ok(within({ span: 1e20, offset: -5 }).offset === 0);
  assert.deepEqual([PRESETS[0], PRESETS.at(-1)], [60, 3650 * 86400]);
});

test("ranges and lengths of time are written briefly", () => {
  const at = (text) => parseTime(text);
  assert.equal(rangeText(at("2017-07-14"), at("2017-07-28")), "14–28 Jul 2017");
  assert.equal(rangeText(at("2017-06-14"), at("2017-07-28")), "14 Jun – 28 Jul 2017");
  assert.equal(rangeText(at("2016-06-14"), at("2017-07-28")), "14 Jun 2016 – 28 Jul 2017");
  assert.equal(rangeText(at("2017-07-14 12:00"), at("2017-07-14 13:00")), "2017-07-14 12:00 – 13:00");
  assert.equal(rangeText(at("2017-07-14 12:00"), at("2017-07-14 13:00"), "utc", true), "14 Jul 2017");
  assert.equal(rangeText(at("2017-07-14 23:59"), at("2017-07-15 00:01")), "2017-07-14 23:59:00 – 2017-07-15 00:01:00");
  assert.deepEqual([59, 90, 5400, 86400, 730 * 86400].map(durationText), ["59 s", "1.5 min", "1.5 h", "1 d", "2 y"]);
});

test("the time axis has ticks at whole times, as many as there is room for", () => {
  const start = Date.UTC(2017, 6, 14, 2, 40) / 1000;
  const ticks = (span, pixels) => timeTicks({ start, end: start + span }, "utc", pixels);
  const texts = (span, pixels) => ticks(span, pixels).map(({ text }) => text);
  assert.deepEqual(texts(7200, 300), ["03:00\n2017-07-14", "03:30", "04:00", "04:30"]);
  assert.deepEqual(texts(30, 300), ["02:40:00\n2017-07-14", "02:40:10", "02:40:20", "02:40:30"]);
  assert.deepEqual(texts(14 * 86400, 300), ["07-17\n2017", "07-21", "07-25"]);
  assert.deepEqual(texts(100 * 86400, 300), ["2017-08", "2017-09", "2017-10"]);
  for (let span = 60; span < 10 * 365 * 86400; span *= 1.1) {
    const count = texts(span, 800).length;
    assert.ok(count >= 3 && count <= 13, `${span} s: ${count}`);
  }
  for (const span of [0.01, 1, 60, 600, 86400, 14 * 86400, 3e7, 3e8]) {
    for (const pixels of [-50, 0, 200, 1000, 3000]) {
      const times = ticks(span, pixels).map(({ value }) => value);
      assert.ok(times.length <= Math.max(pixels, 60) / 60 + 1, `${span} s at ${pixels}: ${times.length}`);
      assert.ok(times.every((t) => t >= start && t <= start + span));
    }
  }
});
