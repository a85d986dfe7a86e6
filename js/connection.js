// A connection to the router that reconnects automatically, for calls and for subscriptions that survive that.

import { Wampy } from "wampy";
import { sign } from "wampy/wampcra.js";

import { SisockError, translate } from "./errors.js";
import { Serializer } from "./serializer.js";

const PREFIX = "org.simonsobservatory.";
const FIRST_DELAY = 0.5;
const GROWTH = 1.6;
const MAX_DELAY = 5;
const CALL_SECONDS = 30;
const CHECK_SECONDS = 5;
const REFUSALS = /not_authorized|authentication_failed|authorization_failed|no_such_(realm|principal)|no_auth_method/;

/** Return the WebSocket class to use, null for the global one; without that, the package ws is needed. */
export async function findWebSocket(given) {
  if (given) return given;
  if (globalThis.WebSocket) return null;
  const found = await import("ws").catch(() => null);
  if (found) return found.WebSocket;
  throw new SisockError("websocket", "there is no WebSocket: take node 22 or later, or npm install ws");
}

/** Keep a session with the router; open a new one when it is lost. */
export class Connection {
  /** Number of times it has joined so far. */
  joins = 0;
  #options;
  #wamp = null;
  #delay = FIRST_DELAY;
  #timer = null;
  #closed = false;
  #waiting = [];
  #topics = new Map();
  #listeners = new Set();
  #heardAt = -Infinity;
  #seconds;

  /**
   * @param {object} options those of `connect`
   * @param {{ call?: number, check?: number }} [seconds] time limits of a call, and of a check of the connection
   */
  constructor(options, { call = CALL_SECONDS, check = CHECK_SECONDS } = {}) {
    this.#seconds = { call, check };
    const where = globalThis.location;
    const url = options.url ?? (where && `${where.protocol.replace("http", "ws")}//${where.host}/ws`);
    this.#options = { user: "simonsobs", realm: "sisock", onState: () => {}, ...options, url };
  }

  /** Resolve once joined, even if only after several tries. */
  join() {
    const joined = new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
    this.#try();
    return joined;
  }

  /** Close the connection, and do not reconnect. */
  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#wamp?.disconnect();
    this.#wamp = null;
  }

  /** Try again with another secret, after a refusal. */
  signIn(secret) {
    this.#options.secret = secret;
    this.#closed = false;
    this.#tryNow();
  }

  /** Call back with true after joining and false after a loss; return a function that ends this. */
  onChange(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async #try() {
    const { url, user, realm, secret, ws } = this.#options;
    // Wampy does not report a connection that closes before the sign-in.
    let closed;
    const ended = new Promise((_, reject) => (closed = reject));
    ended.catch(() => {});
    const wamp = new Wampy(url, {
      realm,
      authid: user,
      authmethods: ["wampcra"],
      authMode: "auto",
      authPlugins: { wampcra: /** @type {any} */ (sign(secret)) },
      autoReconnect: false,
      uriValidation: "loose", // "strict" rejects names that the protocol allows
      serializer: new Serializer(() => (this.#heardAt = performance.now())),
      onClose: () => {
        closed(new Error("closed"));
        this.#lost(wamp, "the connection to the router was lost");
      },
      ...(ws ? { ws } : {}),
    });
    try {
      await within(Promise.race([wamp.connect(), ended]), "the router", this.#seconds.call);
    } catch (error) {
      if (error.kind === "timeout") wamp.disconnect();
      const refusal = String(error.errorUri ?? "");
      if (REFUSALS.test(refusal)) return this.#refused(refusal);
      return this.#retry(`nothing answers at ${url}`);
    }
    if (this.#closed) return wamp.disconnect();
    this.#wamp = wamp;
    this.#delay = FIRST_DELAY;
    await Promise.all([...this.#topics.values()].map((topic) => this.#subscribeNow(topic)));
    if (this.#wamp !== wamp) return;
    this.joins += 1;
    this.#options.onState({ state: "joined" });
    for (const listener of this.#listeners) listener(true);
    for (const { resolve } of this.#waiting.splice(0)) resolve(this);
  }

  #refused(uri) {
    const { user, realm, onState } = this.#options;
    const isRealm = uri.endsWith("no_such_realm");
    const reason = isRealm
      ? `the router has no realm ${realm}: see its setting WAMP_REALM, and reload the page`
      : `the router refuses the user ${user} with this secret (${uri})`;
    this.#closed = true;
    const error = new SisockError(isRealm ? "realm" : "refused", reason);
    onState({ state: "refused", kind: error.kind, reason });
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }

  #lost(wamp, reason) {
    if (wamp !== this.#wamp || this.#closed) return;
    this.#wamp = null;
    for (const listener of this.#listeners) listener(false);
    this.#retry(reason);
  }

  #retry(reason) {
    if (this.#closed) return;
    const seconds = this.#delay * (0.5 + Math.random() / 2);
    this.#delay = Math.min(this.#delay * GROWTH, MAX_DELAY);
    this.#options.onState({ state: "waiting", seconds, reason });
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#tryNow(), seconds * 1000);
  }

  #tryNow() {
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#try();
  }

  /** Give up a silent connection; the browser may notice the loss much later. */
  #drop(wamp) {
    this.#lost(wamp, "the router does not answer");
    wamp.disconnect().catch(() => {});
  }

  /**
   * Call a procedure, and return its first result.
   * @param {string} tail the procedure's URI without the prefix
   * @param {Array} args
   * @param {object} [kwargs]
   * @param {Function} [onProgress] called with each progressive result
   * @param {AbortSignal} [signal]
   */
  call(tail, args, kwargs = {}, onProgress = null, signal = null) {
    return this.#call(tail, args, kwargs, onProgress, signal, this.#seconds.call);
  }

  /** Check immediately whether the connection still works, for example after sleep, and renew it if not. */
  async check() {
    if (this.#closed) return;
    if (this.#wamp) await this.#call("consumer.get_data_node", [], {}, null, null, this.#seconds.check).catch(() => {});
    else if (this.#timer !== null) this.#tryNow();
  }

  async #call(tail, args, kwargs, onProgress, signal, seconds) {
    const wamp = this.#wamp;
    const asked = performance.now();
    if (!wamp) throw new SisockError("unreachable", "the router cannot be reached; trying again automatically");
    const options = onProgress ? { progress_callback: ({ argsList }) => onProgress(argsList[0]) } : {};
    const answer = wamp.call(PREFIX + tail, { argsList: args, argsDict: kwargs }, options);
    const { reqId } = wamp.getOpStatus();
    try {
      return (await within(answer, tail, seconds, signal)).argsList?.[0];
    } catch (error) {
      if (error.kind === "timeout" && this.#heardAt < asked) this.#drop(wamp);
      else if (error.kind === "timeout" || error.name === "AbortError") cancelQuietly(wamp, reqId);
      throw translate(error, tail);
    }
  }

  /**
   * Call back with the first argument of each event of a topic, also after reconnecting.
   * @param {string} tail the topic's URI without the prefix
   * @returns {Promise<Function>} ends it
   */
  async subscribe(tail, callback) {
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
      // A lost connection loses its subscriptions.
      await this.#wamp?.unsubscribe(topic.uri, topic.pass).catch(() => {});
    };
  }

  #subscribeNow(topic) {
    // If the connection is lost meanwhile, the next one subscribes.
    topic.subscribed = this.#wamp?.subscribe(topic.uri, topic.pass).catch(() => {});
    return topic.subscribed;
  }
}

/** Resolve like a promise, or reject with a SisockError if it takes too long. */
export function within(promise, what, seconds, signal = null) {
  return new Promise((resolve, reject) => {
    const late = new SisockError("timeout", `${what} was not answered in ${seconds} s`);
    const timer = setTimeout(() => reject(late), seconds * 1000);
    const abort = () => reject(signal.reason);
    signal?.addEventListener("abort", abort);
    promise.then(resolve, reject).finally(() => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    });
  });
}

function cancelQuietly(wamp, reqId) {
  try {
    wamp.cancel(reqId);
  } catch {
    // The call has already ended.
  }
}
