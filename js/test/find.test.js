import assert from "node:assert/strict";
import test from "node:test";

import { boundsOf, boundsText, isOutside, timeOfAll, timeOfLatest, timeToGo } from "../page/find/bounds.js";
import { chooseFirst } from "../page/find/first.js";
import { placesOf, rowsBetween } from "../page/find/list.js";
import { Nodes, isReading } from "../page/find/nodes.js";
import { countMatches, rowsOf } from "../page/find/rows.js";
import { marksIn, matcher, textOf } from "../page/find/search.js";

const DAY = 86_400;
const JULY_14 = 1_499_990_400;
const NOW = 1_800_000_000;
const about = (more) => ({ first: null, last: null, interval: 1, staleAfter: null, ...more });
const text = (more, isLive = false) => boundsText(boundsOf(about(more), NOW), isLive, "utc", NOW);

const weather = { name: "apex", description: "Archived weather" };
const temperature = { description: "Température", units: "°C", timeline: "hourly" };
const matches = (query) => matcher(query)(textOf(weather, "outside_temp", temperature));

test("words match in any order, anywhere, without case and accents", () => {
  for (const query of ["temp", "WEATHER temp", "temperature", "°c", "hourly apex", "apex::out", '"archived weather"', ""]) {
    assert.ok(matches(query), query);
  }
  for (const query of ["temp wind", "apex::temp", '"weather archived"']) assert.ok(!matches(query), query);
});

test("an archive is being read while it may come to know where its samples lie, not for ever", () => {
  const node = { features: ["binary"], fields: { x: about() }, wait: 2 };
  assert.ok(isReading(node));
  const others = [{ wait: 30 }, { features: [] }, { features: ["live"] }, { fields: null }, { goneSince: NOW }, { fields: { x: about({ first: 1 }) } }];
  for (const other of others) assert.ok(!isReading({ ...node, ...other }), JSON.stringify(other));
});

test("globs match whole names, descriptions and units", () => {
  for (const query of ["*_temp", "apex::*", "ap?x", "out*temp hourly", "?C", "temp*ture"]) assert.ok(matches(query), query);
  for (const query of ["temp*x", "ap?", "?apex", "out*wind"]) assert.ok(!matches(query), query);
});

test("what means something to a regular expression means itself", () => {
  const odd = textOf({ name: "n" }, "a.b(c)[d]+", null);
  assert.ok(matcher("a.b(c)[d]+")(odd));
  assert.ok(matcher("a.b(*)[d]+")(odd));
  assert.ok(!matcher("a?b(c)[e*")(odd));
  for (const query of ['"', "*", "(", "[", "\\", '""', "a\\*"]) assert.doesNotThrow(() => matcher(query)(odd), query);
});

test("the words that were found are marked, each once", () => {
  assert.deepEqual(marksIn("temp OUT", "outside_temp"), [[0, 3], [8, 12]]);
  assert.deepEqual(marksIn("out outside", "outside_temp"), [[0, 3]]);
  assert.deepEqual(marksIn("*temp", "outside_temp"), [[8, 12]]);
  assert.deepEqual(marksIn(" ", "outside_temp"), []);
});

test("where samples lie is told as short as possible", () => {
  assert.equal(text({ first: JULY_14, last: JULY_14 + 14 * DAY }), "14–28 Jul 2017");
  assert.equal(text({ first: JULY_14, last: JULY_14 + 40 * DAY }), "14 Jul – 23 Aug 2017");
  assert.equal(text({ first: JULY_14, last: JULY_14 + 400 * DAY }), "14 Jul 2017 – 18 Aug 2018");
  assert.equal(text({ first: JULY_14 + 3600, last: JULY_14 + 7200 }), "2017-07-14 01:00 – 02:00");
  assert.equal(text({ first: JULY_14, last: NOW - 5 }), "2017-07-14 – now");
  assert.equal(text({ first: NOW - 3600, last: NOW - 5 }), "07:00 – now");
  assert.equal(text({ first: NOW - 3600, last: NOW - 1800 }), "07:00 – 07:30");
  assert.equal(text({ first: NOW - 1800, last: NOW - 1800 }), "07:30:00");
  assert.equal(text({ first: JULY_14, last: NOW - 5 }, true), "live");
  assert.equal(text({ last: JULY_14 }), "until 2017-07-14");
  assert.equal(text({ first: JULY_14 }), "since 2017-07-14");
});

test("of a node that says nothing nothing is claimed", () => {
  assert.equal(text({}), "");
  assert.equal(text({}, true), "");
  assert.equal(boundsOf(null, NOW), null);
  assert.ok(!isOutside(null, { start: 0, end: 1 }));
});

test("samples up to now are those of the usual spacing or the time that means trouble", () => {
  assert.ok(boundsOf(about({ last: NOW - 4 * DAY, interval: DAY }), NOW).isNow);
  assert.ok(boundsOf(about({ last: NOW - 900, staleAfter: 1000 }), NOW).isNow);
  assert.ok(!boundsOf(about({ last: NOW - 900 }), NOW).isNow);
});

test("a field is outside of a range if all its samples are", () => {
  const bounds = boundsOf(about({ first: JULY_14, last: JULY_14 + DAY }), NOW);
  assert.ok(isOutside(bounds, { start: NOW - 3600, end: NOW }));
  assert.ok(isOutside(bounds, { start: JULY_14 - DAY, end: JULY_14 }));
  assert.ok(!isOutside(bounds, { start: JULY_14 - DAY, end: JULY_14 + 1 }));
  assert.ok(!isOutside(bounds, { start: JULY_14 + DAY, end: NOW }));
  assert.ok(!isOutside(boundsOf(about({ first: JULY_14, last: NOW - 60 }), NOW), { start: NOW - 10, end: NOW }));
  assert.ok(isOutside(boundsOf(about({ first: NOW - 60, last: NOW }), NOW), { start: JULY_14, end: JULY_14 + DAY }));
});

test("all data of an archive is a fixed time, of what is live one that follows", () => {
  const archive = boundsOf(about({ first: JULY_14, last: JULY_14 + 100 }), NOW);
  const live = boundsOf(about({ first: NOW - 1000, last: NOW - 1 }), NOW);
  assert.deepEqual(timeOfAll([archive], NOW), { from: JULY_14, to: JULY_14 + 105 });
  assert.deepEqual(timeOfAll([live], NOW), { span: 1020, offset: 0 });
  assert.deepEqual(timeOfAll([archive, live], NOW), { span: Math.ceil(((NOW - JULY_14) * 1.02) / DAY) * DAY, offset: 0 });
  assert.equal(timeOfAll([], NOW), null);
});

test("all data begins and ends at times that a person would choose", () => {
  const weeks = boundsOf(about({ first: JULY_14 + 61, last: JULY_14 + 14 * DAY - 60 }), NOW);
  assert.deepEqual(timeOfAll([weeks], NOW), { from: JULY_14, to: JULY_14 + 14 * DAY });
  const night = boundsOf(about({ first: JULY_14 + 61, last: JULY_14 + 8 * 3600 + 5 }), NOW);
  assert.deepEqual(timeOfAll([night], NOW), { from: JULY_14, to: JULY_14 + 8 * 3600 + 600 });
  const moment = boundsOf(about({ first: JULY_14, last: JULY_14 }), NOW);
  assert.deepEqual(timeOfAll([moment], NOW), { from: JULY_14 - 30, to: JULY_14 + 35 });
});

test("who goes to an archive sees all of it, and of a live field the last hour", () => {
  assert.deepEqual(timeToGo(boundsOf(about({ first: JULY_14, last: NOW - 1 }), NOW), NOW), { span: 3600, offset: 0 });
  const { from, to } = timeToGo(boundsOf(about({ first: JULY_14, last: JULY_14 }), NOW), NOW);
  assert.ok(from < JULY_14 && to > JULY_14);
});

test("the latest samples are shown in as long a time as before", () => {
  const archive = boundsOf(about({ first: JULY_14, last: JULY_14 + 1000 }), NOW);
  const live = boundsOf(about({ first: NOW - 1000, last: NOW - 1 }), NOW);
  const { from, to } = timeOfLatest([archive], 100);
  assert.deepEqual([from, to], [JULY_14 + 905, JULY_14 + 1005]);
  const hourly = boundsOf(about({ first: JULY_14, last: NOW - 3612, interval: 3600 }), NOW);
  assert.ok(hourly.isNow && timeOfLatest([hourly], 3600).from < hourly.last && timeOfLatest([hourly], 3600).to > hourly.last);
  assert.deepEqual(timeOfLatest([hourly], 2 * 3600), { span: 2 * 3600, offset: 0 });
  assert.deepEqual(timeOfLatest([archive, live], 100), { span: 100, offset: 0 });
  assert.equal(timeOfLatest([], 100), null);
});

test("only the rows between two places are drawn", () => {
  const places = placesOf([10, 20, 10, 10]);
  assert.deepEqual([...places], [0, 10, 30, 40, 50]);
  assert.deepEqual(rowsBetween(places, 0, 10), [0, 1]);
  assert.deepEqual(rowsBetween(places, 15, 35), [1, 3]);
  assert.deepEqual(rowsBetween(places, -100, 1000), [0, 4]);
  assert.deepEqual(rowsBetween(places, 100, 200), [4, 4]);
  assert.deepEqual(rowsBetween(placesOf([]), 0, 100), [0, 0]);
});

const fields = {
  a: { timeline: "slow", units: "K" },
  b: { timeline: "fast", units: "V" },
  c: { timeline: "fast", units: "V" },
  d: { timeline: "own", units: null },
};
const nodes = [
  { name: "one", description: "First", features: [], fields },
  { name: "two", description: "Second", features: [], fields: { x: { timeline: "t" }, y: { timeline: "t" } } },
  { name: "three", description: "", features: [], fields: null },
];
const byDefault = (id, isOpen) => isOpen;
const ids = (rows) => rows.map(({ id }) => id);

test("closed nodes are one row each, and what is selected is on top", () => {
  assert.deepEqual(ids(rowsOf(nodes, [], "", byDefault)), ["node one", "node two", "node three"]);
  const rows = rowsOf(nodes, ["two::x", "gone::z"], "", byDefault);
  assert.deepEqual(ids(rows), ["selected", "selected two::x", "selected gone::z", "node one", "node two", "node three"]);
  assert.deepEqual(rows.map(({ level, place, siblings }) => [level, place, siblings]), [
    [1, 1, 4], [2, 1, 2], [2, 2, 2], [1, 2, 4], [1, 3, 4], [1, 4, 4],
  ]);
});

test("fields that share one of several timelines stand below it", () => {
  const rows = rowsOf(nodes, ["one::c"], "", (id, isOpen) => id === "node one" || (id !== "selected" && isOpen));
  assert.deepEqual(ids(rows).slice(1, 7), ["node one", "field one::a", "field one::d", "timeline one fast", "field one::b", "field one::c"]);
  assert.deepEqual(rows.filter(({ isTicked }) => isTicked).map(({ id }) => id), ["field one::c"]);
  assert.ok(!ids(rowsOf(nodes, [], "", (id) => id === "node two")).includes("timeline two t"));
});

test("a search opens what it finds, and shows no other", () => {
  const rows = rowsOf(nodes, [], "fast", byDefault);
  assert.deepEqual(ids(rows), ["node one", "timeline one fast", "field one::b", "field one::c"]);
  assert.equal(countMatches(rows), 2);
  assert.deepEqual(ids(rowsOf(nodes, [], "three", byDefault)), ["node three"]);
  assert.deepEqual(rowsOf(nodes, [], "nowhere", byDefault), []);
  assert.deepEqual(ids(rowsOf(nodes, [], "fast", () => false)), ["node one"]);
});

test("a node without known fields says why", () => {
  const failed = [{ ...nodes[2], error: "OSError" }, { ...nodes[1], name: "empty", fields: {} }, { ...nodes[2], name: "late" }];
  const notes = rowsOf(failed, [], "", () => true).filter(({ kind }) => kind === "note");
  assert.deepEqual(notes.map(({ text }) => text), ["OSError", "it has no field", "asking for its fields"]);
});

test("ten thousand fields are searched in little time", () => {
  const many = Object.fromEntries(Array.from({ length: 10_000 }, (_, i) => [`channel_${i}`, { timeline: `t${i % 50}`, units: "K" }]));
  const big = [{ name: "big", description: "Many", features: [], fields: many }];
  rowsOf(big, [], "c", byDefault);
  const before = process.cpuUsage();
  for (let i = 0; i < 20; i += 1) rowsOf(big, [], `channel ${i}`, byDefault);
  const { user } = process.cpuUsage(before);
  // Twenty letters, in far less than a second each.
  assert.ok(user < 5e6, `${user} µs`);
});

/** A router with some nodes, of which each answer can be changed. */
class FakeSisock {
  listed = [
    { name: "archive", description: "", features: ["bucket"], generation: "one" },
    { name: "live", description: "", features: ["live"], generation: "one" },
  ];
  fieldsOf = {
    archive: { x: { type: "number", units: "K", first: JULY_14, last: JULY_14 + DAY } },
    live: {
      text: { type: "string", first: NOW - 100, last: NOW - 1 },
      u: { type: "number", units: "V", interval: 1, first: NOW - 100, last: NOW - 1 },
      v: { type: "number", units: "V", interval: 1, first: NOW - 100, last: NOW - 1 },
      w: { type: "number", units: "A", interval: 1, first: NOW - 100, last: NOW - 1 },
    },
  };
  asked = [];

  async nodes() {
    if (this.fail) throw this.fail;
    return this.listed;
  }

  async fields(name) {
    this.asked.push(name);
    if (!this.fieldsOf[name]) throw new Error(`${name} failed`);
    return this.fieldsOf[name];
  }
}

async function listed(sisock = new FakeSisock()) {
  const nodes = new Nodes(sisock, () => {}, () => true, () => NOW);
  await nodes.list();
  return { nodes, sisock };
}

test("fields are asked for once, of live nodes first", async () => {
  const { nodes, sisock } = await listed();
  assert.deepEqual(nodes.all.map(({ fields }) => fields), [null, null]);
  await Promise.all([nodes.needAll(), nodes.needAll(), nodes.need("live")]);
  assert.deepEqual(sisock.asked, ["live", "archive"]);
  assert.equal(nodes.about("live::w").units, "A");
  assert.equal(nodes.about("live::unknown") ?? nodes.about("nowhere::x"), null);
  assert.deepEqual(nodes.bounds("archive::x"), { first: JULY_14, last: JULY_14 + DAY, isNow: false, age: NOW - JULY_14 - DAY });
  assert.ok(nodes.isLive("live::w") && !nodes.isLive("archive::x"));
});

test("a node that may be reading is asked again, later and later, until it is not likely any more", async () => {
  const sisock = new FakeSisock();
  sisock.fieldsOf.archive = { x: about() };
  let now = NOW;
  const nodes = new Nodes(sisock, () => {}, () => false, () => now);
  await nodes.list();
  await nodes.needAll();
  const asked = [];
  for (const start = now; now < start + 300; now += 1) {
    const before = sisock.asked.length;
    nodes.askAgain();
    await new Promise((resolve) => setTimeout(resolve));
    if (sisock.asked.length > before) asked.push(now - start);
  }
  assert.equal(asked.length, 4);
  assert.ok(!isReading(nodes.get("archive")));
});

test("a node that went keeps its fields and says since when; one that changed is asked again", async () => {
  const { nodes, sisock } = await listed();
  await nodes.needAll();
  nodes.change(sisock.listed[0], false);
  assert.equal(nodes.get("archive").goneSince, NOW);
  assert.ok(nodes.get("archive").fields.x);
  assert.deepEqual(nodes.present.map(({ name }) => name), ["live"]);
  sisock.fieldsOf.archive = { y: { type: "number" } };
  nodes.change(sisock.listed[0], true);
  await new Promise((resolve) => setTimeout(resolve));
  assert.equal(nodes.get("archive").goneSince, undefined);
  assert.deepEqual(Object.keys(nodes.get("archive").fields), ["y"]);
  assert.equal(nodes.get("never").goneSince, null);
});

test("a node that went unheard is noticed when the list is read", async () => {
  const { nodes, sisock } = await listed();
  sisock.listed = sisock.listed.slice(1);
  await nodes.list();
  assert.equal(nodes.get("archive").goneSince, NOW);
});

test("why fields are not known is said, and what is known stays if a later answer fails", async () => {
  const { nodes, sisock } = await listed();
  delete sisock.fieldsOf.archive;
  await nodes.needAll();
  assert.match(nodes.get("archive").error, /archive failed/);
  delete sisock.fieldsOf.live;
  nodes.change(sisock.listed[1], true);
  await new Promise((resolve) => setTimeout(resolve));
  assert.ok(nodes.get("live").fields.w);
});

test("a first visit shows what moves, of different units", async () => {
  const { nodes } = await listed();
  assert.equal(chooseFirst(nodes.present, NOW), null);
  await nodes.needAll();
  const { keys, time, isMoving } = chooseFirst(nodes.present, NOW);
  assert.deepEqual(keys, ["live::u", "live::w"]);
  assert.deepEqual(time, { span: 300, offset: 0 });
  assert.ok(isMoving);
});

test("the first view of a curve that has just begun is short", async () => {
  const { nodes, sisock } = await listed();
  for (const [age, span] of [[20, 60], [200, 300], [9000, 600]]) {
    for (const each of Object.values(sisock.fieldsOf.live)) each.first = NOW - age;
    await nodes.needAll();
    nodes.change(sisock.listed[1], true);
    await new Promise((resolve) => setTimeout(resolve));
    assert.equal(chooseFirst(nodes.present, NOW).time.span, span);
  }
});

test("where nothing moves a first visit shows the newest samples", async () => {
  const { nodes, sisock } = await listed();
  sisock.fieldsOf.live = { old: { type: "number", first: 1, last: 2 } };
  await nodes.needAll();
  const { keys, time, isMoving } = chooseFirst(nodes.present, NOW);
  assert.deepEqual(keys, ["archive::x"]);
  assert.ok(time.from <= JULY_14 && time.to > JULY_14 + DAY);
  assert.ok(!isMoving);
});
