// Use several routers like one: each site has its own connection, time limits and state.

import { Connection, within } from "./connection.js";
import { SisockError } from "./errors.js";

// Time limit of requests to all sites; those that answer later are left out.
const PATIENCE = 5;
const NAME = /^[\w-]+$/;
const WAITING = "there is no connection yet";
const AWAY = ["unreachable", "refused", "realm"];

/** Keep the connection of one site, and what is wrong with it. */
class Site {
  name = "";
  url = undefined;
  state = "connecting";
  reason = WAITING;
  // Kind of refusal: "secret" if none was given, "refused" if it is wrong, or "realm".
  kind = null;
  /** Why the nodes of a joined site cannot be listed. */
  fault = null;
  // UNIX time when its connection was lost.
  since = null;

  /** @param {import("./shapes.js").SiteOptions & object} options */
  constructor({ name, ...options }, make, onState) {
    [this.name, this.url] = [name, options.url];
    this.joined = new Promise((resolve) => (this.isJoined = resolve));
    this.answered = new Promise((resolve) => (this.hasAnswered = resolve));
    this.connection = new Connection({
      ...options,
      onState: (state) => {
        const { reason = null, kind = null } = /** @type {any} */ (state);
        if (state.state === "joined") this.isJoined();
        if (this.state === "joined") this.since = Date.now() / 1000;
        Object.assign(this, { state: state.state, reason, kind, fault: null });
        this.hasAnswered();
        onState({ ...state, site: name });
      },
    });
    this.sisock = make(this.connection);
    if (options.secret) this.connection.join().catch(() => {});
    else Object.assign(this, { state: "refused", kind: "secret", reason: "its secret is needed" }).hasAnswered();
  }

  /** Try again with another secret, after a refusal. */
  signIn(secret) {
    Object.assign(this, { state: "connecting", kind: null, reason: WAITING });
    this.connection.signIn(secret);
  }

  /** Send a request to the site, unless it is unreachable; errors name the site. */
  async ask(question) {
    if (this.state !== "joined") throw this.#away(this.reason);
    try {
      return await question(this.sisock);
    } catch (error) {
      if (!(error instanceof SisockError)) throw error;
      throw AWAY.includes(error.kind) ? this.#away(error.message) : new SisockError(error.kind, `${this.name}: ${error.message}`);
    }
  }

  /** Return the site's nodes by their full names. */
  async nodes() {
    try {
      const nodes = await this.ask((sisock) => sisock.nodes());
      this.fault = null;
      return nodes.map((node) => this.full(node));
    } catch (error) {
      this.fault = error.message;
      throw error;
    }
  }

  full(node) {
    return { ...node, name: `${this.name}/${node.name}` };
  }

  #away(reason) {
    const error = new SisockError("unreachable", `the site '${this.name}' cannot be reached: ${reason}`);
    error.site = this.name;
    return error;
  }
}

/** Find data nodes and their samples at several sites; a node's name is `site/node`. Made by `connect`. */
export class Sites {
  #sites = new Map();

  /**
   * @param {import("./shapes.js").SitesOptions} options
   * @param {function(Connection): any} make returns a Sisock on a connection
   */
  constructor({ sites, onState = () => {}, ...options }, make) {
    for (const each of sites) {
      const { name } = each;
      if (!NAME.test(name)) throw new SisockError("argument", `the site's name ${name} may only contain letters, digits, - and _`);
      if (this.#sites.has(name)) throw new SisockError("argument", `there are two sites with the name ${name}`);
      this.#sites.set(name, new Site({ ...options, ...each }, make, onState));
    }
  }

  /**
   * The sites with their states; nodes of unreachable sites are not listed.
   * @returns {import("./shapes.js").SiteState[]}
   */
  get sites() {
    return [...this.#sites.values()].map(({ name, url, state, kind, reason, fault, since }) => ({ name, url, state, kind, reason: reason ?? fault, since }));
  }

  /** Resolve when each site has answered or failed, or after 5 s. */
  async settle() {
    const answers = [...this.#sites.values()].map(({ answered }) => answered);
    await within(Promise.all(answers), "each site", PATIENCE).catch(() => {});
  }

  /** Join a site that refused, with another secret. */
  signIn(site, secret) {
    this.#site(site).signIn(secret);
  }

  /** Close all connections, and do not reconnect. */
  close() {
    for (const { sisock } of this.#sites.values()) sisock.close();
  }

  /** Check all connections immediately, and renew the broken ones. */
  async check() {
    await Promise.all([...this.#sites.values()].map(({ sisock }) => sisock.check()));
  }

  /**
   * Return the available data nodes by name: those of a site, or of all sites that answer within 5 s; `sites` tells
   * what is wrong with the others.
   * @param {string} [site]
   * @returns {Promise<import("./shapes.js").DataNode[]>}
   */
  async nodes(site) {
    if (site !== undefined) return this.#site(site).nodes();
    const all = [...this.#sites.values()].map((each) => within(each.nodes(), each.name, PATIENCE).catch(() => []));
    return (await Promise.all(all)).flat();
  }

  /**
   * Like `Sisock.fields`, for `site/node`; the methods below also correspond to those of Sisock.
   * @param {string} name of the node
   * @param {number|null} [start]
   * @param {number} [end]
   * @returns {Promise<Object<string, import("./shapes.js").Field>>}
   */
  async fields(name, start, end) {
    const { site, node } = this.#split(name);
    return site.ask((sisock) => sisock.fields(node, start, end));
  }

  /**
   * @param {string} name of the node
   * @param {string[]} names of fields
   * @returns {Promise<{ node: import("./shapes.js").DataNode, fields: Object<string, import("./shapes.js").Field> }>}
   */
  async find(name, names) {
    const { site, node } = this.#split(name);
    const found = await site.ask((sisock) => sisock.find(node, names));
    return { ...found, node: site.full(found.node) };
  }

  /**
   * @param {string} name of the node
   * @param {string[]} names of fields
   * @param {number} start
   * @param {number} end
   * @param {import("./shapes.js").GetOptions} [options]
   * @returns {Promise<Object<string, import("./shapes.js").Series>>}
   */
  async get(name, names, start, end, options) {
    const { site, node } = this.#split(name);
    return site.ask((sisock) => sisock.get(node, names, start, end, options));
  }

  /**
   * @param {string} name of the node
   * @param {string[]|null} [names] of fields, or all
   * @param {number} [end] time before which to look
   * @returns {Promise<Object<string, import("./shapes.js").Latest>>}
   */
  async latest(name, names, end) {
    const { site, node } = this.#split(name);
    return site.ask((sisock) => sisock.latest(node, names, end));
  }

  /**
   * @param {string} name of the node
   * @param {(item: import("./shapes.js").Sample|import("./shapes.js").Gap) => void} callback
   * @param {import("./shapes.js").FollowOptions} [options]
   * @returns {Promise<() => Promise<void>>} ends it
   */
  async watch(name, callback, options) {
    const { site, node } = this.#split(name);
    return site.sisock.watch(node, callback, options);
  }

  /**
   * @param {string} name of the node
   * @param {(item: import("./shapes.js").Batch|import("./shapes.js").Gap) => void} callback
   * @param {import("./shapes.js").FollowOptions} [options]
   * @returns {Promise<() => Promise<void>>} ends it
   */
  async follow(name, callback, options) {
    const { site, node } = this.#split(name);
    return site.sisock.follow(node, callback, options);
  }

  /**
   * Call back when a node appears, vanishes or changes. When a site is joined for the first time, only `onState` reports
   * that, not a call for each of its nodes.
   * @param {(node: import("./shapes.js").DataNode, isPresent: boolean) => void} callback
   * @returns {Promise<() => Promise<void>>} ends it
   */
  async onNodes(callback) {
    let isOn = true;
    for (const site of this.#sites.values()) {
      site.joined.then(() => site.sisock.onNodes((node, isPresent) => isOn && callback(site.full(node), isPresent)));
    }
    return async () => {
      isOn = false;
    };
  }

  #site(name) {
    const site = this.#sites.get(name);
    if (!site) throw new SisockError("node", `there is no site '${name}'`);
    return site;
  }

  #split(name) {
    const at = name.indexOf("/");
    if (at < 0) throw new SisockError("node", `${name} names no site: with several sites a node is site/node`);
    return { site: this.#site(name.slice(0, at)), node: name.slice(at + 1) };
  }
}
