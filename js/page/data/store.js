// Keep the samples that the page shows: fetched for the view, and extended by published ones.

import { Curve } from "./curve.js";
import { Pending } from "./pending.js";
import { bucketSizeOf, isSpread, requestsFor } from "./plan.js";
import { OPEN_SECONDS, Tiles } from "./tiles.js";

// Maximum samples of a field from a node that cannot decimate; more are requested with a stride.
const MAX_SAMPLES = 50_000;
// Earliest start: zero and below would be relative to the node's present.
const EARLIEST = 1e-3;
// Seconds after which `poll` requests the newest buckets again.
const POLLED_SECONDS = 1;
// Maximum rounds of fetching: only fetched samples show whether they come in bursts and others are needed.
const MAX_ROUNDS = 3;

/** Hold the curves of the chosen fields. */
export class Store {
  #sisock;
  #onChange;
  #onAdded;
  #now;
  #curves = new Map();
  #tiles = new Tiles();
  #pending = new Pending();
  #watches = new Map();
  #abort = null;
  #view = null;

  /**
   * @param {Sisock} sisock
   * @param {Function} onChange called when there is something new to draw
   * @param {Function} [onAdded] called instead when samples were published
   * @param {Function} [now] returns the present in UNIX seconds
   */
  constructor(sisock, onChange, onAdded = onChange, now = () => Date.now() / 1000) {
    this.#sisock = sisock;
    this.#onChange = onChange;
    this.#onAdded = onAdded;
    this.#now = now;
  }

  /** Return the curves in the order of their fields. */
  get series() {
    return [...this.#curves.values()];
  }

  /** Number of samples of each curve that fit into the last view, if any. */
  get points() {
    return this.#view?.points;
  }

  /**
   * Show another view with the samples already fetched.
   * @param {object} view like that of `load`
   */
  show(view) {
    this.#view = view;
    for (const curve of this.series) this.#arrange(curve);
    this.#onChange();
  }

  /**
   * Show these fields over an interval; fetch only missing samples, with one call for a node's fields.
   * The old samples stay until the new ones have arrived.
   * @param {string[]} keys
   * @param {object} view start and end in UNIX seconds; points, maximum samples of each curve, null for
   *   all; isLive, whether to add published samples; margin, seconds beyond both ends for which curves show
   *   samples already fetched, so that the view can be moved
   * @returns {Promise<boolean>} false if another view was requested meanwhile
   */
  async load(keys, view) {
    this.#abort?.abort();
    const { signal } = (this.#abort = new AbortController());
    const kept = this.#curves;
    this.#curves = new Map(keys.map((key) => [key, kept.get(key) ?? new Curve(key)]));
    this.show(view);
    this.#pending.keep(this.series.filter(({ tiled }) => tiled !== null).map((curve) => this.#wanted(curve)));
    const byNode = groupBy(this.series, ({ node }) => node);
    const unwatched = [...this.#watches.keys()].filter((name) => !byNode.has(name));
    await Promise.all([
      ...unwatched.map((name) => this.#follow(name, false)),
      ...[...byNode].map(([name, curves]) => this.#loadNode(name, curves, view, signal).then(() => signal.aborted || this.#onChange())),
    ]);
    this.#tiles.trim();
    if (!signal.aborted) this.#onChange();
    return !signal.aborted;
  }

  /** Request samples again that were not final, as published ones may have been lost. */
  expire() {
    this.#expire("");
  }

  /** Fetch the newest samples of the shown fields of nodes that are not followed, if they are not final. */
  async poll() {
    const { signal } = this.#abort;
    const newest = (curve) => this.#wanted(curve, curve.last, POLLED_SECONDS);
    const open = this.series.filter((curve) => curve.tiled !== null && !curve.gone && !this.#watches.has(curve.node) && newest(curve).ranges.length);
    const byNode = [...groupBy(open, ({ node }) => node)];
    await Promise.all(byNode.map(([name, curves]) => this.#loadNode(name, curves, this.#view, signal, newest)));
    if (byNode.length && !signal.aborted) this.#onChange();
  }

  /** Reload the shown fields of nodes with names that begin with a prefix, once their site is back. */
  async reload(prefix) {
    if (this.#abort === null) return;
    const { signal } = this.#abort;
    this.#expire(prefix);
    const byNode = groupBy(this.#of(prefix), ({ node }) => node);
    await Promise.all([...byNode].map(([name, curves]) => this.#loadNode(name, curves, this.#view, signal)));
    this.#onChange();
  }

  /** Grey the shown fields of nodes with names that begin with a prefix, while their site is unreachable. */
  lose(prefix, error) {
    for (const curve of this.#of(prefix)) Object.assign(curve, { error, gone: true });
    this.#onChange();
  }

  #expire(prefix) {
    for (const each of [this.#tiles, this.#pending]) each.expire(prefix);
  }

  #of(prefix) {
    return this.series.filter(({ node }) => node.startsWith(prefix));
  }

  /** Grey a node's curves while it is gone. */
  mark(name, isGone) {
    this.#expire(`${name}\n`);
    for (const curve of this.series) if (curve.node === name) curve.gone = isGone;
    this.#onChange();
  }

  async #loadNode(name, curves, view, signal, wantedOf = (curve) => this.#wanted(curve)) {
    try {
      const { node, fields } = await this.#sisock.find(name, namesOf(curves));
      const isLive = view.isLive && node.features.includes("live");
      if (!signal.aborted) await this.#follow(name, isLive);
      if (signal.aborted) return;
      const isTiled = view.points !== null && node.features.includes("bucket");
      for (const curve of curves) this.#describe(curve, node, fields[curve.field], isTiled);
      await (isTiled ? this.#loadTiles(node, curves, signal, wantedOf) : this.#loadSamples(node, curves, view, signal));
    } catch (error) {
      if (signal.aborted) return;
      for (const curve of curves) {
        curve.error = error.message;
        // While the router is unreachable, a node that was gone may still be.
        if (error.kind !== "unreachable") curve.gone = error.kind === "node";
        curve.gone ||= error.site !== undefined;
      }
      // A wrong name, or a field that fails, must not hide the data of the others.
      if (["field", "node_failed", "reply"].includes(error.kind) && curves.length > 1) {
        await Promise.all(curves.map((curve) => this.#loadNode(name, [curve], view, signal, wantedOf)));
      }
    }
  }

  #describe(curve, node, about, isTiled) {
    const tiled = isTiled ? `${node.name}\n${node.generation}\n${curve.field}` : null;
    if (curve.tiled !== tiled) {
      if (curve.tiled !== null) {
        this.#tiles.drop(`${curve.tiled}\n`);
        // Archived samples may have changed; published ones are final.
        if (node.features.includes("live")) curve.keepShown();
      }
      Object.assign(curve, { isRegular: true, finalizedUntil: null });
      // If the curve was shown before, samples have been published since.
      this.#expire(`${tiled}\n`);
    }
    Object.assign(curve, { about, tiled, trouble: node.trouble ?? null, gone: false });
  }

  async #loadTiles(node, curves, signal, wantedOf) {
    for (let round = 0; round < MAX_ROUNDS; round += 1) {
      const now = this.#now();
      const wanted = curves.map(wantedOf);
      for (const request of requestsFor(wanted.map((each) => this.#pending.without(each, now)))) {
        this.#pending.add(request, now, (own) => this.#fetch(node, own));
      }
      const isNew = await this.#pending.wait(wanted);
      if (signal.aborted) return;
      if (!isNew) break;
    }
    for (const curve of curves) this.#arrange(curve);
  }

  /** Return the missing ranges of a curve in the view, from a time on; unfinished ones if they were requested longer ago. */
  #wanted(curve, from = -Infinity, openSeconds = OPEN_SECONDS) {
    const { start, end, points } = this.#view;
    const w = bucketSizeOf(end - start, points, curve.about.interval, curve.isRegular);
    return { curve, w, ranges: this.#tiles.missing(curve.tiled, w, { start: Math.max(start, from), end }, this.#now(), openSeconds) };
  }

  async #fetch(node, request) {
    const { curves, w, range, signal } = request;
    const [start, end] = [Math.max(range[0] * w, EARLIEST), range[1] * w];
    const data = await this.#sisock.get(node.name, namesOf(curves), start, end, { bucket: w, signal });
    const now = await this.#sisock.find(node.name, []);
    // The generation of these samples is unknown; those of the new one are loaded separately.
    if (signal.aborted || now.node.generation !== node.generation) return;
    for (const curve of curves) {
      const series = data[curve.field];
      curve.isRegular &&= isSpread(series, w, curve.about.interval);
      // Final buckets stay final, even if a reply says less.
      curve.finalizedUntil = Math.max(curve.finalizedUntil ?? -Infinity, series.finalTo ?? -Infinity);
      this.#tiles.put(curve.tiled, w, range, series, request.asked);
    }
  }

  async #loadSamples(node, curves, { start, end, points }, signal) {
    const most = Math.max(...curves.map(({ about }) => (end - start) / (about.interval || Infinity)));
    const isMany = points !== null && most > MAX_SAMPLES && !node.features.includes("max_points");
    const stride = isMany ? (end - start) / points : null;
    const strategy = isMany ? { minStride: stride } : { maxPoints: points };
    const data = await this.#sisock.get(node.name, namesOf(curves), start, end, { ...strategy, signal });
    if (signal.aborted) return;
    for (const curve of curves) {
      const series = data[curve.field];
      curve.finalizedUntil = series.finalizedUntil;
      this.#put(curve, series, series.bucket ?? stride);
    }
  }

  /** Assemble a tiled curve from the view's available tiles; without any, keep its old samples. */
  #arrange(curve) {
    if (curve.tiled === null || this.#view.points === null) return;
    const { w, ranges } = this.#wanted(curve);
    const { isAny, ...series } = this.#tiles.read(curve.tiled, w, widened(this.#view));
    if (isAny || !ranges.length) this.#put(curve, series, w);
  }

  #put(curve, series, w) {
    curve.put(series, w, widened(this.#view), this.#watches.has(curve.node));
  }

  /** Begin or stop following a node. */
  async #follow(name, isWanted) {
    const stop = this.#watches.get(name);
    if (isWanted && !stop) {
      this.#expire(`${name}\n`);
      const fields = () => namesOf(this.series.filter(({ node }) => node === name));
      const options = { fields, maxPoints: () => this.#view.points };
      this.#watches.set(name, this.#sisock.follow(name, (item) => this.#add(name, item), options));
      await this.#watches.get(name);
    } else if (!isWanted && stop) {
      this.#watches.delete(name);
      await (await stop)();
    }
  }

  #add(name, { timeline, t, values, gap }) {
    for (const curve of this.series.filter(({ node }) => node === name)) {
      if (gap) {
        if (curve.about?.timeline === timeline) curve.addGap(gap);
      } else if (curve.field in values) curve.append(t, values[curve.field]);
    }
    this.#onAdded();
  }
}

function widened(view) {
  const { start, end, margin = 0 } = view;
  return { ...view, start: start - margin, end: end + margin };
}

function namesOf(curves) {
  return curves.map(({ field }) => field);
}

function groupBy(items, keyOf) {
  const groups = new Map();
  for (const item of items) groups.set(keyOf(item), [...(groups.get(keyOf(item)) ?? []), item]);
  return groups;
}
