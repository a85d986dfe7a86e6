// The nodes with their fields and where these lie, as far as they are known; also of nodes that went.

import { splitKey } from "../state.js";
import { boundsOf } from "./bounds.js";

// Fields are asked for again so often, or sooner while a node does not know yet where its samples lie.
const AGAIN_SECONDS = 30;
const SOON_SECONDS = 2;
const HUB_SECONDS = 3;
const TOGETHER = 4;

/**
 * @typedef {object} Node
 * @property {string} name
 * @property {string} description
 * @property {string[]} features
 * @property {Object<string, object>|null} fields null while they are not known
 * @property {string|null} error why they could not be asked for the last time
 * @property {number} [askedAt] when they were asked for, in UNIX seconds, and seconds until they are again
 * @property {number} [wait]
 * @property {number|null} [goneSince] undefined if the node is there, null if nobody knows since when it is not
 */

/** Keep what is known of the nodes. */
export class Nodes {
  #sisock;
  #onChange;
  #now;
  #nodes = new Map();
  #asking = new Map();
  #isWatched;
  // Why the nodes of a site cannot be listed; null if they can.
  #errors = new Map();
  #timers = new Map();

  /**
   * @param {Sisock} sisock
   * @param {function()} onChange called when something else is known
   * @param {function(string): boolean} isWatched whether where a node's samples lie is to be kept up to date
   * @param {function(): number} [now] in UNIX seconds
   */
  constructor(sisock, onChange, isWatched = () => true, now = () => Date.now() / 1000) {
    [this.#sisock, this.#onChange, this.#isWatched, this.#now] = [sisock, onChange, isWatched, now];
  }

  /** Return the nodes by name, those that went among them. */
  get all() {
    return [...this.#nodes.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Return the nodes that are there. */
  get present() {
    return this.all.filter(({ goneSince }) => goneSince === undefined);
  }

  /** Return why the nodes cannot be listed, or those of a site; null if they can. */
  error(site = "") {
    return this.#errors.get(site) ?? null;
  }

  /** Return how many nodes' fields are still being asked for. */
  get asking() {
    return this.#asking.size;
  }

  /** Return what is known of a node; also of one that was never there. */
  get(name) {
    return this.#nodes.get(name) ?? { name, description: "", features: [], fields: null, error: null, goneSince: null };
  }

  /** Return what its node says of a field, if that is known. */
  about(key) {
    const { node, field } = splitKey(key);
    return this.#nodes.get(node)?.fields?.[field] ?? null;
  }

  /** Return where the samples of a field lie, if that is known. */
  bounds(key) {
    return boundsOf(this.about(key), this.#nodes.get(splitKey(key).node)?.askedAt);
  }

  /** Whether a node sends new samples by itself. */
  isLive(key) {
    return this.get(splitKey(key).node).features.includes("live");
  }

  /** Read the list of nodes, of a site if there are some; if there is no hub, try again. */
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
      // A site that is away is listed when it is back.
      if (error.site === undefined) this.#timers.set(site, setTimeout(() => this.list(site), HUB_SECONDS * 1000));
    }
    this.#onChange();
  }

  /** Whether the nodes of a site have been listed, or could not be. */
  isAnswered(site) {
    return this.#errors.has(site);
  }

  /** Return the nodes of a site that are there; without a site all. */
  of(site) {
    return site ? this.present.filter(({ name }) => name.startsWith(`${site}/`)) : this.present;
  }

  /** Note that a node came, changed or went. */
  change(node, isPresent) {
    if (isPresent) this.#put(node);
    else this.#leave(node.name);
    this.#onChange();
    // What it said before may be another now.
    if (isPresent && this.get(node.name).fields) this.#ask(node.name, () => this.#sisock.fields(node.name));
  }

  /** Have a node's fields asked for, if they are not known. */
  async need(name) {
    const node = this.#nodes.get(name);
    if (!node || node.goneSince !== undefined || node.fields) return;
    await this.#ask(name, () => this.#sisock.fields(name));
  }

  /** Have the fields of all nodes asked for, or of a site's, of live ones first, a few at once. */
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

  /** Ask those nodes again that are watched, or may be reading an archive, if it is time. */
  askAgain() {
    const isDue = ({ fields, askedAt, wait }) => fields && this.#now() - askedAt > wait;
    for (const node of this.present.filter(isDue)) {
      const { name, features } = node;
      // What a live node says is asked for by the directory, as its fields may change.
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

/** Whether a node is probably still reading its archive, and will say where samples lie: it was not asked often yet. */
export function isReading({ features, fields, wait, goneSince }) {
  return goneSince === undefined && !features.includes("live") && fields !== null && wait < AGAIN_SECONDS && isUnknowing({ features }, fields);
}

/** Whether a node may come to know where its samples lie; one of Part 1 never says so. */
function isUnknowing({ features }, fields) {
  return features.length > 0 && Object.values(fields).some(({ first, last }) => first === null && last === null);
}
