// The samples that the page shows: fetched for the interval, then added to as they are published.

import { isBig } from "../arrays.js";
import { longestSpacing } from "./curves.js";
import { splitKey } from "./state.js";

/** One array that grows at its end, in steps, so that a new sample costs no copy of the old ones. */
export class Growing {
  constructor(initial) {
    this.length = initial.length;
    // Integers of 64 bits that a float would round stay as they are.
    this.isTyped = !Array.isArray(initial) && !isBig(initial);
    this.buffer = this.isTyped ? Float64Array.from(initial) : [...initial];
  }

  push(value) {
    if (!this.isTyped) this.buffer.push(value);
    else {
      if (this.length === this.buffer.length) {
        const larger = new Float64Array(Math.max(64, this.length * 2));
        larger.set(this.buffer);
        this.buffer = larger;
      }
      this.buffer[this.length] = value ?? NaN;
    }
    this.length += 1;
  }

  get array() {
    return this.isTyped ? this.buffer.subarray(0, this.length) : this.buffer;
  }
}

/** One curve. `error` says why it has no data, `gone` that its node is away. */
function newSeries(key) {
  const samples = { t: new Growing([]), values: new Growing([]), longest: Infinity, finalizedUntil: null };
  return { key, ...splitKey(key), about: null, ...samples, error: null, gone: false };
}

/** Holds the curves of the chosen fields. */
export class Store {
  #sisock;
  #onChange;
  #series = new Map();
  #watches = new Map();
  #abort = null;

  constructor(sisock, onChange) {
    this.#sisock = sisock;
    this.#onChange = onChange;
  }

  /** The curves, in the order in which they were chosen. */
  get series() {
    return [...this.#series.values()];
  }

  /**
   * Show these fields over this interval: ask every node once for all of its fields. What is there
   * stays until the new samples have come.
   * @param {string[]} keys
   * @param {object} interval start and end
   * @param {number|null} maxPoints samples of each field, at most; all of them if null
   * @returns {Promise<boolean>} whether nothing else was asked for meanwhile
   */
  async load(keys, { start, end }, maxPoints) {
    this.#abort?.abort();
    const abort = (this.#abort = new AbortController());
    const kept = this.#series;
    this.#series = new Map(keys.map((key) => [key, kept.get(key) ?? newSeries(key)]));
    const byNode = groupBy(this.series, ({ node }) => node);
    const options = { maxPoints, signal: abort.signal };
    const loads = [...byNode].map(([node, members]) => this.#loadNode(node, members, start, end, options));
    await Promise.all(loads);
    if (!abort.signal.aborted) this.#onChange();
    return !abort.signal.aborted;
  }

  async #loadNode(node, members, start, end, options) {
    const { signal } = options;
    try {
      const data = await this.#sisock.get(node, members.map(({ field }) => field), start, end, options);
      if (signal.aborted) return;
      for (const each of members) this.#take(each, data[each.field]);
    } catch (error) {
      if (signal.aborted) return;
      for (const each of members) {
        each.error = error.message;
        each.gone = error.kind === "node";
      }
      // One wrong name, or one field that fails, must not cost the others their data.
      if (["field", "node_failed", "reply"].includes(error.kind) && members.length > 1) {
        await Promise.all(members.map((each) => this.#loadNode(node, [each], start, end, options)));
      }
    }
  }

  #take(each, data) {
    const { t, values, finalizedUntil, ...about } = data;
    Object.assign(each, { about, finalizedUntil, gone: false });
    each.t = new Growing(t);
    each.values = new Growing(values);
    each.longest = longestSpacing(t, about.interval);
    each.error = t.length ? null : "no samples in this time";
  }

  /** Follow the nodes of the chosen fields live, or stop to. */
  async follow(wanted, nodes) {
    const live = new Set(wanted ? this.series.map(({ node }) => node) : []);
    for (const node of [...live]) {
      if (!nodes.get(node)?.features.includes("live")) live.delete(node);
    }
    for (const [node, stop] of this.#watches) {
      if (!live.has(node)) {
        this.#watches.delete(node);
        await (await stop)();
      }
    }
    for (const node of live) {
      if (!this.#watches.has(node)) {
        this.#watches.set(node, this.#sisock.client.watch(node, (sample) => this.#add(node, sample)));
      }
    }
  }

  #add(node, { t, values }) {
    let added = false;
    for (const each of this.series) {
      const isNew = each.t.length === 0 || t > each.t.array[each.t.length - 1];
      if (each.node !== node || !each.about || !(each.field in values) || !isNew) continue;
      each.t.push(t);
      each.values.push(values[each.field]);
      each.finalizedUntil = t;
      each.error = null;
      added = true;
    }
    if (added) this.#onChange();
  }

  /** A node came or went: its curves stay, greyed while it is away. */
  mark(node, gone) {
    for (const each of this.series) if (each.node === node) each.gone = gone;
    this.#onChange();
  }
}

function groupBy(items, keyOf) {
  const groups = new Map();
  for (const item of items) groups.set(keyOf(item), [...(groups.get(keyOf(item)) ?? []), item]);
  return groups;
}
