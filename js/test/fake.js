// A router with one node for the tests of the store.

import assert from "node:assert/strict";

import { SisockError } from "../errors.js";
import { decimate } from "../grid.js";
import { Store } from "../page/data/store.js";

export const T0 = 1.5e9;

/** A router with one node of one second's samples up to `until`, which notes what is asked of it. */
export class FakeSisock {
  node = { name: "n", features: ["bucket", "live"], generation: "one" };
  about = { type: "number", timeline: "a", interval: 1 };
  until = T0 + 100_000;
  finalTo = null;
  calls = [];
  valueOf = (t) => Math.sin(t / 9);
  step = 1;
  #watcher = null;

  async find(name, names) {
    if (!this.node) throw new SisockError("node", "the data node n is not there");
    return { node: this.node, fields: Object.fromEntries(names.map((each) => [each, this.about])) };
  }

  async get(name, names, start, end, options) {
    this.calls.push({ names, start, end, ...options });
    if (this.fail) throw this.fail;
    await this.delay;
    const t = this.samples(start, end);
    const values = Float64Array.from(t, this.valueOf);
    const kept = options.bucket ? decimate(t, values, options.bucket) : [...t.keys()];
    const take = (array) => Float64Array.from(kept, (i) => array[i]);
    const finalTo = this.finalTo ?? this.until;
    const series = { t: take(t), values: take(values), finalTo, finalizedUntil: null, bucket: options.bucket ?? null };
    return Object.fromEntries(names.map((each) => [each, series]));
  }

  samples(start, end) {
    const [first, last] = [Math.max(start, T0), Math.min(end, this.until)];
    const from = Math.ceil((first - T0) / this.step);
    const count = Math.max(Math.ceil((last - T0) / this.step) - from, 0);
    return Float64Array.from({ length: count }, (_, i) => T0 + (from + i) * this.step);
  }

  async follow(name, callback, options) {
    this.#watcher = callback;
    this.options = options;
    return async () => (this.#watcher = null);
  }

  /** Publish all samples up to a time. */
  publish(until) {
    const t = this.samples(this.until, (this.until = until));
    const values = Float64Array.from(t, this.valueOf);
    if (t.length) this.tell({ timeline: "a", t, values: { x: values, y: values } });
  }

  /** Say something to who follows, if anybody. */
  tell(item) {
    this.#watcher?.(item);
  }
}

/** Return a store on such a router, its clock, and a function that loads a view and returns its calls. */
export function setUp(changes = {}) {
  const sisock = Object.assign(new FakeSisock(), changes);
  const clock = { now: T0 + 200_000 };
  const store = new Store(sisock, () => {}, () => {}, () => clock.now);
  const load = async (start, end, view = {}) => {
    const before = sisock.calls.length;
    await store.load(["n::x"], { start: T0 + start, end: T0 + end, points: 1000, isLive: false, ...view });
    return sisock.calls.slice(before);
  };
  return { sisock, clock, store, load };
}

/** Check that the first curve is what a single request for the view would have given. */
export function assertWhole(sisock, store, start, end, w) {
  const [curve] = store.series;
  const [low, high] = [Math.floor((T0 + start) / w) * w, Math.ceil((T0 + end) / w) * w];
  const t = sisock.samples(low, high);
  const kept = decimate(t, Float64Array.from(t, sisock.valueOf), w).map((i) => t[i]);
  assert.deepEqual([...curve.t.array], kept.filter((each) => each >= T0 + start && each < T0 + end));
  assert.deepEqual([...curve.values.array], Array.from(curve.t.array, sisock.valueOf));
}
