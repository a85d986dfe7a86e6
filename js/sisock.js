// Sisock in JavaScript. Times are in seconds: UNIX times, or zero and negative for before now.
//
//   import { connect } from "./sisock.js";
//   const sisock = await connect({ secret });       // and url, user, realm, onState
//   await sisock.nodes();                           // [{ name, description, features, generation }]
//   await sisock.fields("sensors");                 // { cpu_percent: { units, timeline, … }, … }
//   const data = await sisock.get("sensors", ["cpu_percent"], -3600, 0, { maxPoints: 1000 });
//   data.cpu_percent;                               // { t, values (typed arrays), units, … }
//   const stop = await sisock.watch("sensors", ({ t, values }) => console.log(t, values));
//   sisock.onNodes((node, isPresent) => console.log(node.name, isPresent));
//
// It reconnects by itself. Errors are SisockError, whose message says what to do.

import { clip, decodeReply, joinChunks } from "./arrays.js";
import { Connection } from "./connection.js";
import { Directory, askFields } from "./directory.js";
import { SisockError } from "./errors.js";
import { MAX_EXPONENT, MIN_EXPONENT, MIN_POINTS, decimate, decimateTo } from "./grid.js";
import { fieldByField, inOneWindow, inWindows } from "./windows.js";

// Of a start, as zero and below it would count from the node's present.
const EARLIEST = 1e-3;

export { SisockError };

/**
 * Join the router; keep trying while it cannot be reached.
 * @param {object} options
 * @param {string} options.secret of the user
 * @param {string} [options.url] wss://host:port/ws; by default where the page came from
 * @param {string} [options.user] WAMP user
 * @param {string} [options.realm]
 * @param {Function} [options.onState] called with { state: "joined" }, or { state: "waiting",
 *   seconds, reason } before it tries again, or { state: "refused", reason }
 * @param {Function} [options.ws] a WebSocket class, where there is no global one
 * @returns {Promise<Sisock>} rejected with kind "refused" if the secret is wrong, "realm" if the realm is
 */
export async function connect(options) {
  const connection = new Connection(options);
  await connection.join();
  return new Sisock(connection);
}

/** Find data nodes and their samples through one connection; made by `connect`. */
export class Sisock {
  #connection;
  #directory;

  constructor(connection) {
    this.#connection = connection;
    this.#directory = new Directory(connection);
  }

  /** End the connection for good. */
  close() {
    this.#directory.close();
    this.#connection.close();
  }

  /** Return the data nodes that are there, by name; kept by subscription. */
  nodes() {
    return this.#directory.nodes();
  }

  /**
   * Return what a node says of its fields: name → { description, units, type, timeline, interval }; asked
   * once, unless for an interval.
   */
  async fields(name, start = null, end = 0) {
    if (start !== null) return askFields(this.#connection, name, start, end);
    return this.#directory.fields(await this.#directory.node(name));
  }

  /**
   * Find a node and some of its fields.
   * @returns {Promise<{ node: object, fields: Object<string, object> }>}
   */
  async find(name, names) {
    const node = await this.#directory.node(name);
    const known = await this.#directory.fields(node, names);
    const unknown = names.find((each) => !(each in known));
    if (unknown !== undefined) throw new SisockError("field", `${name} has no field ${unknown}`);
    return { node, fields: Object.fromEntries(names.map((each) => [each, known[each]])) };
  }

  /**
   * Return samples: field → { t, values, finalizedUntil, units, description, … }, typed arrays; decimated
   * ones also with `bucket`, `finalTo` (null if the node does not say) and `isPlaced`.
   * @param {string} name of the node
   * @param {string[]} names of fields
   * @param {number} start
   * @param {number} end
   * @param {object} [options] at most one of minStride (seconds between samples), maxPoints (at most
   *   so many of each field, spikes kept) and bucket (the bucket size of PROTOCOL.md's grid, a power
   *   of two of seconds); and signal (an AbortSignal)
   */
  async get(name, names, start, end, options = {}) {
    const { minStride = null, maxPoints = null, bucket = null, signal = null } = options;
    checkStrategy({ minStride, maxPoints, bucket });
    // By one present for all calls.
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
   * Call back with { t, timeline, values } for each new sample of a node; `values` is null where the
   * node is too fast to publish: samples up to `t` can then be fetched.
   * @returns {Promise<Function>} ends it
   */
  watch(name, callback) {
    return this.#connection.subscribe(`consumer.${name}.data`, (reply) => {
      for (const sample of liveSamples(reply)) callback(sample);
    });
  }

  /** Call back with (node, isPresent) when a node comes, goes or changes; return a function that ends it. */
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

/** Decimate all samples here, for a node that cannot. */
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

function liveSamples({ data = {}, timeline }) {
  const samples = [];
  for (const [name, { t, last }] of Object.entries(timeline)) {
    if (!t) samples.push({ t: last, timeline: name, values: null });
    const own = Object.entries(data).filter(([, values]) => values.length === t?.length);
    (t ?? []).forEach((time, i) => {
      samples.push({ t: time, timeline: name, values: Object.fromEntries(own.map(([f, v]) => [f, v[i]])) });
    });
  }
  return samples.sort((a, b) => a.t - b.t);
}
