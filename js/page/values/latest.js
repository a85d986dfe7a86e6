// Keep the newest value and the last hour of each chosen field, by subscription.

import { Store } from "../data/store.js";
import { judge } from "../panels/limits.js";
import { splitKey } from "../state.js";
import { staleSeconds } from "./age.js";

/** Span of a sparkline in seconds. */
export const HOUR = 3600;
const ALL = "*";
// Time between two updates of the last hour's view.
const REFRESH_SECONDS = 60;
// Kinds of errors of single fields.
const OWN = ["node_failed", "reply"];

/**
 * @typedef {object} Row
 * @property {string} key
 * @property {object|null} about the node's description of the field
 * @property {Curve} curve its last hour
 * @property {any} value the newest one; null if there is none
 * @property {number|null} t its time
 * @property {"alarm"|"warning"|"gone"|"stale"|""} level
 * @property {import("../panels/limits.js").Judgement} judgement
 * @property {string|null} error why there is no value
 * @property {string|null} trouble what keeps the node from serving
 */

/** Hold the rows of the latest values. */
export class Latest {
  #sisock;
  #store;
  #now;
  #onChange;
  #points;
  #chosen = [];
  #fields = new Map();
  #values = new Map();
  #errors = new Map();
  #troubles = new Map();
  #silent = new Set();
  #turn = 0;
  #loadedAt = -Infinity;

  /**
   * @param {Sisock} sisock
   * @param {function()} onChange called when there is something new to show
   * @param {number} points of each sparkline
   * @param {function(): number} [now] returns the present in UNIX seconds
   */
  constructor(sisock, onChange, points, now = () => Date.now() / 1000) {
    [this.#sisock, this.#onChange, this.#points, this.#now] = [sisock, onChange, points, now];
    this.#store = new Store(sisock, onChange, onChange, now);
  }

  /**
   * Show these fields ("node::*" means all of a node); without any, stop following.
   * @param {string[]} chosen
   */
  async show(chosen) {
    this.#chosen = chosen;
    await this.refresh();
  }

  /** Ask for everything again after a node or the connection was lost; each site separately. */
  async refresh(site = "") {
    if (!site) this.#turn += 1;
    const turn = this.#turn;
    const names = [...new Set(this.#chosen.map((key) => splitKey(key).node))];
    const siteOf = (name) => (this.#sisock.sites ? name.slice(0, name.indexOf("/")) : "");
    const sites = site ? [site] : new Set(names.length ? names.map(siteOf) : [""]);
    await Promise.all([...sites].map((each) => this.#refreshAll(names.filter((name) => siteOf(name) === each), turn)));
  }

  async #refreshAll(names, turn) {
    await Promise.all(names.map((name) => this.#describe(name)));
    if (turn !== this.#turn) return;
    this.#store.expire();
    await Promise.all([this.#load(), ...names.map((name) => this.#ask(name))]);
    this.#onChange();
  }

  /** Mark the values of an unreachable site. */
  lose(prefix, error) {
    for (const key of this.#chosen) if (key.startsWith(prefix)) this.#errors.set(splitKey(key).node, error);
    this.#store.lose(prefix, error);
  }

  /** Mark the values of a node that is gone. */
  mark(name, isGone) {
    this.#store.mark(name, isGone);
  }

  /** Update values of nodes that publish nothing; call this about every ten seconds. */
  async poll() {
    if (this.#now() - this.#loadedAt > REFRESH_SECONDS) this.#load();
    await Promise.all([...this.#silent].map((name) => this.#ask(name)));
    if (this.#silent.size) this.#onChange();
  }

  /** @returns {Row[]} in the order in which they were chosen */
  get rows() {
    return this.#store.series.map((curve) => this.#rowOf(curve));
  }

  /** @returns {string[]} why nodes chosen as a whole have no values */
  get faults() {
    const nodes = this.#chosen.map(splitKey).filter(({ field }) => field === ALL);
    return nodes.filter(({ node }) => !this.#fields.has(node)).map(({ node }) => this.#errors.get(node)).filter(Boolean);
  }

  #rowOf(curve) {
    const { key, node, field, newest } = curve;
    const about = curve.about ?? this.#fields.get(node)?.[field] ?? null;
    const known = this.#values.get(key) ?? { t: null, value: null };
    const { t, value } = newest?.t >= (known.t ?? -Infinity) ? newest : known;
    const judgement = judge(value, about?.limits);
    const trouble = this.#troubles.get(node) ?? null;
    const seconds = staleSeconds(about, trouble);
    const isStale = t !== null && seconds !== null && this.#now() - t > seconds;
    const level = curve.gone ? "gone" : isStale ? "stale" : (judgement.level ?? "");
    const error = t === null ? (this.#errors.get(key) ?? this.#errors.get(node) ?? curve.error) : null;
    return { key, about, curve, value, t, level, judgement, error, trouble };
  }

  /** Return the keys of all chosen fields, each once. */
  #keys() {
    const keys = this.#chosen.flatMap((key) => {
      const { node, field } = splitKey(key);
      return field === ALL ? Object.keys(this.#fields.get(node) ?? {}).map((name) => `${node}::${name}`) : [key];
    });
    return [...new Set(keys)];
  }

  /** Note which fields a node has; while it is gone, it keeps the known ones. */
  async #describe(name) {
    try {
      this.#fields.set(name, await this.#sisock.fields(name));
      this.#errors.delete(name);
    } catch (error) {
      this.#errors.set(name, error.message);
    }
  }

  async #load() {
    const end = (this.#loadedAt = this.#now());
    await this.#store.load(this.#keys(), { start: end - HOUR, end, points: this.#points, isLive: true });
  }

  /** Ask a node for the last samples of its chosen fields, also those before the last hour. */
  async #ask(name) {
    const known = this.#fields.get(name);
    if (!known) return;
    const wanted = this.#keys().map(splitKey).filter(({ node }) => node === name).map(({ field }) => field);
    for (const field of wanted) {
      if (!(field in known)) this.#errors.set(`${name}::${field}`, `${name} has no field ${field}`);
    }
    try {
      const { node } = await this.#sisock.find(name, []);
      this.#troubles.set(name, node.trouble ?? null);
      this.#silent[node.features.includes("live") ? "delete" : "add"](name);
      const own = wanted.filter((field) => field in known);
      if (own.length) await this.#askFor(name, own);
      this.#errors.delete(name);
    } catch (error) {
      this.#errors.set(name, error.message);
    }
  }

  /** Ask for all at once, or else one by one, so that a failing field does not hide the others. */
  async #askFor(name, fields) {
    try {
      const found = await this.#sisock.latest(name, fields);
      for (const [field, { t, value }] of Object.entries(found)) this.#values.set(`${name}::${field}`, { t, value });
      for (const field of fields) this.#errors.delete(`${name}::${field}`);
    } catch (error) {
      if (!OWN.includes(error.kind)) throw error;
      if (fields.length > 1) await Promise.all(fields.map((field) => this.#askFor(name, [field])));
      else this.#errors.set(`${name}::${fields[0]}`, error.message);
    }
  }
}
