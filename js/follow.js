// Follow the live samples of a node, each once and in order, through all interruptions.

import { decode, firstAfter } from "./arrays.js";

// A time after all samples, also those of an instrument with a clock that is ahead.
export const LATEST = 1e11;
// Maximum samples of a timeline that wait while missed ones are fetched; further ones are fetched, too.
const MAX_WAITING = 100_000;
// Seconds between two requests for the samples of a timeline, and before a failed one is repeated.
const PAUSE_SECONDS = 0.25;
const RETRY_SECONDS = 2;
const MAX_TRIES = 5;
// Maximum timelines and field names to remember of a node; beyond these, some are forgotten.
const MAX_KNOWN = 50_000;
// Kinds of errors that only a new connection or the return of the node can end.
const AWAY = ["node", "hub", "unreachable"];

/** Return a promise that resolves after this many seconds. */
export const wait = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));

/** The state of one timeline; it is broken until missed samples are fetched. */
class Line {
  interruptions = 0;
  mended = 0;
  isFetching = false;
  // Whether the samples after the last one are lost for good.
  isLost = false;
  waiting = [];
  count = 0;
  #heard = -Infinity;
  #beforeLast = null;

  /**
   * @param {string} name
   * @param {number|null} last time of the last sample that was passed on
   * @param {number|null} since when it began, if during an interruption
   */
  constructor(name, last = null, since = null) {
    Object.assign(this, { name, last, since });
  }

  get isBroken() {
    return this.interruptions > this.mended;
  }

  /** Remember the last times that were passed on. */
  advance(t) {
    this.#beforeLast = t.length > 1 ? t[t.length - 2] : this.last;
    this.last = t[t.length - 1];
  }

  /**
   * Take the times of an event; return whether they are before those of an earlier event. Then an earlier time
   * was wrong, and all samples from the last but one on have to be fetched.
   */
  goesBack(first, newest) {
    const heard = this.#heard;
    this.#heard = newest;
    if (newest >= heard) return false;
    this.release();
    this.interruptions += 1;
    const isWrong = this.#beforeLast === null || this.#beforeLast >= first;
    if (this.last !== null && this.last >= first) this.last = isWrong ? first * (1 - Number.EPSILON) : this.#beforeLast;
    return true;
  }

  /** Keep samples for later, unless they are too many. */
  hold(batch) {
    this.waiting.push(batch);
    this.count += batch.t.length;
    if (this.count <= MAX_WAITING) return;
    this.release();
    this.interruptions += 1;
  }

  /** Return the samples that waited. */
  release() {
    this.count = 0;
    return this.waiting.splice(0);
  }
}

/**
 * Follow one node. After an interruption, fetch the samples from the last one on, including that one: if the node
 * still has it, nothing is missing; otherwise there is a gap. Samples that are published meanwhile wait.
 */
export class Follower {
  #source;
  #callback;
  #pause;
  #lines = new Map();
  #fields = {};
  #announced = new Set();
  #resuming = 0;
  #isClosed = false;

  /**
   * @param {object} source describe() returns field → { timeline, type, first, last }, as the node describes them
   *   now; fetch(names, start, end) returns field → { t, values }, without an end all samples from `start` on;
   *   choose(names) returns the names of the wanted fields
   * @param {Function} callback called with { timeline, t, values } or { timeline, gap: { start, end } }
   * @param {Function} [pause] returns a promise that resolves after this many seconds
   */
  constructor(source, callback, pause = wait) {
    this.#source = source;
    this.#callback = callback;
    this.#pause = pause;
  }

  /** Note the existing samples before the first event; call this once events are subscribed to. */
  async begin() {
    const fields = await this.#describe();
    for (const { timeline, last } of Object.values(fields)) this.#line(timeline).last ??= last ?? null;
  }

  /** Stop passing samples on. */
  close() {
    this.#isClosed = true;
  }

  /** Note that events are lost from now on. */
  interrupt() {
    for (const line of this.#lines.values()) line.interruptions += 1;
  }

  /** Fetch missed samples, once connection and node are back. */
  async resume() {
    this.interrupt();
    this.#resuming += 1;
    try {
      const fields = await this.#describe();
      // All samples of a previously unknown timeline are new.
      for (const { timeline, first } of Object.values(fields)) this.#line(timeline).since = first ?? null;
    } catch {
      // Try with what is already known.
    }
    this.#resuming -= 1;
    await Promise.all([...this.#lines.values()].map((line) => this.#mend(line)));
  }

  /** Take an event, which has the form of a reply; fetch the samples if it is invalid. */
  hear(event) {
    if (!isEvent(event)) {
      console.warn("an event that cannot be read is asked for:", event);
      if (this.#resuming) this.interrupt();
      else this.resume();
      return;
    }
    const { data = {}, timeline } = event;
    this.#discover(Object.keys(data));
    for (const [name, { t, last }] of Object.entries(timeline)) {
      const line = this.#line(name);
      const isEmpty = !t?.length && last === undefined;
      if (!isEmpty && line.goesBack(t?.[0] ?? last, t?.at(-1) ?? last)) {
        console.warn(`the times of timeline ${name} go back: one of them was wrong`);
        if (!this.#resuming) this.#mend(line);
      } else if (t?.length) this.#take(line, this.#decode(data, t));
      else if (line.last === null) line.last = last ?? null;
      else if (last > line.last) {
        line.interruptions += 1;
        this.#mend(line);
      }
    }
  }

  /** Return a timeline; if there are too many, forget the least recently used one. */
  #line(name) {
    const known = this.#lines.get(name);
    const line = known ?? new Line(name);
    if (!known && this.#resuming) line.interruptions = 1;
    this.#lines.delete(name);
    this.#lines.set(name, line);
    if (this.#lines.size > MAX_KNOWN) this.#lines.delete(this.#lines.keys().next().value);
    return line;
  }

  async #describe() {
    this.#fields = await this.#source.describe();
    for (const name of Object.keys(this.#fields)) this.#announced.add(name);
    return this.#fields;
  }

  /** Ask the node for its fields again if it publishes unknown ones, once for each. */
  #discover(names) {
    const isNew = names.some((name) => !this.#announced.has(name));
    if (this.#announced.size > MAX_KNOWN) this.#announced.clear();
    for (const name of names) this.#announced.add(name);
    if (isNew) this.#describe().catch(() => {});
  }

  #decode(data, t) {
    const own = Object.entries(data).filter(([, values]) => values?.length === t.length);
    const values = own.map(([name, list]) => [name, decodeLive(list, this.#fields[name]?.type)]);
    return { t: Float64Array.from(t), values: Object.fromEntries(values) };
  }

  #take(line, batch) {
    if (!line.isBroken) return this.#pass(line, batch);
    line.hold(batch);
    if (!this.#resuming) this.#mend(line);
  }

  /** Fetch until no samples are missing. */
  async #mend(line) {
    if (line.isFetching) return;
    line.isFetching = true;
    for (let tries = 1; line.isBroken && !this.#isClosed; ) {
      const { interruptions } = line;
      try {
        this.#deliver(line, await this.#ask(line));
        [line.mended, tries] = [interruptions, 1];
      } catch (error) {
        if (this.#isClosed) return;
        if (AWAY.includes(error.kind)) break;
        if (++tries <= MAX_TRIES) {
          await this.#pause(RETRY_SECONDS);
          continue;
        }
        Object.assign(line, { isLost: true, mended: interruptions });
      }
      if (!line.isBroken) for (const batch of line.release()) this.#pass(line, batch);
      // If a node is too fast to publish its samples, its next event waits for this.
      await this.#pause(PAUSE_SECONDS);
    }
    line.isFetching = false;
  }

  /** Fetch a timeline's samples: groups of fields with common times, and whether a gap precedes them. */
  async #ask({ name, last, since }) {
    const start = last ?? since;
    const ofTimeline = (fields) => Object.keys(fields).filter((field) => fields[field].timeline === name);
    const known = ofTimeline(this.#fields);
    const own = known.length ? known : ofTimeline(await this.#describe());
    const wanted = this.#source.choose(own);
    // Without wanted fields, nothing is missing.
    if (start === null || (own.length && !wanted.length)) return { groups: [], isMissing: false };
    const groups = wanted.length ? await this.#fetch(wanted, start) : [];
    const isThere = async () => {
      if (hasFirst(groups, last)) return true;
      // The last sample may have no value for the wanted fields, and some nodes leave such samples out.
      return hasFirst(own.length ? await this.#fetch(own, last, last * (1 + Number.EPSILON)) : [], last);
    };
    return { groups, isMissing: last !== null && !(await isThere()) };
  }

  async #fetch(names, start, end) {
    const groups = new Map();
    for (const [name, { t, values }] of Object.entries(await this.#source.fetch(names, start, end))) {
      if (t.length) groups.set(t, { ...groups.get(t), [name]: values });
    }
    return [...groups].map(([t, values]) => ({ t, values }));
  }

  /** Pass on fetched samples, preceded by a gap if there is one. */
  #deliver(line, { groups, isMissing }) {
    const { last } = line;
    line.isLost = isMissing && !groups.length;
    if (!groups.length) return;
    if (isMissing) this.#tellGap(line, Math.min(...groups.map(({ t }) => t[0])));
    for (const group of groups) this.#tell(line, group, last);
    const ends = groups.map(({ t }) => t.slice(-2)).sort((a, b) => a.at(-1) - b.at(-1));
    line.advance(ends.at(-1));
  }

  /** Pass published samples on. */
  #pass(line, batch) {
    const newest = batch.t[batch.t.length - 1];
    if (line.last !== null && newest <= line.last) return;
    if (line.isLost) this.#tellGap(line, batch.t[firstAfter(batch.t, line.last)]);
    line.isLost = false;
    this.#tell(line, batch, line.last);
    line.advance(batch.t);
  }

  #tellGap({ name, last }, end) {
    this.#call({ timeline: name, gap: { start: last, end } });
  }

  /** Call back with the wanted fields of samples later than a time. */
  #tell({ name }, { t, values }, time) {
    const from = time === null ? 0 : firstAfter(t, time);
    const wanted = this.#source.choose(Object.keys(values));
    if (from === t.length || !wanted.length) return;
    const later = (array) => (from ? array.slice(from) : array);
    const all = wanted.map((field) => [field, later(values[field])]);
    this.#call({ timeline: name, t: later(t), values: Object.fromEntries(all) });
  }

  #call(item) {
    try {
      if (!this.#isClosed) this.#callback(item);
    } catch (error) {
      console.error(error); // an error of the caller must not stop the samples
    }
  }
}

/** Decode the values of an event, with the type that they turn out to have. */
function decodeLive(list, type) {
  const kind = type ?? (typeof list.find((value) => value !== null) === "number" ? "number" : "other");
  // Integers beyond 2^53 arrive as bigint, and stay so.
  return list.some((value) => typeof value === "bigint") ? list : decode(list, kind);
}

/** Whether an event has the form of a reply, with valid times. */
function isEvent(event) {
  const { data = {}, timeline } = event ?? {};
  const isTime = (t) => Number.isFinite(t) && t < LATEST;
  const areTimes = (t) => Array.isArray(t) && t.every((each, i) => isTime(each) && !(each < t[i - 1]));
  const isLine = (line) => (line?.t === undefined ? isTime(line?.last) : areTimes(line.t));
  const isDict = (each) => typeof each === "object" && each !== null;
  return (
    isDict(timeline) &&
    isDict(data) &&
    Object.values(timeline).every(isLine) &&
    Object.values(data).every((values) => Array.isArray(values))
  );
}

function hasFirst(groups, time) {
  return groups.some(({ t }) => t[0] === time);
}
