import assert from "node:assert/strict";
import { readFile, readdir } from "node:fs/promises";
import { test } from "node:test";

import { SisockError } from "../errors.js";
import { shorten } from "../page/layouts/files.js";
import { CsvWriter, JsonWriter, isoText } from "../page/layouts/formats.js";
import { formatLayout, nameOf, parseLayout } from "../page/layouts/layout.js";
import { describe, estimate, windowsOf } from "../page/layouts/samples.js";
import { DEFAULTS } from "../page/state.js";
import { FakeSisock, T0 } from "./fake.js";

const STATE = {
  ...DEFAULTS,
  view: "values",
  panels: [{ fields: [{ key: "a::x", label: "the x" }, { key: "b::y" }], axes: { K: { low: 0 } } }],
  values: ["a::*", "b::y"],
  time: { span: 60, offset: 0 },
};

test("a layout goes into a file and comes back", () => {
  assert.deepEqual(parseLayout(formatLayout("Night watch", STATE)), { name: "Night watch", state: STATE });
  const fixed = { ...STATE, time: { from: 1, to: 2.5 }, zone: "local" };
  assert.deepEqual(parseLayout(formatLayout("b", fixed)).state, fixed);
});

test("a layout needs only what it is about, and may say more than is known", () => {
  const text = JSON.stringify({ sisock: "layout", version: 1, state: { values: ["n::*"], future: 1 } });
  assert.deepEqual(parseLayout(text), { name: "layout", state: { ...DEFAULTS, values: ["n::*"] } });
  assert.equal(nameOf("  two\n words "), "two words");
  assert.equal(nameOf("x".repeat(1000)).length, 100);
});

test("what is wrong with a file is said", () => {
  const broken = (state) => JSON.stringify({ sisock: "layout", version: 1, state });
  const wrong = [
    ["{", /not JSON/],
    ["null", /no layout of sisock/],
    ["[]", /no layout of sisock/],
    ['{"dashboard": {}}', /no layout of sisock/],
    ['{"sisock": "layout", "version": 9}', /version 9/],
    [broken(undefined), /no state/],
    [broken({ panels: 1 }), /no list/],
    [broken({ panels: [{ fields: [{ key: "a::b" }] }, null] }), /panel 2/],
    [broken({ panels: [{ fields: [{ key: "a::b" }, { key: "ab" }] }] }), /field 2 of its panel 1/],
    [broken({ panels: [{ fields: [], axes: 3 }] }), /axes/],
    [broken({ values: ["a"] }), /values/],
    [broken({ time: { from: 2, to: 1 } }), /time/],
    [broken({ time: null }), /time/],
  ];
  for (const [text, sentence] of wrong) assert.throws(() => parseLayout(text), sentence, text);
});

test("the layouts of the example can be opened", async () => {
  const folder = new URL("../../example_data/layouts/", import.meta.url);
  const files = await readdir(folder);
  assert.ok(files.length > 1);
  for (const file of files) {
    const { name, state } = parseLayout(await readFile(new URL(file, folder), "utf8"));
    assert.equal(`${name}.json`, file);
    assert.ok(state.panels.length > 1);
  }
});

test("times are written to the microsecond, where there are any", () => {
  assert.equal(isoText(1.5e9), "2017-07-14T02:40:00.000Z");
  assert.equal(isoText(1.5e9 + 0.25), "2017-07-14T02:40:00.250Z");
  assert.equal(isoText(1500000000.000001), "2017-07-14T02:40:00.000001Z");
  assert.equal(isoText(1499999999.9999998), "2017-07-14T02:40:00.000Z");
  assert.equal(isoText(-0.5), "1969-12-31T23:59:59.500Z");
});

const FIELDS = [
  { key: "n::a", about: { units: "K", type: "number" } },
  { key: 'm::"b"', about: { units: null, type: "string" } },
];
const series = (t, values) => ({ t: Float64Array.from(t), values });

test("CSV tells a sample without a value from no sample at all", async () => {
  const writer = new CsvWriter(FIELDS);
  writer.add([series([0, 1], Float64Array.from([1.5, NaN])), series([1, 2], ["x,y", null])]);
  writer.add([series([3], BigInt64Array.from([2n ** 63n - 1n])), series([3], ["NaN"])]);
  assert.deepEqual((await writer.finish().text()).split("\n"), [
    'time,unix,n::a [K],"m::""b"""',
    "1970-01-01T00:00:00.000Z,0,1.5,",
    '1970-01-01T00:00:01.000Z,1,NaN,"x,y"',
    "1970-01-01T00:00:02.000Z,2,,NaN",
    '1970-01-01T00:00:03.000Z,3,9223372036854775807,"NaN"',
    "",
  ]);
});

test("CSV has no formulas that a spreadsheet would run", async () => {
  const writer = new CsvWriter([{ key: "=1::x", about: { units: null } }]);
  const texts = ["=HYPERLINK(A1)", "@x", "-2+3", "\t=1", "-2.5e3", "+1", "-", "a=1"];
  writer.add([series([...texts.keys()], texts)]);
  const rows = (await writer.finish().text()).split("\n").slice(0, -1);
  assert.equal(rows[0], 'time,unix,"\'=1::x"');
  assert.deepEqual(rows.slice(1).map((row) => JSON.parse(row.split(",")[2].replace("\t", "\\t"))),
    ["'=HYPERLINK(A1)", "'@x", "'-2+3", "'\t=1", "-2.5e3", "+1", "-", "a=1"]);
});

test("JSON has a list for each field, also an empty one", async () => {
  const writer = new JsonWriter([...FIELDS, { key: "n::none", about: {} }], { start: 0, end: 9 });
  for (const start of [0, 4]) {
    writer.add([series([start, start + 1], Float64Array.from([1.5, NaN])), series([start + 0.5], ['"q"']), series([], [])]);
  }
  const read = JSON.parse(await writer.finish().text());
  assert.deepEqual([read.from, read.to], ["1970-01-01T00:00:00.000Z", "1970-01-01T00:00:09.000Z"]);
  assert.deepEqual(read.series.map(({ key, units }) => [key, units]), [["n::a", "K"], ['m::"b"', null], ["n::none", undefined]]);
  assert.deepEqual(read.series[0].samples, [
    ["1970-01-01T00:00:00.000Z", 0, 1.5],
    ["1970-01-01T00:00:01.000Z", 1, null],
    ["1970-01-01T00:00:04.000Z", 4, 1.5],
    ["1970-01-01T00:00:05.000Z", 5, null],
  ]);
  assert.deepEqual(read.series[1].samples[0], ["1970-01-01T00:00:00.500Z", 0.5, '"q"']);
  assert.deepEqual(read.series[2].samples, []);
});

const pause = async () => {};

async function collect(sisock, range, options = {}) {
  const fields = await describe(sisock, ["n::x", "n::y"]);
  const { signal } = new AbortController();
  const found = [];
  for await (const window of windowsOf(sisock, fields, range, { signal, pause, ...options })) found.push(window);
  return found;
}

test("windows hold each sample of the range once", async () => {
  const sisock = new FakeSisock();
  sisock.step = 0.1;
  sisock.about = { ...sisock.about, interval: 0.1 };
  const windows = await collect(sisock, { start: T0 - 50, end: T0 + 30_000 });
  assert.ok(windows.length > 3 && windows.length < 20, String(windows.length));
  const times = windows.flatMap(({ series: [{ t }] }) => [...t]);
  assert.deepEqual(times, [...sisock.samples(T0, T0 + 30_000)]);
  assert.equal(windows.at(-1).end, T0 + 30_000);
  assert.deepEqual(sisock.calls[0].names, ["x", "y"]);
});

test("where nobody knows how many samples there are, windows grow and shrink", async () => {
  const sisock = new FakeSisock();
  sisock.about = { ...sisock.about, interval: null };
  const windows = await collect(sisock, { start: T0 - 4e8, end: T0 + 30_000 });
  assert.ok(windows.length < 50, String(windows.length));
  assert.equal(windows.reduce((sum, each) => sum + each.series[0].t.length, 0), 30_000);
});

test("a node that is away for a while is waited for, and what fails for good is said", async () => {
  const sisock = new FakeSisock();
  const waits = [];
  let left = 2;
  const get = sisock.get.bind(sisock);
  sisock.get = async (...args) => {
    if (left-- > 0) throw new SisockError("node", "the data node n is not there");
    return get(...args);
  };
  const range = { start: T0, end: T0 + 100 };
  const windows = await collect(sisock, range, { onWait: (reason) => waits.push(reason) });
  assert.equal(windows[0].series[0].t.length, 100);
  assert.deepEqual(waits, ["the data node n is not there", "the data node n is not there", null]);
  sisock.get = () => Promise.reject(new SisockError("node_failed", "n failed: OSError"));
  await assert.rejects(collect(sisock, range), /OSError/);
});

test("a window that is too large for its node is asked for in parts", async () => {
  const sisock = new FakeSisock();
  const get = sisock.get.bind(sisock);
  sisock.get = async (name, names, start, end, options) => {
    if (end - start > 100) throw new SisockError("too_large", "too large");
    return get(name, names, start, end, options);
  };
  const windows = await collect(sisock, { start: T0, end: T0 + 1000 });
  assert.equal(windows.reduce((sum, each) => sum + each.series[0].t.length, 0), 1000);
});

test("an abort ends it at once", async () => {
  const sisock = new FakeSisock();
  const abort = new AbortController();
  const fields = await describe(sisock, ["n::x"]);
  const windows = windowsOf(sisock, fields, { start: T0, end: T0 + 99_000 }, { signal: abort.signal, pause });
  sisock.about.interval = 0.01;
  await windows.next();
  abort.abort();
  await assert.rejects(windows.next(), { name: "AbortError" });
});

test("a long name of a file ends with a whole word", () => {
  assert.equal(shorten("node::one, node::two, node::three", 25), "node::one, node::two");
  assert.equal(shorten("node::one, node::two", 20), "node::one, node::two");
  assert.equal(shorten("n".repeat(30), 25), "n".repeat(25));
});

test("a file's size is known before", async () => {
  const sisock = new FakeSisock();
  const range = { start: T0, end: T0 + 30_000 };
  const fields = await describe(sisock, ["n::x", "n::y"]);
  for (const [format, writer] of [["csv", new CsvWriter(fields)], ["json", new JsonWriter(fields, range)]]) {
    const { samples, bytes, isWhole } = estimate(fields, range, format);
    for (const { series } of await collect(sisock, range)) writer.add(series);
    const { size } = writer.finish();
    assert.deepEqual([samples, isWhole], [60_000, true]);
    assert.ok(bytes / size > 0.6 && bytes / size < 1.5, `${format}: ${bytes} for ${size}`);
  }
  assert.equal(estimate([{ key: "n::x", about: { interval: null } }], range, "csv").isWhole, false);
  const ended = { key: "n::x", about: { interval: 1, first: T0 - 9, last: T0 + 10 } };
  assert.equal(estimate([ended], range, "csv").samples, 10);
});
