// Keep the known nodes, also vanished ones, with their fields and where these have samples.

import { splitKey } from "../state.js";
import { boundsOf } from "./bounds.js";

// Seconds between requests for fields, or fewer while a node does not know yet where its samples lie.
const AGAIN_SECONDS = 30;
const SOON_SECONDS = 2;
const HUB_SECONDS = 3;
const TOGETHER = 4;

/**
 * @typedef {object} Node
 * @property {string} name
 * @property {string} description
 * @property {string|null} [trouble] what keeps the node from serving
 * @property {string[]} features
 * @property {Object<string, object>|null} fields null while unknown
 * @property {string|null} error why the last request for them failed
 * @property {number} [askedAt] UNIX time of the last request; `wait`: seconds until the next one
 * @property {number} [wait]
 * @property {number|null} [goneSince] undefined if the node is available, null if the time is unknown
 */

/** Keep the known nodes up to date. */
export class Nodes {
  #sisock;
  #onChange;
  #now;
  #nodes = new Map();
  #asking = new Map();
  #isWatched;
  // By site: why its nodes cannot be listed, or null.
  #errors = new Map();
  #timers = new Map();

  /**
   * @param {Sisock} sisock
   * @param {function()} onChange called when there is news
   * @param {function(string): boolean} isWatched whether to keep up to date where a node's samples lie
   * @param {function(): number} [now] in UNIX seconds
   */
  constructor(sisock, onChange, isWatched = () => true, now = () => Date.now() / 1000) {
    [this.#sisock, this.#onChange, this.#isWatched, this.#now] = [sisock, onChange, isWatched, now];
  }

  /** Return the nodes by name, including vanished ones. */
  get all() {
    return [...this.#nodes.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Return the available nodes. */
  get present() {
    return this.all.filter(({ goneSince }) => goneSince === undefined);
  }

  /** Return why the nodes cannot be listed, or those of a site; null if they can. */
  error(site = "") {
    return this.#errors.get(site) ?? null;
  }

  /** Return the number of nodes with a pending request for fields. */
  get asking() {
    return this.#asking.size;
  }

  /** Return the known data of a node, even of one that never appeared. */
  get(name) {
    return this.#nodes.get(name) ?? { name, description: "", features: [], fields: null, error: null, goneSince: null };
  }

  /** Return its node's description of a field, if known. */
  about(key) {
    const { node, field } = splitKey(key);
    return this.#nodes.get(node)?.fields?.[field] ?? null;
  }

  /** Return where the samples of a field lie, if known. */
  bounds(key) {
    return boundsOf(this.about(key), this.#nodes.get(splitKey(key).node)?.askedAt);
  }

  /** Whether a node publishes new samples. */
  isLive(key) {
    return this.get(splitKey(key).node).features.includes("live");
  }

  /** Read the list of nodes (of a site, if there are sites); without a hub, try again. */
  async list(site = "") {
    clearTimeout(this.#timers.get(site));
    try {
      const listed = await this.#sisock.nodes(...(site ? [site] : []));
      const present = new Set(listed.map(({ name }) => name));
      for (const node of listed) this.#put(node);
      for (const { name } of this.of(site)) if (!present.has(name)) this.#leave(name);
      this.#errors.set(site, null);
    } catch (error) {
      this.#errors.set(site, error);
      // An unreachable site is listed once it is back.
      if (error.site === undefined) this.#timers.set(site, setTimeout(() => this.list(site), HUB_SECONDS * 1000));
    }
    this.#onChange();
  }

  /** Whether the nodes of a site have been listed, or could not be. */
  isAnswered(site) {
    return this.#errors.has(site);
  }

  /** Return the available nodes of a site, or of all sites. */
  of(site) {
    return site ? this.present.filter(({ name }) => name.startsWith(`${site}/`)) : this.present;
  }

  /** Note that a node appeared, changed or vanished. */
  change(node, isPresent) {
    if (isPresent) this.#put(node);
    else this.#leave(node.name);
    this.#onChange();
    // Its earlier answers may be outdated.
    if (isPresent && this.get(node.name).fields) this.#ask(node.name, () => this.#sisock.fields(node.name));
  }

  /** Request a node's fields, if they are unknown. */
  async need(name) {
    const node = this.#nodes.get(name);
    if (!node || node.goneSince !== undefined || node.fields) return;
    await this.#ask(name, () => this.#sisock.fields(name));
  }

  /** Request the fields of all nodes (of a site), a few at a time, beginning with live ones. */
  async needAll(site = "") {
    const names = this.of(site)
      .sort((a, b) => b.features.includes("live") - a.features.includes("live"))
      .map(({ name }) => name);
    const work = async () => {
      for (let name = names.shift(); name !== undefined; name = names.shift()) await this.need(name);
    };
    await Promise.all(Array.from({ length: TOGETHER }, work));
  }

  /** Keep where samples lie up to date. */
  watch() {
    setInterval(() => this.askAgain(), SOON_SECONDS * 1000);
  }

  /** Ask nodes again, when it is time, that are watched or may still be reading an archive. */
  askAgain() {
    const isDue = ({ fields, askedAt, wait }) => fields && this.#now() - askedAt > wait;
    for (const node of this.present.filter(isDue)) {
      const { name, features } = node;
      // The directory asks live nodes again, as their fields may change.
      if (this.#isWatched(name) || isReading(node)) this.#ask(name, () => (features.includes("live") ? this.#sisock.fields(name) : this.#sisock.fields(name, 1, 0)));
    }
  }

  async #ask(name, ask) {
    const asked = this.#asking.get(name) ?? this.#askNow(name, ask);
    this.#asking.set(name, asked);
    await asked;
  }

  async #askNow(name, ask) {
    let answer;
    try {
      const fields = await ask();
      const wait = isUnknowing(this.get(name), fields) ? Math.min(2 * (this.get(name).wait ?? 1), AGAIN_SECONDS) : AGAIN_SECONDS;
      answer = { fields, wait, error: null };
    } catch (error) {
      answer = { error: error.message };
    }
    this.#asking.delete(name);
    if (!this.#nodes.has(name)) return;
    this.#nodes.set(name, { ...this.get(name), ...answer, askedAt: this.#now() });
    this.#onChange();
  }

  #put(node) {
    this.#nodes.set(node.name, { ...this.get(node.name), ...node, goneSince: undefined });
  }

  #leave(name) {
    const node = this.#nodes.get(name);
    if (node && node.goneSince === undefined) this.#nodes.set(name, { ...node, goneSince: this.#now() });
  }
}

/** Whether a node is probably still reading its archive: it has been asked only a few times so far. */
export function isReading({ features, fields, wait, goneSince }) {
  return goneSince === undefined && !features.includes("live") && fields !== null && wait < AGAIN_SECONDS && isUnknowing({ features }, fields);
}

/** Whether a node may still tell where its samples lie; nodes of Part 1 never do. */
function isUnknowing({ features }, fields) {
  return features.length > 0 && Object.values(fields).some(({ first, last }) => first === null && last === null);
}
