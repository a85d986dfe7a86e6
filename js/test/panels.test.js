// What panels show: lines, units, axes, limits, lanes, and where panels are.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Growing } from "../page/data/growing.js";
import { axisRange, roomFor, statisticsOf, tickScale, valueTicks, withEdges } from "../page/panels/axes.js";
import { figureOf } from "../page/panels/figure.js";
import { runsOf } from "../page/panels/lanes.js";
import { valueIn } from "../page/panels/legend.js";
import { judge, limitsOf } from "../page/panels/limits.js";
import { trace } from "../page/panels/lines.js";
import { changeField, changePanel, isolateField, movePanel, removePanel } from "../page/panels/place.js";
import { axisLabels, columnTexts, numberText, precisionOf, scaledUnit } from "../page/panels/units.js";

/** What is traced of a curve: its lines as lists of [x, y], a point by its middle. */
function tracedLines(curve, range, pixels) {
  const lines = [];
  const ctx = {
    moveTo: (x, y) => lines.push([[x, y]]),
    lineTo: (x, y) => lines.at(-1).push([x, y]),
    arc: () => lines.at(-1).push("point"),
  };
  const toX = (t) => (pixels * (t - range.start)) / (range.end - range.start);
  trace(ctx, curve, range, toX, (value) => value, pixels);
  return lines;
}

const curveOf = (t, values, more = {}) => ({ t: new Growing(t), values: new Growing(values), longest: 5, gaps: [], ...more });

test("a line becomes thicker by and by as one zooms in, not at once", () => {
  const widths = [2000, 1000, 900, 500, 100, 0].map((count) => {
    const t = Float64Array.from({ length: count }, (_, i) => (1000 * i) / count);
    const ctx = { moveTo() {}, lineTo() {}, arc() {} };
    return trace(ctx, curveOf(t, t), { start: 0, end: 1000 }, Number, Number, 1000);
  });
  assert.deepEqual([widths[0], widths.at(-1)], [1, 1.75]);
  widths.slice(1).forEach((width, i) => assert.ok(width - widths[i] >= 0 && width - widths[i] < 0.3));
});

test("the numbers of a column of the table have the same digits after the point", () => {
  assert.deepEqual(columnTexts([1.5, 1.25, -2, null, 1e-7], null), ["1.50", "1.25", "-2.00", "", "1e-7"]);
  assert.deepEqual(columnTexts([1.5, 1.25], { precision: 1 }), ["1.5", "1.3"]);
  assert.deepEqual(columnTexts([3, 4n, true], null), ["3", "4", "true"]);
  assert.deepEqual(columnTexts(["1.5", "1.25"], null), ["1.5", "1.25"]);
});

test("a line keeps every spike, however many samples share a pixel", () => {
  const t = Float64Array.from({ length: 100_000 }, (_, i) => i);
  const values = Float64Array.from(t, (i) => Math.sin(i / 50));
  [values[54_321], values[12_345]] = [99, -99];
  const lines = tracedLines(curveOf(t, values), { start: 0, end: 1e5 }, 500);
  assert.equal(lines.length, 1);
  assert.ok(lines[0].length < 5 * 502);
  const ys = lines[0].map(([, y]) => y);
  assert.deepEqual([Math.max(...ys), Math.min(...ys)], [99, -99]);
});

test("a line ends at gaps, missing values and lost samples, and a lonely sample is a point", () => {
  const t = Float64Array.from({ length: 1000 }, (_, i) => (i < 500 ? i : i + 100));
  const values = Float64Array.from(t, (_, i) => (i === 250 ? NaN : i));
  for (const pixels of [100, 10_000]) {
    const starts = tracedLines(curveOf(t, values), { start: 0, end: 1e4 }, pixels).filter((line) => !line.includes("point"));
    assert.equal(starts.length, 3, `${pixels}`);
  }
  const lost = tracedLines(curveOf(t, values, { gaps: [{ start: 99, end: 100 }] }), { start: 0, end: 300 }, 100);
  assert.equal(lost.length, 3);
  assert.deepEqual(tracedLines(curveOf([0, 50], [1, 2]), { start: 0, end: 100 }, 10).flat().filter((each) => each === "point").length, 2);
});

test("units take SI prefixes, but not those that have none", () => {
  const text = (unit, largest) => scaledUnit(unit, largest).text;
  const cases = [
    ["K", 0.05, "mK"], ["K", 300, "K"], ["K", 0.67, "K"], ["Pa", 101_325, "kPa"], ["V", 4e-6, "µV"], ["m/s", 0.002, "mm/s"],
    ["mK", 0.05, "µK"], ["mK", 50, "mK"], ["mK", 5000, "K"], ["s", 5000, "s"], ["s", 2e-5, "µs"], ["V", 1e-20, "pV"],
    ["°C", 0.01, "°C"], ["%", 1e-5, "%"], ["hPa", 5000, "hPa"], ["m²", 1e6, "m²"], ["rpm", 9000, "rpm"], ["", 1e9, ""], ["K", NaN, "K"],
    ["mbar", 1.2e-7, "mbar"], ["mbar", 5000, "mbar"], ["bar", 1e-7, "bar"], ["bytes", 19.6e9, "GB"], ["bytes/s", 2e6, "MB/s"], ["percent", 5000, "percent"], ["C", 0.01, "C"], ["F", 0.01, "F"], ["nF", 5000, "µF"],
    ["dB", 1e-3, "dB"], ["dBm", 1e-3, "dBm"], ["deg", 1e-3, "deg"], ["degC", 1e-3, "degC"], ["degrees", 1e4, "degrees"], ["counts", 1e9, "counts"],
    ["ppm", 1e-3, "ppm"], ["arcsec", 1e-3, "arcsec"], ["pH", 7, "pH"],
  ];
  for (const [unit, largest, expected] of cases) assert.equal(text(unit, largest), expected, `${unit} ${largest}`);
  assert.equal(numberText(0.0443014, scaledUnit("K", 0.05).factor, 6), "44.301");
  assert.equal(numberText(101_325, scaledUnit("Pa", 101_325).factor), "101.325");
  assert.deepEqual([numberText(NaN), numberText(Infinity), numberText(-2.5e-7), numberText(3)], ["", "Infinity", "-2.5e-7", "3"]);
});

test("labels of an axis have the digits that tell them apart, and room", () => {
  assert.deepEqual(axisLabels([0.05, 0.055, 0.06], 0.005, 1000), ["50", "55", "60"]);
  assert.deepEqual(axisLabels([1, 1.25], 0.25, 1), ["1.00", "1.25"]);
  assert.deepEqual(axisLabels([0, 1.9e9, 2e9], 1e8, 1), ["0", "1.9e9", "2.0e9"]);
  assert.deepEqual(axisLabels([-5e-8, 0, 1e-7], 5e-8, 1), ["-0.5e-7", "0", "1.0e-7"]);
  assert.deepEqual(axisLabels([0, 2e-6, 4e-6], 2e-6, 1), ["0", "2e-6", "4e-6"]);
  assert.ok(roomFor(["0", "1,234,567,890"], 13) > roomFor(["0"], 13) && roomFor([], 13) > 0);
});

test("labels of an axis differ, also of a small range far from zero: they count from a round value then", () => {
  const shown = (unit, range, pixels = 172) => {
    const scale = tickScale(unit, range, false);
    return [scale.text, ...valueTicks({ range, ...scale }, pixels).map(({ text }) => text)];
  };
  assert.deepEqual(shown("Hz", [1420405747.5, 1420405754.5]), ["Hz + 1.42040575 GHz", "-2", "0", "2", "4"]);
  assert.deepEqual(shown("K", [273.149989, 273.150011]), ["µK + 273.15 K", "-10", "-5", "0", "5", "10"]);
  assert.deepEqual(shown("", [1.5e9, 1.50002e9]), ["+ 1.5e9", "0", "5000", "10000", "15000", "20000"]);
  assert.deepEqual(shown("hPa", [1013.2, 1013.3])[0], "hPa");
  for (const low of [0, 1, -273.15, 1e9, 1.7e9, -4e12, 6e-9]) {
    for (const span of [1e-9, 1e-6, 1e-3, 1, 70, 4e3, 1e6]) {
      if (span < Math.abs(low) * 1e-13) continue;
      for (const pixels of [60, 172, 1600]) {
        const [, ...texts] = shown("counts", [low, low + span], pixels);
        assert.equal(new Set(texts).size, texts.length, `${low} ${span}: ${texts}`);
        assert.ok(Math.max(...texts.map((text) => text.length)) <= 10, `${low} ${span}: ${texts}`);
        assert.ok(texts.length >= (pixels > 100 ? 2 : 1) && texts.length <= pixels / 28 + 2, `${low} ${span} ${pixels}: ${texts}`);
      }
    }
  }
});

test("values of the legend have as many digits as their range needs", () => {
  const text = (value, low, high, unit = "") => {
    const { factor } = scaledUnit(unit, Math.max(Math.abs(low), Math.abs(high)));
    return numberText(value, factor, precisionOf(value, low, high, factor));
  };
  assert.deepEqual([text(72.760912, 24, 100), text(100, 24, 100), text(23.7300123e9, 22.6e9, 24e9, "bytes")], ["72.8", "100", "23.73"]);
  assert.equal(text(1420405751.123, 1420405748, 1420405754, "Hz"), "1.42040575112");
  assert.deepEqual([text(5, 5, 5), text(0.1 + 0.2, 0.3, 0.3), text(12.3456, 0, 12345)], ["5", "0.3", "12"]);
  assert.deepEqual([text(-1e-9, -5, 5), text(3.14159e-9, 0, 6e-9)], ["0.0", "3.14e-9"]);
  assert.deepEqual([text(100, 99.2, 100), text(99.2, 99.2, 100), text(99.8941234, 99.2, 100)], ["100.0", "99.2", "99.894"]);
  assert.deepEqual([text(1.1812e-7, 1e-7, 1.0001e-5, "mbar"), text(1.0001e-5, 1e-7, 1.0001e-5, "mbar")], ["1.18e-7", "1.000e-5"]);
});

test("an axis has round ticks, as many as there is room for", () => {
  const texts = (range, pixels, factor = 1) => valueTicks({ range, factor, isLog: false }, pixels).map(({ text }) => text);
  assert.deepEqual(texts([0, 1], 140), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
  assert.deepEqual(texts([0, 1], 1600).length, 21);
  assert.deepEqual(texts([-6.2, 6.3], 172), ["-5", "0", "5"]);
  assert.deepEqual(texts([0.0251, 0.0749], 172, 1000), ["30", "40", "50", "60", "70"]);
  assert.deepEqual(texts([3, 4], 5), ["3", "4"]);
  for (const pixels of [1, 30, 100, 172, 1000, 2000]) {
    for (const range of [[0, 1], [-3, 7e5], [1e9, 1e9 + 1], [1e-300, 2e-300], [-1e308, 1e308], [1, 1 + Number.EPSILON]]) {
      assert.ok(texts(range, pixels).length <= pixels / 28 + 2, `${range} at ${pixels}`);
    }
  }
});

test("a logarithmic axis has decades, and what is between them where there is room", () => {
  const ticks = (range, pixels) => valueTicks({ range, factor: 1, isLog: true }, pixels);
  const texts = (range, pixels) => ticks(range, pixels).map(({ text }) => text).filter(Boolean);
  assert.deepEqual(texts([1, 1e5], 172), ["1", "10", "100", "1000", "10000", "1e5"]);
  assert.equal(ticks([1, 1e5], 172).length, 46);
  assert.deepEqual(texts([1e-9, 1e9], 172), ["1e-9", "1e-6", "0.001", "1", "1000", "1e6", "1e9"]);
  assert.deepEqual(texts([0.1, 10], 300), ["0.1", "0.2", "0.5", "1", "2", "5", "10"]);
  assert.deepEqual(texts([30, 45], 100), ["30", "35", "40", "45"]);
});

test("the range of an axis is automatic, with the line at the edges, fixed at either end, or whole decades", () => {
  const range = { start: 0, end: 10 };
  const own = statisticsOf(curveOf([0, 1, 2, 11], [NaN, 2, 4, 99]), range);
  assert.deepEqual([own.count, own.low, own.high, own.mean], [3, 2, 4, 3]);
  const [low, high] = axisRange([own]);
  assert.ok(low < 2 && low > 1.5 && high > 4 && high < 4.5);
  assert.deepEqual(axisRange([own], { low: 0, high: 10 }), [0, 10]);
  assert.equal(axisRange([own], { low: 0 })[0], 0);
  assert.deepEqual(axisRange([own], { isLog: true }), [1, 10]);
  for (const odd of [axisRange([]), axisRange([own], { low: 50 }), axisRange([own], { low: 5, high: 3 }), axisRange([], { isLog: true })]) {
    assert.ok(odd[0] < odd[1], `${odd}`);
  }
  const slope = withEdges(statisticsOf(curveOf([0], [5]), range), curveOf([-2, 12], [0, 14], { longest: 20 }), range);
  assert.deepEqual([slope.low, slope.high], [2, 12]);
  const apart = withEdges(own, curveOf([-2, 12], [0, 14]), range);
  assert.deepEqual([apart.low, apart.high], [2, 4]);
  const lost = withEdges(own, curveOf([-2, 12], [0, 14], { longest: 20, gaps: [{ start: 3, end: 5 }] }), range);
  assert.deepEqual([lost.low, lost.high], [2, 4]);
  const flat = axisRange([statisticsOf(curveOf([1], [7]), range)]);
  assert.ok(flat[0] < 7 && flat[1] > 7);
});

test("a value is judged by its limits, and curves that disagree have no common bands", () => {
  const limits = { warning: [0, 10], alarm: [-5, null] };
  assert.deepEqual([5, 11, -1, -6, "x"].map((value) => judge(value, limits).level), [null, "warning", "warning", "alarm", null]);
  assert.equal(judge(5, { warning: null, alarm: null }).level, null);
  const [one, other] = [{ about: { limits } }, { about: { limits: { warning: [0, 9], alarm: null } } }];
  assert.equal(limitsOf([one, one, { about: { limits: { warning: null, alarm: null } } }]), limits);
  assert.deepEqual([limitsOf([one, other]), limitsOf([])], [null, null]);
});

test("equal values that follow each other are one run, which ends at a gap and at the present", () => {
  const states = curveOf([0, 1, 2, 3, 20, 21], ["a", "a", "b", null, "b", "b"], { gone: false });
  assert.deepEqual(runsOf(states, { start: 0, end: 100 }, 23), [[0, 2, "a"], [2, 3, "b"], [20, 23, "b"]]);
  assert.deepEqual(runsOf(states, { start: 1, end: 2.5 }, 23), [[1, 2, "a"], [2, 2.5, "b"]]);
  assert.equal(runsOf(states, { start: 0, end: 100 }, 1000).at(-1)[1], 22);
});

test("a panel has at most two axes, lanes for what has no axis, and hidden curves keep their axis", () => {
  const about = (units, more) => ({ type: "number", units, labels: {}, ...more });
  const kinds = { T: about("K"), p: about("Pa"), v: about("m/s"), b: about(null, { type: "bool" }), s: about(null, { labels: { 1: "on" } }) };
  const curves = new Map(Object.entries(kinds).map(([name, own]) => [`n::${name}`, { ...curveOf([1], [0.01]), about: own }]));
  curves.set("n::new", { ...curveOf([], []), about: null });
  const panel = (...names) => ({ fields: names.map((name) => ({ key: `n::${name}` })) });
  const figure = figureOf(panel("T", "p", "v", "b", "s", "new"), curves, { start: 0, end: 9 });
  assert.deepEqual(figure.units.map(({ text }) => text), ["mK", "mPa"]);
  assert.deepEqual(figure.lanes.map(({ kind }) => kind), ["bool", "state"]);
  assert.equal(figure.fields.length, 6);
  const hidden = { fields: [{ key: "n::T", isHidden: true, label: "stage" }, { key: "n::p" }] };
  const other = figureOf(hidden, curves, { start: 0, end: 9 });
  assert.deepEqual([other.units.length, other.lines.length, other.fields[0].name], [2, 1, "stage"]);
});

test("an axis without a unit has the name of its field, if there is another axis", () => {
  const of = (units, value) => ({ ...curveOf([1], [value]), about: { type: "number", units } });
  const curves = new Map([["n::cpu", of("percent", 5)], ["n::load", of(null, 1)], ["n::more", of("", 2)]]);
  const above = (...keys) => figureOf({ fields: keys.map((key) => ({ key })) }, curves, { start: 0, end: 9 }).units.map(({ scale }) => scale.text);
  assert.deepEqual(above("n::cpu", "n::load"), ["percent", "load"]);
  assert.deepEqual(above("n::load", "n::more", "n::cpu"), ["no unit", "percent"]);
  assert.deepEqual(above("n::load"), [""]);
});

test("an axis without values shows where the limits lie", () => {
  const limits = { warning: [null, 60], alarm: [20, 70] };
  const curve = curveOf([], [], { about: { type: "number", units: "K", limits } });
  const [axis] = figureOf({ fields: [{ key: "n::T" }] }, new Map([["n::T", curve]]), { start: 0, end: 9 }).units;
  assert.deepEqual(axis.range.map(Math.round), [17, 73]);
  const bare = new Map([["n::T", { ...curve, about: { type: "number", units: "K" } }]]);
  const isKnown = (axes) => figureOf({ fields: [{ key: "n::T" }], axes }, bare, { start: 0, end: 9 }).units[0].isKnown;
  assert.deepEqual([axis.isKnown, isKnown(), isKnown({ K: { low: 0 } })], [true, false, true]);
});

test("panels are moved, removed and changed, and a field is isolated and shown with the others again", () => {
  const state = { panels: [{ fields: [{ key: "n::a" }, { key: "n::b", isHidden: true }] }, { fields: [] }] };
  assert.deepEqual(movePanel(state, 0, 1).panels, [state.panels[1], state.panels[0]]);
  assert.deepEqual([movePanel(state, 0, -1), movePanel(state, 1, 2)], [{}, {}]);
  assert.equal(removePanel(state, 0).panels.length, 1);
  assert.equal(changePanel(state, 1, { height: 80 }).panels[1].height, 80);
  assert.deepEqual(Object.keys(changePanel(state, 1, { height: undefined }).panels[1]), ["fields"]);
  assert.deepEqual(changeField(state, 0, "n::b", { isHidden: false, label: "B" }).panels[0].fields[1], { key: "n::b", label: "B" });
  const alone = isolateField(state, 0, "n::b");
  assert.deepEqual(alone.panels[0].fields.map(({ isHidden = false }) => isHidden), [true, false]);
  assert.deepEqual(isolateField(alone, 0, "n::b").panels[0].fields.map(({ isHidden = false }) => isHidden), [false, false]);
});

test("the latest value is that of a sample that has one", () => {
  const [t, values] = [new Growing([1, 2, 3]), new Growing([5, 6, null])];
  const at = (end, cursor = null) => valueIn({ t, values, longest: 1 }, { range: { start: 0, end }, cursor });
  assert.deepEqual([at(10), at(2), at(1)], [6, 5, undefined]);
  assert.deepEqual([at(10, 2.5), at(10, 3)], [6, undefined]);
});
