// The state in the address, its history, and what changes it.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  DEFAULTS, Model, addField, faultsOf, formatState, keysOf, parseState, rangeOf, removeField, splitByUnits, splitKey,
} from "../page/state.js";

/** Numbers from 0 to 1 that are the same in each run. */
function* randomNumbers(seed) {
  for (let state = seed; ; ) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    yield state / 2 ** 32;
  }
}

/** Return a state as odd as it may be. */
function randomState(numbers) {
  const next = () => numbers.next().value;
  const pick = (some) => some[Math.floor(next() * some.length)];
  const many = (make, most) => Array.from({ length: Math.floor(next() * (most + 1)) }, make);
  const word = () => many(() => pick([..."aZ0 ~,;!@&=#+%:/üλ日._-*", "::", "~2c"]), 5).join("") + "x";
  const key = () => `${pick(["n", "a b", "N:1", "ü;@,!~"])}::${word()}`;
  const distinct = (list) => list.filter((each, i) => list.findIndex((one) => one.key === each.key) === i);
  const field = () => ({
    key: key(),
    ...(next() < 0.3 && { colour: pick(["3", "#1f77b4"]) }),
    ...(next() < 0.3 && { label: word() }),
    ...(next() < 0.3 && { isHidden: true }),
  });
  const axis = () => ({ isLog: true, ...(next() < 0.5 && { low: next() - 0.5 }), ...(next() < 0.5 && { high: 1e9 * next() }) });
  const panel = () => ({
    fields: distinct(many(field, 6)),
    ...(next() < 0.3 && { height: Math.ceil(400 * next()) }),
    ...(next() < 0.3 && { isTable: true }),
    ...(next() < 0.4 && { axes: { [pick(["", "K", "m/s", "%", "µV,!"])]: axis() } }),
  });
  const panels = many(panel, 4);
  return {
    view: pick(["panels", "values"]),
    panels,
    maximised: panels.length && next() < 0.3 ? panels.length - 1 : null,
    values: [...new Set(many(key, 5))],
    time: next() < 0.5 ? { span: 1e4 * next() + 1, offset: pick([0, 86400.5]) } : { from: 1.5e9 + next(), to: 1.6e9 + next() },
    zone: pick(["utc", "local"]),
    order: pick(["given", "level", "age"]),
  };
}

test("a state goes into the address and comes back, also through a mail program", () => {
  const numbers = randomNumbers(14);
  for (let i = 0; i < 500; i += 1) {
    const state = randomState(numbers);
    const text = formatState(state);
    assert.deepEqual(parseState(text), state, text);
    assert.deepEqual(parseState(`${new URLSearchParams(text)}`), state, text);
  }
});

test("twelve panels of three fields each make an address short enough to mail", () => {
  const fields = ["temperature", "pressure", "windspeed"];
  const panels = Array.from({ length: 12 }, (_, i) => ({ fields: fields.map((name) => ({ key: `weather_${i}::apex_${name}` })) }));
  assert.ok(formatState({ ...DEFAULTS, panels }).length < 1000);
  assert.equal(
    formatState({ ...DEFAULTS, panels: [{ fields: [{ key: "a::x" }, { key: "a::y", isHidden: true }, { key: "b::z" }] }] }),
    "?p=a::x,y!h;b::z&last=3600",
  );
});

test("a range in an address may be written by people", () => {
  const july = { from: 1500076800, to: 1500120000 };
  for (const range of ["from=1500076800&to=1500120000", "from=2017-07-15&to=2017-07-15T12:00Z", "from=2017-07-15&to=2017-07-15+12:00:00"]) {
    assert.deepEqual(parseState(`?${range}`).time, july);
  }
});

test("an odd address is the default view", () => {
  for (const odd of ["", "?last=-5&s=nothing", "?from=5&to=1", "?from=x&to=y", "?last=x", "?max=3&zone=mars&view=x&v=,;"]) {
    assert.deepEqual(parseState(odd), DEFAULTS);
  }
  assert.deepEqual(parseState("?p=;,@h-1@az@q&p=a::@a").panels, [{ fields: [] }, { fields: [] }]);
  assert.deepEqual(parseState("?p=%ff").panels, [{ fields: [] }]);
});

test("what an address has in vain is told, and what it repeats is joined", () => {
  const told = (search) => faultsOf(search).map((fault) => fault.split(" (")[0]);
  const good = "?p=a::x,y@h90@t&p=&v=a::x&v=b::*&ago=0&last=60&view=values&zone=local&order=age&max=0&layout=wall&live=1";
  assert.deepEqual(told(good), []);
  assert.deepEqual(parseState(good).values, ["a::x", "b::*"]);
  for (const fault of ["p=x", "p=a::x;y", "v=x", "from=garbage", "last=-1", "view=x", "zone=mars", "order=x", "max=a", "colour=red"]) {
    assert.deepEqual(told(`?${fault}`), [fault]);
  }
  assert.deepEqual([told("?from=2"), told("?from=2&to=1"), told("?from=1&to=2")], [["from and to"], ["from and to"], []]);
  assert.match(faultsOf("?order=x")[0], /given, name, level, value, age/);
  const numbers = randomNumbers(5);
  for (let i = 0; i < 200; i += 1) {
    const text = formatState(randomState(numbers));
    assert.deepEqual(faultsOf(text), [], text);
  }
});

test("links of the page as it was before show the same", () => {
  const one = { fields: [{ key: "a::x" }, { key: "b::y z&=#" }] };
  const old = "?s=a%3A%3Ax&s=b%3A%3Ay+z%26%3D%23&last=600&live=0";
  assert.deepEqual(parseState(old), { ...DEFAULTS, panels: [one], time: { span: 600, offset: 0 } });
  assert.deepEqual(parseState(`${old}&stack=1`).panels, one.fields.map((field) => ({ fields: [field] })));
  assert.deepEqual(parseState("?s=a::x&table=1&from=1&to=2"), {
    ...DEFAULTS, panels: [{ fields: [{ key: "a::x" }], isTable: true }], time: { from: 1, to: 2 },
  });
});

test("the last hour ends now", () => {
  assert.deepEqual(rangeOf(DEFAULTS.time, 10000), { start: 6400, end: 10000 });
  assert.deepEqual(rangeOf({ span: 60, offset: 100 }, 10000), { start: 9840, end: 9900 });
  assert.deepEqual(splitKey("node::a::b"), { node: "node", field: "a::b" });
});

/** What a model needs of a browser. */
class FakeBrowser {
  entries = [""];
  at = 0;
  location = { search: "" };
  history = {
    pushState: (_, __, url) => (this.entries = [...this.entries.slice(0, (this.at += 1)), url]),
    replaceState: (_, __, url) => (this.entries[this.at] = url),
  };

  addEventListener(_, callback) {
    this.onPop = callback;
  }

  go(by) {
    this.location.search = this.entries[(this.at += by)];
    this.onPop();
  }
}

test("Back undoes a step, a drag is one step, and Forward redoes it", () => {
  const browser = new FakeBrowser();
  const model = new Model("", browser);
  const heard = [];
  model.listen((state, previous) => heard.push([state.time, previous.time]));
  model.change({ time: { from: 1, to: 2 } });
  model.change({ time: { from: 10, to: 20 } });
  model.change({ time: { from: 11, to: 21 } }, { isStep: false });
  model.change({ time: { from: 12, to: 22 } }, { isStep: false });
  model.change({ zone: "local" });
  assert.equal(heard.length, 5);
  browser.go(-1);
  assert.deepEqual([model.state.time, model.state.zone], [{ from: 12, to: 22 }, "utc"]);
  browser.go(-1);
  assert.deepEqual(model.state.time, { from: 1, to: 2 });
  browser.go(-1);
  assert.deepEqual(model.state, DEFAULTS);
  browser.go(2);
  assert.deepEqual(model.state.time, { from: 12, to: 22 });
  assert.ok(Object.isFrozen(model.state));
});

const units = (key) => ({ T: "K", U: "K", p: "Pa", v: "m/s", n: "", s: null })[key.at(-1)];
const panelsOf = (...texts) => texts.map((text) => ({ fields: [...text].map((name) => ({ key: `n::${name}` })) }));
const namesOf = ({ panels }) => panels.map(({ fields }) => fields.map(({ key }) => key.at(-1)).join(""));

test("a field goes where its unit is, and a third unit opens a panel", () => {
  const added = (texts, name, more = {}) => namesOf(addField({ ...DEFAULTS, panels: panelsOf(...texts), ...more }, `n::${name}`, units));
  assert.deepEqual(added([], "T"), ["T"]);
  assert.deepEqual(added(["T"], "p"), ["Tp"]);
  assert.deepEqual(added(["Tp"], "v"), ["Tp", "v"]);
  assert.deepEqual(added(["Tp", "v"], "U"), ["TpU", "v"]);
  assert.deepEqual(added(["Tp", "v"], "n"), ["Tp", "vn"]);
  assert.deepEqual(added(["v", "Tp"], "s"), ["v", "Tps"]);
  assert.deepEqual(added(["T", "v"], "p", { maximised: 0 }), ["Tp", "v"]);
  const ofAnother = { ...DEFAULTS, panels: [{ fields: [{ key: "other::n" }] }] };
  assert.deepEqual(namesOf(addField(ofAnother, "n::n", units)), ["n", "n"]);
  assert.deepEqual(namesOf(addField(ofAnother, "other::n2n", units)), ["nn"]);
  assert.deepEqual(addField({ ...DEFAULTS, panels: panelsOf("T") }, "n::T", units), {});
  assert.deepEqual(addField({ ...DEFAULTS, view: "values", values: ["n::T"] }, "n::p", units), { values: ["n::T", "n::p"] });
});

test("a panel goes with its last field", () => {
  const state = { ...DEFAULTS, panels: panelsOf("T", "Tp", ""), maximised: 1 };
  assert.deepEqual(namesOf(removeField(state, "n::T")), ["p", ""]);
  assert.equal(removeField(state, "n::T").maximised, null);
  assert.deepEqual(keysOf(state), ["n::T", "n::p"]);
  assert.deepEqual(keysOf({ ...state, maximised: 0 }), ["n::T"]);
  assert.deepEqual(keysOf({ ...state, view: "values", values: ["n::*"] }), ["n::*"]);
});

test("of a link with many units no panel keeps more than two", () => {
  assert.deepEqual(namesOf({ panels: splitByUnits(panelsOf("TpvsUn", "Tp"), units) }), ["TpsU", "vn", "Tp"]);
  const same = panelsOf("Tps");
  assert.equal(splitByUnits(same, units)[0], same[0]);
});
