// One curve: the samples fetched for the view, and those published since.

import { clip, firstAfter, firstFrom, join } from "../../arrays.js";
import { bucketOf, bucketSizeFor, decimate } from "../../grid.js";
import { longestSpacing } from "./curves.js";
import { Growing } from "./growing.js";
import { INTERVAL_TOLERANCE } from "./plan.js";
import { splitKey } from "../state.js";
import { staleSeconds } from "../values/age.js";

// Published samples are decimated once there are this many times as many as fit into the view.
const TAIL_ROOM = 2;
const MAX_GAPS = 100;

/** Hold what the page shows of one field. */
export class Curve {
  // The node's description of the field; what keeps the node from serving; why there are no data; whether the node is gone.
  about = null;
  trouble = null;
  error = null;
  gone = false;
  // The series of its tiles, if any; and whether its samples are evenly spaced, not in bursts.
  tiled = null;
  isRegular = true;
  finalizedUntil = null;
  // Intervals of lost samples, { start, end }.
  gaps = [];
  longest = Infinity;
  // The newest published sample with a value, { t, value }; decimation may have dropped it from the curve.
  newest = null;
  t = new Growing([]);
  values = new Growing([]);
  #before = { t: [], values: [] };
  #fetched = { t: [], values: [] };
  #tail = { t: new Growing([]), values: new Growing([]) };
  #view = { start: 0, end: 0, points: null };
  #w = null;
  #isThinned = false;
  #limit = 0;

  /** @param {string} key "node::field" */
  constructor(key) {
    Object.assign(this, { key, ...splitKey(key) });
  }

  /** Time of the newest sample; -Infinity if there is none. */
  get last() {
    return Math.max(newest(this.t), newest(this.#tail.t));
  }

  /** Whether the curve has all samples, not only the extremes of buckets. */
  get isWhole() {
    if (this.#isThinned) return false;
    return this.#w === null || (this.isRegular && this.#w <= (this.about.interval ?? 0) * INTERVAL_TOLERANCE);
  }

  /** Keep shown samples that a restarted node may not have any more. */
  keepShown() {
    this.#before = { t: this.t.array.slice(), values: this.values.array.slice() };
  }

  /**
   * Replace the samples by fetched ones, followed by those published later.
   * @param {{ t, values }} series
   * @param {number|null} w bucket size of the samples
   * @param {object} view that of the store's `load`
   * @param {boolean} isLive whether to show samples after the view's end
   */
  put(series, w, view, isLive) {
    const { t, values } = clip({ series }, view.start, view.end).series;
    this.#isThinned = false;
    const isNumber = this.about.type === "number";
    this.longest = longestSpacing(t, w, this.about.interval);
    const none = { t: new Float64Array(0), values: isNumber ? new Float64Array(0) : [] };
    const parts = [this.#shownBefore(series.t, w, view), { t, values }].filter((part) => part.t.length);
    this.#fetched = parts.length ? { t: join(parts.map((part) => part.t)), values: join(parts.map((part) => part.values)) } : none;
    [this.#view, this.#w] = [view, w];
    this.#keepTail(cut(this.#tail, t.length ? t[t.length - 1] : view.start, Infinity));
    this.#join(isLive ? Infinity : view.end);
    this.gaps = this.gaps.filter((gap) => !this.#hasWithin(gap));
    this.error = null;
  }

  /** Add published samples, if they are new. */
  append(t, values) {
    if (newest(this.#tail.t) > t[t.length - 1]) {
      // Samples arrive in order, unless an earlier time was wrong.
      this.#keepTail(cut(this.#tail, -Infinity, t[0]));
      this.#join(Infinity);
    }
    const from = firstAfter(t, this.last);
    if (from === t.length) return;
    const [times, added] = from ? [t.slice(from), values.slice(from)] : [t, values];
    const index = lastWithValue(added);
    if (index >= 0) this.newest = { t: times[index], value: added[index] };
    for (const { t: own, values: ownValues } of [this.#tail, this]) {
      own.append(times);
      ownValues.append(added);
    }
    Object.assign(this, { finalizedUntil: null, error: null });
    if (this.#view.points !== null && this.#tail.t.length > this.#limit) this.#thin();
  }

  /** Return the seconds since the last sample if that means trouble, otherwise null. */
  staleSeconds(now) {
    const { staleAfter = null, last } = this.about ?? {};
    const limit = this.trouble === null ? staleAfter : staleSeconds(this.about, this.trouble);
    // The last decimated sample may be anywhere in its bucket.
    const newestKnown = Math.max(this.last + (this.#tail.t.length ? 0 : (this.#w ?? 0)), last ?? -Infinity);
    const seconds = now - newestKnown;
    return limit && Number.isFinite(seconds) && seconds > limit ? seconds : null;
  }

  /** Note a gap of lost samples. */
  addGap(gap) {
    this.gaps = [...this.gaps, gap].slice(-MAX_GAPS);
  }

  /** Return the kept samples of the view, in buckets before the fetched ones. */
  #shownBefore(fetched, w, { start, end }) {
    const first = fetched.length ? (w ? bucketOf(fetched[0], w) * w : fetched[0]) : end;
    const { t, values } = this.#before;
    const [from, to] = [firstFrom(t, start), firstFrom(t, Math.min(first, end))];
    return { t: Float64Array.from(t.slice(from, to)), values: values.slice(from, to) };
  }

  /** Decimate the published samples like the fetched ones. */
  #thin() {
    const { start, end, points } = this.#view;
    const [t, values] = [this.#tail.t.array, this.#tail.values.array];
    this.#isThinned = true;
    const kept = decimate(t, values, this.#w ?? bucketSizeFor(start, end, points));
    const take = (array) => array.constructor.from(kept, (i) => array[i]);
    this.#keepTail({ t: take(t), values: take(values) });
    this.#join(Infinity);
  }

  #keepTail({ t, values }) {
    this.#tail = { t: new Growing(t), values: new Growing(values) };
    this.#limit = TAIL_ROOM * Math.max(this.#view.points ?? 0, t.length);
  }

  #join(end) {
    const tail = cut(this.#tail, -Infinity, end);
    this.t = new Growing(this.#fetched.t);
    this.values = new Growing(this.#fetched.values);
    this.t.append(tail.t);
    this.values.append(tail.values);
  }

  #hasWithin({ start, end }) {
    const t = this.t.array;
    return t[firstAfter(t, start)] < end;
  }
}

/** Whether a sample has no value. */
export function isMissing(value) {
  return value === null || Number.isNaN(value);
}

/** Return the index of the last sample with a value up to an index; -1 if there is none. */
export function lastWithValue(values, index = values.length - 1) {
  while (index >= 0 && isMissing(values[index])) index -= 1;
  return index;
}

function newest(t) {
  return t.length ? t.array[t.length - 1] : -Infinity;
}

/** Return the samples after one time and before another. */
function cut({ t, values }, after, end) {
  const [from, to] = [firstAfter(t.array, after), firstFrom(t.array, end)];
  return { t: t.array.slice(from, to), values: values.array.slice(from, to) };
}
