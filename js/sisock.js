// Sisock in JavaScript; docs/how-to/javascript.md shows how to use it. Times are in seconds: UNIX times, or zero and
// below for times before now. It reconnects automatically. Errors are SisockError; their messages say what to do.

import { clip, decodeReply, joinChunks, lastOf, samplesOf } from "./arrays.js";
import { Connection, findWebSocket } from "./connection.js";
import { Directory, askFields } from "./directory.js";
import { SisockError } from "./errors.js";
import { Follower, LATEST } from "./follow.js";
import { MAX_EXPONENT, MIN_EXPONENT, MIN_POINTS, decimate, decimateTo } from "./grid.js";
import { Sites } from "./sites.js";
import { fieldByField, inOneWindow, inWindows } from "./windows.js";

// Earliest start: zero and below would be relative to the node's present.
const EARLIEST = 1e-3;
const FIRST_LOOK_BACK = 60;
const LOOK_BACK_GROWTH = 10;
const MAX_LOOKED_AT = 10_000;
// Samples with which to search a long interval for its last sample, and the shortest interval to search.
const ROUGHLY = 1000;
const SHORTEST = 1e-6;

export { SisockError, Sites };

/**
 * Join the router; keep trying while it cannot be reached. With `sites`, join several: resolve when each has answered
 * or failed, or after 5 s, and keep trying the unreachable ones.
 * @overload
 * @param {import("./shapes.js").ConnectOptions} options
 * @returns {Promise<Sisock>} rejected with kind "refused" for a wrong secret, "realm" for a wrong realm, and
 *   "websocket" if there is no WebSocket class
 */
/**
 * @overload
 * @param {import("./shapes.js").SitesOptions} options
 * @returns {Promise<Sites>}
 */
/** @param {any} options */
export async function connect(options) {
  const ws = await findWebSocket(options.ws);
  if (options.sites) {
    const sites = joinSites({ ...options, ws });
    await sites.settle();
    return sites;
  }
  const connection = new Connection({ ...options, ws });
  await connection.join();
  return new Sisock(connection);
}

/** Join several sites, without waiting for any; those without a secret wait for `signIn`. */
export function joinSites(options) {
  return new Sites(options, (connection) => new Sisock(connection));
}

/** Find data nodes and their samples through one connection; made by `connect`. */
export class Sisock {
  #connection;
  #directory;

  /** @param {Connection} connection that has joined */
  constructor(connection) {
    this.#connection = connection;
    this.#directory = new Directory(connection);
  }

  /**
   * Close the connection, and do not reconnect.
   * @returns {void}
   */
  close() {
    this.#directory.close();
    this.#connection.close();
  }

  /** Check immediately whether the connection still works, for example after sleep, and renew it if not. */
  check() {
    return this.#connection.check();
  }

  /**
   * Return the available data nodes by name; a subscription keeps the list up to date.
   * @returns {Promise<import("./shapes.js").DataNode[]>}
   */
  nodes() {
    return this.#directory.nodes();
  }

  /**
   * Return the description of a node's fields; without an interval, the node is asked only once.
   * @param {string} name of the node
   * @param {number|null} [start]
   * @param {number} [end]
   * @returns {Promise<Object<string, import("./shapes.js").Field>>}
   */
  async fields(name, start = null, end = 0) {
    if (start !== null) return askFields(this.#connection, name, start, end);
    return this.#directory.fields(await this.#directory.node(name));
  }

  /**
   * Find a node and some of its fields.
   * @param {string} name
   * @param {string[]} names of fields
   * @returns {Promise<{ node: import("./shapes.js").DataNode, fields: Object<string, import("./shapes.js").Field> }>}
   */
  async find(name, names) {
    const node = await this.#directory.node(name);
    const known = await this.#directory.fields(node, names);
    const unknown = names.find((each) => !(each in known));
    if (unknown !== undefined) throw new SisockError("field", `${name} has no field ${unknown}`);
    return { node, fields: Object.fromEntries(names.map((each) => [each, known[each]])) };
  }

  /**
   * Return the samples of an interval.
   * @param {string} name of the node
   * @param {string[]} names of fields
   * @param {number} start
   * @param {number} end
   * @param {import("./shapes.js").GetOptions} [options]
   * @returns {Promise<Object<string, import("./shapes.js").Series>>}
   */
  async get(name, names, start, end, options = {}) {
    const { minStride = null, maxPoints = null, bucket = null, signal = null } = options;
    checkStrategy({ minStride, maxPoints, bucket });
    // All calls use the same present.
    const now = Date.now() / 1000;
    [start, end] = [start, end].map((t) => (t > 0 ? t : Math.max(now + t, EARLIEST)));
    const { node, fields } = await this.find(name, names);
    const { features } = node;
    const isDecimatedThere =
      (maxPoints !== null && features.includes("max_points")) || (bucket !== null && features.includes("bucket"));
    const keywords = {
      ...(features.includes("binary") ? { encoding: "binary" } : {}),
      ...(isDecimatedThere ? (bucket === null ? { max_points: maxPoints } : { bucket }) : {}),
    };
    const stride = minStride === null ? [] : [minStride];
    signal?.throwIfAborted();
    const call = (some, from, to, more, onProgress) =>
      this.#connection.call(
        `consumer.${name}.get_data`,
        [some, from, to, ...stride],
        { ...keywords, ...more },
        onProgress,
        signal,
      );
    const request = { call: call.bind(null, names), decode: (raw) => decodeReply(raw, fields) };
    let data;
    if (!features.includes("progressive")) data = await fieldByField(call, fields, start, end);
    else if (isDecimatedThere) data = joinChunks(await inOneWindow(request, start, end), fields);
    else data = joinChunks(await inWindows(request, start, end, minStride !== null), fields);
    data = clip(data, start, end);
    return isDecimatedThere ? data : decimated(data, bucket, maxPoints);
  }

  /**
   * Return the last sample with a value of each field; one without any is left out.
   * @param {string} name of the node
   * @param {string[]|null} [names] of fields, or all
   * @param {number} [end] time before which to look
   * @returns {Promise<Object<string, import("./shapes.js").Latest>>}
   */
  async latest(name, names = null, end = 0) {
    const wanted = names ?? Object.keys(await this.fields(name));
    const { node, fields } = await this.find(name, wanted);
    if (!node.features.includes("latest")) return this.#latestOf(name, wanted, end);
    const args = [wanted, EARLIEST, end];
    const reply = await this.#connection.call(`consumer.${name}.get_data`, args, { latest: true });
    return lastOf(joinChunks([decodeReply(reply, fields)], fields));
  }

  /** Search for the last samples of a node without the feature, further and further back. */
  async #latestOf(name, wanted, end) {
    const until = end > 0 ? end : Date.now() / 1000 + end;
    /** @type {Object<string, import("./shapes.js").Latest>} */
    const found = {};
    let high = until;
    for (let span = FIRST_LOOK_BACK; wanted.length && high > EARLIEST; span *= LOOK_BACK_GROWTH) {
      const low = Math.max(until - span, EARLIEST);
      Object.assign(found, await this.#lastWithin(name, wanted, low, high));
      wanted = wanted.filter((each) => !(each in found));
      high = low;
    }
    return found;
  }

  async #lastWithin(name, names, low, high) {
    try {
      const data = await this.get(name, names, low, high, { maxPoints: MAX_LOOKED_AT });
      const found = lastOf(data);
      for (const [one, { t, bucket }] of Object.entries(found)) {
        // Decimation may have dropped later samples, if the last bucket has missing values.
        const isLast = bucket === null || t === low || t === data[one].t.at(-1);
        if (!isLast) Object.assign(found, await this.#lastWithin(name, [one], t, high));
      }
      return found;
    } catch (error) {
      const minStride = (high - low) / ROUGHLY;
      if (error.kind !== "too_large" || minStride < SHORTEST) throw error;
      if (names.length > 1) {
        const each = names.map((one) => this.#lastWithin(name, [one], low, high));
        return Object.assign({}, ...(await Promise.all(each)));
      }
      const { t } = (await this.get(name, names, low, high, { minStride }))[names[0]];
      const last = t[t.length - 1];
      // A sample a stride or more after this one would be in the reply, too.
      return t.length ? this.#lastWithin(name, names, last, Math.min(last + 2 * minStride, high)) : {};
    }
  }

  /**
   * Call back for each new sample of a node, once and in the order of its timeline, also after the connection or the
   * node was lost; and for each gap in which samples were lost.
   * @param {string} name of the node
   * @param {(item: import("./shapes.js").Sample|import("./shapes.js").Gap) => void} callback
   * @param {import("./shapes.js").FollowOptions} [options]
   * @returns {Promise<() => Promise<void>>} ends it
   */
  watch(name, callback, options = {}) {
    return this.follow(name, (item) => (item.gap ? [item] : samplesOf(item)).forEach((each) => callback(each)), options);
  }

  /**
   * Like `follow`, but call back with arrays of samples.
   * @param {string} name of the node
   * @param {(item: import("./shapes.js").Batch|import("./shapes.js").Gap) => void} callback
   * @param {import("./shapes.js").FollowOptions} [options]
   * @returns {Promise<() => Promise<void>>} ends it
   */
  async follow(name, callback, options = {}) {
    const abort = new AbortController();
    const { signal } = abort;
    const { fields = null, maxPoints = null } = options;
    const now = (option) => (typeof option === "function" ? option() : option);
    const source = {
      describe: async () => this.#directory.refresh(await this.#directory.node(name)),
      fetch: (names, start, end = LATEST) =>
        this.get(name, names, start, end, { maxPoints: now(maxPoints), signal }),
      choose: (names) => {
        const given = now(fields);
        const wanted = new Set(given);
        return given === null ? names : names.filter((field) => wanted.has(field));
      },
    };
    const follower = new Follower(source, callback);
    const ifOwn = (action) => (entry) => entry.name === name && action();
    const stopListening = this.#connection.onChange((isJoined) => (isJoined ? follower.resume() : follower.interrupt()));
    const stops = await Promise.all([
      this.#connection.subscribe(`consumer.${name}.data`, (event) => follower.hear(event)),
      this.#connection.subscribe("consumer.data_node_added", ifOwn(() => follower.resume())),
      this.#connection.subscribe("consumer.data_node_subtracted", ifOwn(() => follower.interrupt())),
    ]);
    // A node that is not available is described when it appears.
    await follower.begin().catch(() => {});
    return async () => {
      follower.close();
      abort.abort();
      stopListening();
      for (const stop of stops) await stop();
    };
  }

  /**
   * Call back when a node comes, goes or changes.
   * @param {(node: import("./shapes.js").DataNode, isPresent: boolean) => void} callback
   * @returns {Promise<() => Promise<boolean>>} ends it
   */
  onNodes(callback) {
    return this.#directory.onChange(callback);
  }
}

function checkStrategy({ minStride, maxPoints, bucket }) {
  if (maxPoints !== null && !(Number.isInteger(maxPoints) && maxPoints >= MIN_POINTS)) {
    throw new SisockError("argument", `maxPoints must be a whole number, at least ${MIN_POINTS}`);
  }
  const exponent = bucket === null ? 0 : Math.log2(bucket);
  if (!(Number.isInteger(exponent) && exponent >= MIN_EXPONENT && exponent <= MAX_EXPONENT)) {
    throw new SisockError("argument", "bucket must be a power of two, from 2^-20 to 2^40 s");
  }
  if ([minStride, maxPoints, bucket].filter((each) => each !== null).length > 1) {
    throw new SisockError("argument", "give only one of minStride, maxPoints and bucket");
  }
}

/** Decimate all samples here, for a node that cannot decimate. */
function decimated(data, bucket, maxPoints) {
  if (bucket === null && maxPoints === null) return data;
  const series = Object.entries(data).map(([name, { t, values, ...about }]) => {
    const { kept, w } =
      bucket === null ? decimateTo(t, values, maxPoints) : { kept: decimate(t, values, bucket), w: bucket };
    const take = (array) => array.constructor.from(kept, (i) => array[i]);
    return [name, { ...about, t: take(t), values: take(values), bucket: w }];
  });
  return Object.fromEntries(series);
}
