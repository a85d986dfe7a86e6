// Keep the list of available data nodes, and their fields, asking each node once.

import { SisockError } from "./errors.js";

// Seconds between two readings of the list, and of the fields of a live node; a short list is read more often.
const [MIN_REREAD_SECONDS, REREAD_SECONDS] = [5, 30];
const NODES_PER_SECOND = 10;
// What keeps a node from serving, as its entry in the list says it.
const TROUBLE = /^(.*?) ?\[problem: (.*)\]$/s;
// Minimum time before an unknown name is looked up again.
const ASK_AGAIN_SECONDS = 1;
// Maximum digits after the point for `toFixed`.
const MAX_PRECISION = 100;

/** Keep the hub's list of nodes by subscription; read it again after each join and every 5 to 30 s. */
export class Directory {
  #connection;
  #nodes = new Map();
  #fields = new Map();
  #callbacks = new Set();
  #listing = null;
  #listedAt = -Infinity;
  #join = -1;
  #hasChanged = false;
  #made = 0;
  #timer = null;

  constructor(connection) {
    this.#connection = connection;
  }

  /** Stop rereading the list. */
  close() {
    clearInterval(this.#timer);
  }

  /** Return the nodes by name: { name, description, trouble, features, generation }; usually without a call. */
  async nodes() {
    if (this.#join !== this.#connection.joins) await this.#list();
    return [...this.#nodes.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Return one node; ask the hub again before reporting that it does not exist. */
  async node(name) {
    await this.nodes();
    if (!this.#nodes.has(name) && secondsSince(this.#listedAt) > ASK_AGAIN_SECONDS) await this.#list();
    const node = this.#nodes.get(name);
    if (!node) throw new SisockError("node", `the data node ${name} is not there`);
    return node;
  }

  /**
   * Return the fields of a node. It is asked once per generation, and again if a wanted field is
   * unknown.
   * @param {object} node of this directory
   * @param {string[]} [wanted]
   * @returns {Promise<Object<string, object>>}
   */
  async fields(node, wanted = []) {
    const known = this.#fields.get(node.name);
    if (known?.generation !== node.generation) return this.#askFields(node);
    const fields = await known.fields;
    const isWhole = wanted.every((name) => name in fields);
    if (isWhole || secondsSince(known.at) <= ASK_AGAIN_SECONDS) return fields;
    return this.#askFields(node);
  }

  /**
   * Ask a node for its fields again; report a change if they differ from the known ones.
   * @returns {Promise<Object<string, object>>}
   */
  async refresh(node) {
    const known = this.#fields.get(node.name);
    const before = await known?.fields.catch(() => null);
    const fields = await this.#askFields(node);
    if (before && known.generation === node.generation && textOf(before) !== textOf(fields)) this.#tell(node, true);
    return fields;
  }

  #askFields(node) {
    const fields = askFields(this.#connection, node.name);
    const own = { generation: node.generation, at: performance.now(), fields };
    this.#fields.set(node.name, own);
    fields.catch(() => this.#fields.get(node.name) === own && this.#fields.delete(node.name));
    return fields;
  }

  /** Call back with (node, isPresent) when a node appears, vanishes, or changes its generation, description, trouble or fields. */
  async onChange(callback) {
    // Nodes already listed are no change; without a hub, wait for one.
    await this.nodes().catch(() => {});
    this.#callbacks.add(callback);
    return async () => this.#callbacks.delete(callback);
  }

  /** Read the list, once for all callers that wait for it. */
  #list() {
    this.#listing ??= this.#read().finally(() => (this.#listing = null));
    return this.#listing;
  }

  async #read() {
    if (!this.#timer) await this.#begin();
    const join = this.#connection.joins;
    let listed;
    do {
      this.#hasChanged = false;
      listed = await this.#connection.call("consumer.get_data_node", []);
    } while (this.#hasChanged);
    const before = this.#nodes;
    const isRejoined = join !== this.#join;
    this.#nodes = new Map(listed.map((entry) => [entry.name, this.#known(entry, before, isRejoined)]));
    this.#join = join;
    this.#listedAt = performance.now();
    for (const node of before.values()) if (!this.#nodes.has(node.name)) this.#tell(node, false);
    for (const node of this.#nodes.values()) {
      const old = before.get(node.name);
      // A node without a generation may have been restarted; nobody can tell.
      if (!old || (node.isOwn && old.generation !== node.generation)) this.#tell(node, true);
      else this.#noteChanges(old, node, isRejoined);
    }
  }

  /** Tell if a node describes itself in another way; ask it again if its fields may have changed. */
  #noteChanges(old, node, isRejoined) {
    const isDescribedAnew = old.description !== node.description || old.trouble !== node.trouble;
    if (isDescribedAnew) this.#tell(node, true);
    const known = this.#fields.get(node.name);
    const isDue = node.features.includes("live") && (isRejoined || secondsSince(known?.at) > REREAD_SECONDS);
    if (known && (isDescribedAnew || isDue)) this.refresh(node).catch(() => {});
  }

  #rereadIfDue() {
    const seconds = Math.min(Math.max(this.#nodes.size / NODES_PER_SECOND, MIN_REREAD_SECONDS), REREAD_SECONDS);
    // A timer may be a little early.
    if (secondsSince(this.#listedAt) > seconds - 1) this.#list().catch(() => {});
  }

  async #begin() {
    this.#timer = setInterval(() => this.#rereadIfDue(), MIN_REREAD_SECONDS * 1000);
    this.#timer.unref?.();
    await this.#connection.subscribe("consumer.data_node_added", (entry) => {
      const node = this.#known(entry, this.#nodes, true);
      const old = this.#nodes.get(node.name);
      this.#nodes.set(node.name, node);
      this.#hasChanged = true;
      if (node.isOwn && old?.generation === node.generation) this.#noteChanges(old, node, false);
      else this.#tell(node, true);
    });
    await this.#connection.subscribe("consumer.data_node_subtracted", ({ name }) => {
      const node = this.#nodes.get(name);
      this.#nodes.delete(name);
      this.#hasChanged = true;
      if (node) this.#tell(node, false);
    });
  }

  #known({ name, description, features, generation }, before, isNew) {
    const made = () => (isNew ? null : before.get(name)?.generation) ?? `made here ${++this.#made}`;
    const [, own = description ?? "", trouble = null] = TROUBLE.exec(description ?? "") ?? [];
    return {
      name,
      description: own,
      trouble,
      features: features ?? [],
      generation: generation ?? made(),
      isOwn: generation != null,
    };
  }

  #tell(node, isPresent) {
    for (const callback of this.#callbacks) callback(node, isPresent);
  }
}

/** Ask a node for its fields: name → { description, units, type, timeline, interval, … }, see `sisock.js`. */
export async function askFields(connection, name, start = 1, end = 0) {
  const [fields, timelines] = await connection.call(`consumer.${name}.get_fields`, [start, end]);
  for (const about of Object.values(fields)) Object.assign(about, ofTimeline(timelines[about.timeline]), ofField(about));
  return fields;
}

/** Return the usable part of a node's description of a timeline. */
function ofTimeline(timeline) {
  const { interval, first, last, stale_after: staleAfter } = timeline ?? {};
  const all = Object.entries({ interval, first, last, staleAfter });
  return Object.fromEntries(all.map(([key, value]) => [key, Number.isFinite(value) ? value : null]));
}

/** Return the usable part of a field's optional metadata. */
function ofField({ limits, precision, labels }) {
  const isEnd = (value) => value === null || Number.isFinite(value);
  const range = (kind) => (limits?.[kind]?.length === 2 && limits[kind].every(isEnd) ? limits[kind] : null);
  return {
    limits: { warning: range("warning"), alarm: range("alarm") },
    precision: Number.isInteger(precision) && precision >= 0 && precision <= MAX_PRECISION ? precision : null,
    labels: labels && typeof labels === "object" && !Array.isArray(labels) ? labels : {},
  };
}

/** Return the description of fields as a text to compare, without what changes with every sample. */
function textOf(fields) {
  const growing = new Set(["first", "last", "interval"]);
  return JSON.stringify(fields, (key, value) => (growing.has(key) ? undefined : value));
}

function secondsSince(moment) {
  return (performance.now() - moment) / 1000;
}
