// The samples that the page shows: fetched for the view, then added to as they are published.

import { clip } from "../arrays.js";
import { longestSpacing } from "./curves.js";
import { Growing } from "./growing.js";
import { bucketSizeOf, isSpread, requestsFor } from "./plan.js";
import { splitKey } from "./state.js";
import { Tiles } from "./tiles.js";

// More samples of a node that cannot decimate are asked for with a stride.
const MAX_SAMPLES = 50_000;
// Of a start, as zero and below it would count from the node's present.
const EARLIEST = 1e-3;
// Samples turn out to come in bursts when they have come; then others are fetched.
const MAX_ROUNDS = 3;
const CATCH_UP_SECONDS = 1;

/** Return a curve without samples. `error` says why it has no data, `gone` that its node is away. */
function newCurve(key) {
  const shown = { t: new Growing([]), values: new Growing([]), longest: Infinity, finalizedUntil: null };
  const state = { about: null, error: null, gone: false };
  // Which tiles are its own, if any; and the published samples that no reply holds yet.
  return { key, ...splitKey(key), ...state, ...shown, tiled: null, isRegular: true, tail: [] };
}

/** Hold the curves of the chosen fields. */
export class Store {
  #sisock;
  #onChange;
  #onBehind;
  #now;
  #curves = new Map();
  #tiles = new Tiles();
  #watches = new Map();
  #abort = null;
  #view = null;
  #behind = -Infinity;

  /**
   * @param {Sisock} sisock
   * @param {Function} onChange called when there is something else to draw
   * @param {object} [options] onBehind, called when there are new samples to load; now, which returns
   *   the present in UNIX seconds
   */
  constructor(sisock, onChange, { onBehind = () => {}, now = () => Date.now() / 1000 } = {}) {
    this.#sisock = sisock;
    this.#onChange = onChange;
    this.#onBehind = onBehind;
    this.#now = now;
  }

  /** Return the curves, in the order in which they were chosen. */
  get series() {
    return [...this.#curves.values()];
  }

  /**
   * Show another view, as far as its samples are there.
   * @param {object} view as of `load`
   */
  show(view) {
    this.#view = view;
    for (const curve of this.series) this.#arrange(curve);
    this.#onChange();
  }

  /**
   * Show these fields over an interval; only what is new is fetched, by one call for a node's fields.
   * What is there stays until the new samples have come.
   * @param {string[]} keys
   * @param {object} view start and end in UNIX seconds; points, the samples of each curve that there is
   *   room for, null for every sample; isLive, whether to add samples as they are published
   * @returns {Promise<boolean>} false if something else was asked for meanwhile
   */
  async load(keys, view) {
    this.#abort?.abort();
    const { signal } = (this.#abort = new AbortController());
    const kept = this.#curves;
    this.#curves = new Map(keys.map((key) => [key, kept.get(key) ?? newCurve(key)]));
    this.show(view);
    const byNode = groupBy(this.series, ({ node }) => node);
    const unwatched = [...this.#watches.keys()].filter((name) => !byNode.has(name));
    await Promise.all([
      ...unwatched.map((name) => this.#follow(name, false)),
      ...[...byNode].map(([name, curves]) => this.#loadNode(name, curves, view, signal)),
    ]);
    this.#tiles.trim();
    if (!signal.aborted) this.#onChange();
    return !signal.aborted;
  }

  /** Ask again for what was not final when it came, as published samples may have been lost. */
  expire() {
    this.#tiles.expire("");
  }

  /** Grey a node's curves while it is away. */
  mark(name, isGone) {
    this.#tiles.expire(`${name}\n`);
    for (const curve of this.series) if (curve.node === name) curve.gone = isGone;
    this.#onChange();
  }

  async #loadNode(name, curves, view, signal) {
    try {
      const { node, fields } = await this.#sisock.find(name, namesOf(curves));
      const isLive = view.isLive && node.features.includes("live");
      if (!signal.aborted) await this.#follow(name, isLive);
      if (signal.aborted) return;
      const isTiled = view.points !== null && node.features.includes("bucket");
      for (const curve of curves) this.#describe(curve, node, fields[curve.field], isTiled);
      await (isTiled ? this.#loadTiles(node, curves, signal) : this.#loadSamples(node, curves, view, signal));
    } catch (error) {
      if (signal.aborted) return;
      for (const curve of curves) {
        curve.error = error.message;
        curve.gone = error.kind === "node";
      }
      // One wrong name, or one field that fails, must not cost the others their data.
      if (["field", "node_failed", "reply"].includes(error.kind) && curves.length > 1) {
        await Promise.all(curves.map((curve) => this.#loadNode(name, [curve], view, signal)));
      }
    }
  }

  #describe(curve, node, about, isTiled) {
    const tiled = isTiled ? `${node.name}\n${node.generation}\n${curve.field}` : null;
    if (curve.tiled !== tiled) {
      if (curve.tiled !== null) this.#tiles.drop(`${curve.tiled}\n`);
      Object.assign(curve, { isRegular: true, finalizedUntil: null });
      // If it was shown before, samples were published since.
      this.#tiles.expire(`${tiled}\n`);
    }
    Object.assign(curve, { about, tiled, gone: false });
  }

  async #loadTiles(node, curves, signal) {
    for (let round = 0; round < MAX_ROUNDS; round += 1) {
      const requests = requestsFor(curves.map((curve) => this.#wanted(curve)));
      if (!requests.length) break;
      await Promise.all(requests.map((request) => this.#fetch(node, request, signal)));
      if (signal.aborted) return;
    }
    for (const curve of curves) this.#arrange(curve);
  }

  /** Return what is missing of a curve in the view. */
  #wanted(curve) {
    const { start, end, points } = this.#view;
    const w = bucketSizeOf(end - start, points, curve.about.interval, curve.isRegular);
    return { curve, w, ranges: this.#tiles.missing(curve.tiled, w, this.#view, this.#now()) };
  }

  async #fetch(node, { curves, w, range }, signal) {
    const asked = this.#now();
    const [start, end] = [Math.max(range[0] * w, EARLIEST), range[1] * w];
    const data = await this.#sisock.get(node.name, namesOf(curves), start, end, { bucket: w, signal });
    const now = await this.#sisock.find(node.name, []);
    // Samples of which generation came, nobody knows; the new one is loaded on its own account.
    if (signal.aborted || now.node.generation !== node.generation) return;
    for (const curve of curves) {
      const series = data[curve.field];
      curve.isRegular &&= isSpread(series, w, curve.about.interval);
      // What was final stays so, also where a reply knows less of it.
      curve.finalizedUntil = Math.max(curve.finalizedUntil ?? -Infinity, series.finalTo ?? -Infinity);
      this.#tiles.put(curve.tiled, w, range, series, asked);
    }
  }

  async #loadSamples(node, curves, { start, end, points }, signal) {
    const most = Math.max(...curves.map(({ about }) => (end - start) / (about.interval || Infinity)));
    const isMany = points !== null && most > MAX_SAMPLES && !node.features.includes("max_points");
    const strategy = isMany ? { minStride: (end - start) / points } : { maxPoints: points };
    const data = await this.#sisock.get(node.name, namesOf(curves), start, end, { ...strategy, signal });
    if (signal.aborted) return;
    for (const curve of curves) {
      const series = data[curve.field];
      curve.finalizedUntil = series.finalizedUntil;
      this.#put(curve, series, series.bucket);
    }
  }

  /** Put together what there is of a tiled curve in the view; if that is nothing, what was there stays. */
  #arrange(curve) {
    if (curve.tiled === null || this.#view.points === null) return;
    const { w, ranges } = this.#wanted(curve);
    const { isAny, ...series } = this.#tiles.read(curve.tiled, w, this.#view);
    if (isAny || !ranges.length) this.#put(curve, series, w);
  }

  /** Make samples those of a curve, and append what was published since. */
  #put(curve, series, w) {
    const { start, end } = this.#view;
    const { t, values } = clip({ series }, start, end).series;
    curve.longest = longestSpacing(t, w, curve.about.interval);
    curve.t = new Growing(t);
    curve.values = new Growing(values);
    const last = t.length ? t[t.length - 1] : start;
    const limit = this.#watches.has(curve.node) ? Infinity : end;
    curve.tail = curve.tail.filter((sample) => sample.t > last);
    for (const sample of curve.tail) if (sample.t < limit) append(curve, sample);
    curve.error = curve.t.length ? null : "no samples in this time";
  }

  /** Watch a node, or end it. */
  async #follow(name, isWanted) {
    const stop = this.#watches.get(name);
    if (isWanted && !stop) {
      this.#tiles.expire(`${name}\n`);
      this.#watches.set(name, this.#sisock.watch(name, (sample) => this.#add(name, sample)));
      await this.#watches.get(name);
    } else if (!isWanted && stop) {
      this.#watches.delete(name);
      await (await stop)();
    }
  }

  #add(name, { t, values }) {
    if (values === null) return this.#catchUp(name);
    let isAdded = false;
    for (const curve of this.series) {
      if (curve.node !== name || !(curve.field in values) || t <= lastOf(curve)) continue;
      const sample = { t, value: values[curve.field] };
      curve.tail.push(sample);
      if (!curve.about) continue;
      append(curve, sample);
      Object.assign(curve, { finalizedUntil: null, error: null });
      isAdded = true;
    }
    if (isAdded) this.#onChange();
  }

  /** Have new samples loaded that are too many to be published. */
  #catchUp(name) {
    if (this.#now() - this.#behind < CATCH_UP_SECONDS) return;
    this.#behind = this.#now();
    this.#tiles.expire(`${name}\n`);
    this.#onBehind();
  }
}

function append(curve, { t, value }) {
  curve.t.push(t);
  curve.values.push(value);
}

function lastOf({ t, tail }) {
  return Math.max(t.length ? t.array[t.length - 1] : -Infinity, tail.at(-1)?.t ?? -Infinity);
}

function namesOf(curves) {
  return curves.map(({ field }) => field);
}

function groupBy(items, keyOf) {
  const groups = new Map();
  for (const item of items) groups.set(keyOf(item), [...(groups.get(keyOf(item)) ?? []), item]);
  return groups;
}
