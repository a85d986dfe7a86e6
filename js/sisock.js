// Sisock in JavaScript. Times are in seconds: UNIX times, or zero and negative for before now.
//
//   import { connect } from "./sisock.js";
//   const sisock = await connect({ secret });       // and url, user, realm, onState
//   await sisock.nodes();                           // [{ name, description, features }]
//   await sisock.wire.fields("sensors");                 // { cpu_percent: { units, timeline, … }, … }
//   const data = await sisock.get("sensors", ["cpu_percent"], -3600, 0, { minStride: 10 });
//   data.cpu_percent;                               // { t, values (typed arrays), units, … }
//   const stop = await sisock.client.watch("sensors", ({ t, values }) => console.log(t, values));
//   sisock.onNodes((node, present) => console.log(node.name, present));
//
// It reconnects by itself. Errors are SisockError, whose message says what to do.

import { Wampy } from "wampy";
import { sign } from "wampy/wampcra.js";

import { clip, joinPieces } from "./arrays.js";
import { SisockError, translate } from "./errors.js";
import { Serializer } from "./serializer.js";
import { FEWEST_POINTS, overview } from "./thinning.js";
import { fieldByField, inOneWindow, inWindows } from "./windows.js";

const PREFIX = "org.simonsobservatory.";
const FIRST_DELAY = 0.5;
const GROWTH = 1.6;
const LONGEST_DELAY = 5;
const CALL_SECONDS = 30;
// Of a start, as zero and below it would count from the node's present.
const EARLIEST = 1e-3;
const REFUSALS = /not_authorized|authentication_failed|authorization_failed|no_such_(realm|principal)|no_auth_method/;

export { SisockError };

/**
 * Join the router; keeps trying while it cannot be reached.
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
  const sisock = new Sisock(options);
  await sisock.join();
  return sisock;
}

/** A connection to the router; made by `connect`. */
export class Sisock {
  #options;
  #wamp = null;
  #delay = FIRST_DELAY;
  #timer = null;
  #closed = false;
  #waiting = [];
  #topics = new Map();

  constructor(options) {
    const where = globalThis.location;
    const url = options.url ?? (where && `${where.protocol.replace("http", "ws")}//${where.host}/ws`);
    this.#options = { user: "simonsobs", realm: "sisock", onState: () => {}, ...options, url };
  }

  /** Resolves once joined, also by a later try. */
  join() {
    const joined = new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
    this.#try();
    return joined;
  }

  /** End the connection for good. */
  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#wamp?.disconnect();
    this.#wamp = null;
  }

  async #try() {
    const { url, user, realm, secret, ws } = this.#options;
    // Wampy leaves a connection that closes before it is signed in without an answer.
    let closed;
    const ended = new Promise((_, reject) => (closed = reject));
    ended.catch(() => {});
    const wamp = new Wampy(url, {
      realm,
      authid: user,
      authmethods: ["wampcra"],
      authMode: "auto",
      authPlugins: { wampcra: sign(secret) },
      autoReconnect: false,
      uriValidation: "loose", // strict refuses names that the protocol allows
      serializer: new Serializer(),
      onClose: () => {
        closed(new Error("closed"));
        this.#lost(wamp, "the connection to the router was lost");
      },
      ...(ws ? { ws } : {}),
    });
    try {
      await within(Promise.race([wamp.connect(), ended]), "the router", null);
    } catch (error) {
      if (error.kind === "timeout") wamp.disconnect();
      const refusal = String(error.errorUri ?? "");
      if (REFUSALS.test(refusal)) return this.#refused(refusal);
      return this.#retry(`the router at ${url} cannot be reached`);
    }
    if (this.#closed) return wamp.disconnect();
    this.#wamp = wamp;
    this.#delay = FIRST_DELAY;
    await Promise.all([...this.#topics.values()].map((topic) => this.#subscribeNow(topic)));
    if (this.#wamp !== wamp) return;
    this.#options.onState({ state: "joined" });
    for (const { resolve } of this.#waiting.splice(0)) resolve(this);
  }

  #refused(uri) {
    const { user, realm, onState } = this.#options;
    const isRealm = uri.endsWith("no_such_realm");
    const reason = isRealm
      ? `the router has no realm ${realm}: see its setting WAMP_REALM, and reload the page`
      : `the router refuses the user ${user} with this secret (${uri})`;
    this.#closed = true;
    onState({ state: "refused", reason });
    const error = new SisockError(isRealm ? "realm" : "refused", reason);
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }

  #lost(wamp, reason) {
    if (wamp !== this.#wamp || this.#closed) return;
    this.#wamp = null;
    this.#retry(reason);
  }

  #retry(reason) {
    if (this.#closed) return;
    const seconds = this.#delay * (0.5 + Math.random() / 2);
    this.#delay = Math.min(this.#delay * GROWTH, LONGEST_DELAY);
    this.#options.onState({ state: "waiting", seconds, reason });
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#try(), seconds * 1000);
  }

  async #call(tail, args, kwargs = {}, onProgress = null, signal = null) {
    const wamp = this.#wamp;
    if (!wamp) throw new SisockError("unreachable", "the router is not there; trying again by itself");
    const options = onProgress ? { progress_callback: ({ argsList }) => onProgress(argsList[0]) } : {};
    const answer = wamp.call(PREFIX + tail, { argsList: args, argsDict: kwargs }, options);
    const { reqId } = wamp.getOpStatus();
    try {
      return (await within(answer, tail, signal)).argsList?.[0];
    } catch (error) {
      if (error.kind === "timeout" || error.name === "AbortError") cancelQuietly(wamp, reqId);
      throw translate(error, tail);
    }
  }

  /** The data nodes that are there: [{ name, description, features }], by name. */
  async nodes() {
    const listed = await this.#call("consumer.get_data_node", []);
    return listed.map(asNode).sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** What a node says of its fields: name → { description, units, type, timeline, interval }. */
  async fields(node, start = 1, end = 0) {
    const [fields, timelines] = await this.#call(`consumer.${node}.get_fields`, [start, end]);
    for (const about of Object.values(fields)) {
      about.interval = timelines[about.timeline]?.interval ?? null;
    }
    return fields;
  }

  /**
   * Samples: field → { t, values, finalizedUntil, units, description, … }, typed arrays.
   * @param {string} node
   * @param {string[]} fields
   * @param {number} start
   * @param {number} end
   * @param {object} [options] minStride in seconds; or maxPoints, at most so many samples of each
   *   field, chosen to keep the picture; signal (an AbortSignal)
   */
  async get(node, fields, start, end, { minStride = null, maxPoints = null, signal = null } = {}) {
    checkPoints(maxPoints, minStride);
    // By one present for all calls.
    const now = Date.now() / 1000;
    [start, end] = [start, end].map((t) => (t > 0 ? t : Math.max(now + t, EARLIEST)));
    const [nodes, known] = await Promise.all([this.nodes(), this.fields(node)]);
    const features = nodes.find(({ name }) => name === node)?.features ?? [];
    const unknown = fields.find((name) => !(name in known));
    if (unknown !== undefined) throw new SisockError("field", `${node} has no field ${unknown}`);
    const asked = Object.fromEntries(fields.map((name) => [name, known[name]]));
    const keywords = features.includes("binary") ? { encoding: "binary" } : {};
    const isOverview = maxPoints !== null && features.includes("max_points");
    if (isOverview) keywords.max_points = maxPoints;
    const args = minStride === null ? [] : [minStride];
    signal?.throwIfAborted();
    const call = (names, from, to, more, onProgress) =>
      this.#call(
        `consumer.${node}.get_data`,
        [names, from, to, ...args],
        { ...keywords, ...more },
        onProgress,
        signal,
      );
    const callAll = call.bind(null, fields);
    let data;
    if (!features.includes("progressive")) data = await fieldByField(call, asked, start, end);
    else if (isOverview) data = joinPieces(await inOneWindow(callAll, start, end), asked);
    else data = joinPieces(await inWindows(callAll, start, end, minStride !== null), asked);
    data = clip(data, start, end);
    return maxPoints !== null && !isOverview ? overview(data, maxPoints) : data;
  }

  /** Call back with { t, timeline, values } for each new sample of a node; gives a function that ends it. */
  watch(node, callback) {
    return this.#subscribe(`consumer.${node}.data`, (reply) => {
      for (const sample of liveSamples(reply)) callback(sample);
    });
  }

  /** Call back with (node, present) when a node comes or goes; gives a function that ends it. */
  async onNodes(callback) {
    const stops = await Promise.all(
      [true, false].map((present) =>
        this.#subscribe(`consumer.data_node_${present ? "added" : "subtracted"}`, (node) =>
          callback(asNode(node), present),
        ),
      ),
    );
    return () => Promise.all(stops.map((stop) => stop()));
  }

  async #subscribe(tail, callback) {
    let topic = this.#topics.get(tail);
    if (!topic) {
      topic = { uri: PREFIX + tail, callbacks: new Set() };
      topic.pass = ({ argsList }) => topic.callbacks.forEach((each) => each(argsList[0]));
      this.#topics.set(tail, topic);
      this.#subscribeNow(topic);
    }
    topic.callbacks.add(callback);
    await topic.subscribed;
    return async () => {
      topic.callbacks.delete(callback);
      if (topic.callbacks.size || this.#topics.get(tail) !== topic) return;
      this.#topics.delete(tail);
      await topic.subscribed;
      // If the connection is lost, so is the subscription.
      await this.#wamp?.unsubscribe(topic.uri, topic.pass).catch(() => {});
    };
  }

  #subscribeNow(topic) {
    // If the connection is lost meanwhile, the next one subscribes again.
    topic.subscribed = this.#wamp?.subscribe(topic.uri, topic.pass).catch(() => {});
    return topic.subscribed;
  }
}

function checkPoints(maxPoints, minStride) {
  if (maxPoints === null) return;
  if (!Number.isInteger(maxPoints) || maxPoints < FEWEST_POINTS) {
    throw new SisockError("argument", `maxPoints must be a whole number, at least ${FEWEST_POINTS}`);
  }
  if (minStride !== null) throw new SisockError("argument", "maxPoints and minStride go one without the other");
}

function asNode({ name, description, features }) {
  return { name, description: description ?? "", features: features ?? [] };
}

function liveSamples({ data, timeline }) {
  const samples = [];
  for (const [name, line] of Object.entries(timeline)) {
    Array.from(line.t).forEach((t, i) => {
      const own = Object.entries(data).filter(([, values]) => values.length === line.t.length);
      samples.push({ t, timeline: name, values: Object.fromEntries(own.map(([f, v]) => [f, v[i]])) });
    });
  }
  return samples.sort((a, b) => a.t - b.t);
}

function within(promise, what, signal) {
  return new Promise((resolve, reject) => {
    const late = new SisockError("timeout", `${what} was not answered in ${CALL_SECONDS} s`);
    const timer = setTimeout(() => reject(late), CALL_SECONDS * 1000);
    signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

function cancelQuietly(wamp, reqId) {
  try {
    wamp.cancel(reqId);
  } catch {
    // The call has ended meanwhile.
  }
}
