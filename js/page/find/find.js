// Find data: the tree with its search, buttons that go to samples, and the view of a first visit.

import { $, afterRest, make, onceAFrame, write } from "../dom.js";
import { say } from "../notice.js";
import { unitOf } from "../panels/figure.js";
import { addField, keysOf, rangeOf, removeField, splitKey } from "../state.js";
import { explain } from "../trouble.js";
import { boundsOf, boundsText, isOlder, isOutside, timeOfAll, timeOfLatest, timeToGo } from "./bounds.js";
import { chooseFirst } from "./first.js";
import { Nodes } from "./nodes.js";
import { countMatches } from "./rows.js";
import { Tree } from "./tree.js";

const REST_MILLISECONDS = 600;
// Parts of the state that affect the tree.
const DRAWN = ["view", "panels", "maximised", "values", "zone"];
const NO_NODE = {
  title: "No data node is there yet",
  steps: [
    "A data node is a small program beside each instrument or archive. Once one runs, its fields appear here automatically.",
    "To try it: python data_nodes/sensors.py serves the sensors of this computer.",
    "There are ready-made nodes for files, databases and instruments: see docs/how-to/sources. A node on another computer needs the router's address and the secret of the user server.",
  ],
};

/** Fill the region "find", the time bar's buttons that go to samples, and the empty page. */
export class Find {
  #model;
  #sisock;
  #nodes;
  #tree;
  #isFirstVisit = location.search === "";
  #rowsFound = [];

  /**
   * @param {Model} model
   * @param {Sisock|Sites} sisock
   * @param {function(string)} [signIn] asks for the secret of a site
   */
  constructor(model, sisock, signIn) {
    [this.#model, this.#sisock] = [model, sisock];
    this.#nodes = new Nodes(sisock, () => this.draw(), (name) => this.#isWatched(name));
    this.#tree = new Tree($("nodes"), (key, isTicked) => this.select(key, isTicked), (name) => this.#nodes.need(name), signIn);
    $("search").addEventListener("input", () => this.#search());
    $("search").addEventListener("keydown", (event) => this.#pressInSearch(event));
    $("search").addEventListener("focus", () => this.#sites.forEach(({ name }) => this.#nodes.needAll(name)));
    const jumps = [
      ["All data", "Show all samples of the fields on the page", () => this.#showAll()],
      ["Latest", "Show their newest samples", () => this.#showLatest()],
    ];
    for (const [label, title, jump] of jumps) {
      const made = make("button", { type: "button", title }, label);
      made.addEventListener("click", jump);
      $("jumps").append(made);
    }
    // Moving the range does not change the tree.
    model.listen((state, previous) => DRAWN.some((name) => state[name] !== previous[name]) && this.draw());
    // The size of letters, and so the height of rows, may have changed.
    addEventListener("resize", this.draw);
    this.#nodes.watch();
  }

  /** List the nodes (of a site, if there are sites) and the shown fields; choose fields for a first visit. */
  async begin(site = "") {
    await this.refresh(site);
    if (this.#isFirstVisit && this.#isUntouched()) await this.#beginFirst(site);
    await this.#nodes.needAll(site);
  }

  /** List the nodes again. */
  async refresh(site = "") {
    await this.#nodes.list(site);
    this.draw();
    const shown = this.#namesShown();
    await Promise.all(this.#nodes.of(site).map(({ name }) => shown.has(name) && this.#nodes.need(name)));
  }

  /** Note that a node appeared, changed or vanished. */
  async change(node, isPresent) {
    this.#nodes.change(node, isPresent);
    if (isPresent && this.#isFirstVisit && this.#isUntouched()) await this.#beginFirst(this.#sisock.sites ? node.name.slice(0, node.name.indexOf("/")) : "");
    if (isPresent) await this.#nodes.need(node.name);
  }

  /** Return the unit of a field; null if it has no axis, like booleans, states and texts. */
  unitOf(key) {
    const about = this.#nodes.about(key);
    return about ? unitOf({ about }) : "";
  }

  /** Return the known data of a node: { description, features, fields, error, goneSince }. */
  node(name) {
    return this.#nodes.get(name);
  }

  /** Add a field to the page or remove it; offer to go to its samples if they are outside of the range. */
  select(key, isTicked) {
    const { state } = this.#model;
    if (!isTicked) {
      const all = `${splitKey(key).node}::*`;
      return this.#model.change(removeField({ ...state, values: state.values.flatMap((each) => (each === all ? this.#fieldsOf(each) : [each])) }, key));
    }
    const change = addField(state, key, (each) => this.unitOf(each));
    const [now, bounds] = [Date.now() / 1000, this.#nodes.bounds(key)];
    if (state.view === "values" || !isOutside(bounds, rangeOf(state.time))) return this.#model.change(change);
    const time = timeToGo(bounds, now, state.zone);
    if (!keysOf(state).length) return this.#model.change({ ...change, time });
    this.#model.change(change);
    const where = boundsText(bounds, this.#nodes.isLive(key), state.zone, now);
    const text = `${splitKey(key).field} has no samples in this range. Its samples: ${where}.`;
    say(text, false, { label: "Go there", act: () => this.#model.change({ time }) });
  }

  /** Return a key, or those of all known fields of a node if it is "node::*". */
  #fieldsOf(key) {
    const { node, field } = splitKey(key);
    return field === "*" ? Object.keys(this.#nodes.get(node).fields ?? {}).map((name) => `${node}::${name}`) : [key];
  }

  draw = onceAFrame(() => this.#drawNow());

  #drawNow() {
    const { state } = this.#model;
    const keys = [...new Set(keysOf(state).flatMap((key) => this.#fieldsOf(key)))];
    const nodes = [...this.#nodes.all, ...this.#namesUnknown(keys).map((name) => this.#nodes.get(name))];
    const rows = this.#tree.show(nodes, keys, $("search").value, state.zone, this.#sisock.sites && this.#sites);
    $("search-count").hidden = !$("search").value.trim();
    this.#rowsFound = rows;
    for (const made of $("jumps").children) made.disabled = !keys.length;
    this.#drawEmpty(keys);
  }

  /** Let screen readers announce what was found, once the user stops typing. */
  #tell = afterRest(REST_MILLISECONDS, () => {
    const count = countMatches(this.#rowsFound);
    const more = this.#nodes.asking ? ", still asking nodes" : "";
    write($("search-count"), `${count === 1 ? "1 field" : `${count.toLocaleString("en")} fields`} found${more}`);
  });

  #search() {
    this.draw();
    this.#tell();
  }

  #pressInSearch(event) {
    if (event.key === "Escape" && $("search").value) {
      $("search").value = "";
      this.#search();
      event.stopPropagation();
    } else if (event.key === "ArrowDown" || event.key === "Enter") {
      event.preventDefault();
      this.#drawNow();
      this.#tree.enter();
    }
  }

  /** The sites with their problems; a single router is one without a name. */
  get #sites() {
    const sites = this.#sisock.sites ?? [{ name: "", state: "joined" }];
    return sites.map((site) => ({ ...site, isAway: site.state !== "joined", isAsked: !this.#nodes.isAnswered(site.name) }));
  }

  #isWatched(name) {
    return this.#namesShown().has(name) || this.#tree.open.includes(name);
  }

  #namesShown() {
    return new Set(keysOf(this.#model.state).map((key) => splitKey(key).node));
  }

  #namesUnknown(keys) {
    const known = new Set(this.#nodes.all.map(({ name }) => name));
    return [...new Set(keys.map((key) => splitKey(key).node))].filter((name) => !known.has(name));
  }

  #isUntouched() {
    return !keysOf(this.#model.state).length && location.search === "";
  }

  async #beginFirst(site) {
    for (const { name } of this.#nodes.of(site).sort((a, b) => b.features.includes("live") - a.features.includes("live"))) {
      await this.#nodes.need(name);
      if (chooseFirst(this.#nodes.of(site), Date.now() / 1000)?.isMoving) break;
    }
    const found = chooseFirst(this.#nodes.of(site), Date.now() / 1000);
    if (!found || !this.#isUntouched()) return;
    let state = this.#model.state;
    for (const key of found.keys) state = { ...state, ...addField(state, key, (each) => this.unitOf(each)) };
    this.#model.change({ panels: state.panels, time: found.time }, { isStep: false });
    if (!found.isMoving && !this.#nodes.bounds(found.keys[0])) await this.#showLatest();
  }

  #boundsShown() {
    return keysOf(this.#model.state).map((key) => this.#nodes.bounds(key)).filter(Boolean);
  }

  #showAll() {
    const time = timeOfAll(this.#boundsShown(), Date.now() / 1000, this.#model.state.zone);
    if (time) this.#model.change({ time });
    else say("The nodes of these fields do not tell where their samples lie. Latest finds the newest ones.");
  }

  async #showLatest() {
    const { state } = this.#model;
    const { start, end } = rangeOf(state.time);
    const span = end - start;
    const bounds = await Promise.all(keysOf(state).map((key) => {
      const known = this.#nodes.bounds(key);
      // A description of samples up to now is outdated once there is a further one.
      return known && !(known.isNow && isOlder(known, span)) ? known : this.#askLatest(key);
    }));
    const time = timeOfLatest(bounds.filter(Boolean), span, state.zone);
    if (time) this.#model.change({ time });
    else say("These fields have no samples.");
  }

  /** Ask for the last sample of a field with unknown bounds. */
  async #askLatest(key) {
    const { node, field } = splitKey(key);
    try {
      const { t = null } = (await this.#sisock.latest(node, [field]))[field] ?? {};
      return boundsOf({ ...this.#nodes.about(key), last: t }, Date.now() / 1000);
    } catch {
      return null;
    }
  }

  /** Explain an empty page. */
  #drawEmpty(keys) {
    const isWell = this.#sites.every(({ name, isAway, isAsked }) => !isAway && !isAsked && !this.#nodes.error(name));
    const isNoNode = isWell && !this.#nodes.present.length;
    const isHubAway = this.#nodes.error()?.kind === "hub";
    $("welcome").hidden = !isHubAway && (!isNoNode || keys.length > 0);
    $("hint").hidden = isNoNode || isHubAway || keys.length > 0;
    // Without fields, the page shows only this.
    $("welcome").classList.toggle("is-alone", !keys.length);
    if ($("welcome").hidden) return;
    const { title, steps } = isHubAway ? explain({ kind: "hub" }) : NO_NODE;
    write($("welcome-title"), title);
    if ($("welcome-steps").childElementCount !== steps.length) $("welcome-steps").replaceChildren(...steps.map((step) => make("li", {}, step)));
  }
}
