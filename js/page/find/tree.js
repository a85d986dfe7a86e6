// The tree of nodes and fields: draws only its visible part; for mouse, touch, keyboard and screen reader.

import { make } from "../dom.js";
import { durationText } from "../time/text.js";
import { boundsOf, boundsText, momentText, togetherOf } from "./bounds.js";
import { List } from "./list.js";
import { isReading } from "./nodes.js";
import { SELECTED, rowsOf } from "./rows.js";
import { marksIn } from "./search.js";

// Heights in rem of a row, and of a line of description below it.
const [ROW, LINE] = [2, 1.3];
// Letters per line of a description, and its maximum number of lines.
const [LETTERS, MAX_LINES] = [40, 2];
// Cache of where the samples of all fields of a node lie, computed once per answer of the node.
const together = new WeakMap();
// In place of "live", while something keeps the node from serving.
const PROBLEM = "problem";
// Maximum rows of selected fields; more would hide the nodes.
const FEW = 12;

/** Show nodes and fields in an element of role "tree" with a child for the rows. */
export class Tree {
  #element;
  #onToggle;
  #onOpen;
  #onSignIn;
  #list;
  #rows = [];
  #opened = new Map();
  #active = null;
  #numbers = new Map();
  #rem = 16;
  #shown = { nodes: [], keys: [], query: "", zone: "utc", sites: null };

  /**
   * @param {HTMLElement} element
   * @param {function(string, boolean)} onToggle called with a key and whether it is ticked
   * @param {function(string)} onOpen called with a node's name
   * @param {function(string)} [onSignIn] called with the name of a site that needs a secret
   */
  constructor(element, onToggle, onOpen, onSignIn) {
    [this.#element, this.#onToggle, this.#onOpen, this.#onSignIn] = [element, onToggle, onOpen, onSignIn];
    this.#list = new List(element, (row) => heightOf(row) * this.#rem, (row) => this.#make(row));
    element.addEventListener("click", ({ target }) => this.#click(target.closest("[role=treeitem]")));
    element.addEventListener("keydown", (event) => this.#press(event));
    element.addEventListener("focus", () => this.#activate(this.#active ?? this.#rows[0]?.id));
  }

  /** Return the names of the nodes that are open. */
  get open() {
    return this.#rows.filter(({ kind, isOpen }) => kind === "node" && isOpen).map(({ node }) => node.name);
  }

  /**
   * Show these nodes.
   * @param {import("./nodes.js").Node[]} nodes
   * @param {string[]} keys of the shown fields
   * @param {string} query
   * @param {"utc"|"local"} zone
   * @param {object[]|null} [sites] like those of `rowsOf`
   * @returns {import("./rows.js").Row[]}
   */
  show(nodes, keys, query, zone, sites = null) {
    // A new search opens what it finds, even if it was closed before.
    if (query !== this.#shown.query) for (const id of this.#opened.keys()) if (id.startsWith("? ")) this.#opened.delete(id);
    this.#shown = { nodes, keys, query, zone, sites };
    this.#rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    this.#rows = rowsOf(nodes, keys, query, (id, byDefault) => this.#isOpen(id, byDefault), sites);
    if (!this.#rows.some(({ id }) => id === this.#active)) this.#setActive(null);
    this.#list.show(this.#rows, this.#active);
    return this.#rows;
  }

  /** Go to the first field that is shown. */
  enter() {
    const first = this.#rows.find(({ kind, isWhole }) => kind === "field" && !isWhole) ?? this.#rows[0];
    this.#setActive(first?.id ?? null);
    this.#element.focus();
  }

  #isOpen(id, byDefault) {
    // During a search the selected fields are closed, to show the results.
    if (id === SELECTED) return this.#opened.get(id) ?? (!this.#shown.query.trim() && this.#shown.keys.length <= FEW);
    return this.#opened.get(this.#openKey(id)) ?? byDefault;
  }

  #openKey(id) {
    return id !== SELECTED && this.#shown.query.trim() ? `? ${id}` : id;
  }

  #setOpen(row, isOpen) {
    this.#opened.set(this.#openKey(row.id), isOpen);
    if (row.kind === "node" && isOpen) this.#onOpen(row.node.name);
    this.#again();
  }

  #again() {
    const { nodes, keys, query, zone, sites } = this.#shown;
    this.show(nodes, keys, query, zone, sites);
  }

  #click(element) {
    const row = this.#rows.find(({ id }) => this.#numbers.get(id) === element?.id);
    if (!row) return;
    this.#setActive(row.id);
    this.#act(row);
  }

  #act(row) {
    if (row.kind === "field") this.#onToggle(row.key, !row.isTicked);
    else if (row.kind === "sign-in") this.#onSignIn(row.site.name);
    else if (row.kind !== "note") this.#setOpen(row, !row.isOpen);
  }

  #press(event) {
    const at = this.#rows.findIndex(({ id }) => id === this.#active);
    const row = this.#rows[at];
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: this.#list.page, PageUp: -this.#list.page, Home: -Infinity, End: Infinity };
    if (event.ctrlKey || event.metaKey || event.altKey || !row) return;
    if (event.key in moves) this.#activate(this.#rows[Math.min(Math.max(at + moves[event.key], 0), this.#rows.length - 1)].id);
    else if (event.key === "ArrowRight" && row.isOpen === false) this.#setOpen(row, true);
    else if (event.key === "ArrowRight" && row.isOpen) this.#activate(this.#rows[at + 1]?.level > row.level ? this.#rows[at + 1].id : row.id);
    else if (event.key === "ArrowLeft" && row.isOpen) this.#setOpen(row, false);
    else if (event.key === "ArrowLeft") this.#activate(this.#rows.findLast((each, i) => i < at && each.level < row.level)?.id ?? row.id);
    else if (event.key === " " || event.key === "Enter") this.#act(row);
    else return;
    event.preventDefault();
  }

  #activate(id) {
    if (id === undefined) return;
    this.#setActive(id);
    this.#list.show(this.#rows, id);
    this.#list.reveal(id);
  }

  #setActive(id) {
    this.#active = id;
    this.#element.querySelector(".is-active")?.classList.remove("is-active");
    document.getElementById(this.#numberOf(id))?.classList.add("is-active");
    if (id === null) this.#element.removeAttribute("aria-activedescendant");
    else this.#element.setAttribute("aria-activedescendant", this.#numberOf(id));
  }

  /** Return the id of a row's element. */
  #numberOf(id) {
    if (!this.#numbers.has(id)) this.#numbers.set(id, `row-${this.#numbers.size}`);
    return this.#numbers.get(id);
  }

  #make(row) {
    const element = make("div", { id: this.#numberOf(row.id), role: "treeitem", className: `row ${row.kind}` });
    element.ariaLevel = row.level;
    element.ariaPosInSet = row.place;
    element.ariaSetSize = row.siblings;
    if (row.isOpen !== undefined) element.ariaExpanded = row.isOpen;
    if (row.kind === "field") element.ariaChecked = row.isTicked;
    if (row.kind === "field") element.dataset.key = row.key;
    if (row.kind === "node") element.dataset.node = row.node.name;
    if (row.kind === "site") element.dataset.site = row.site.name;
    if (row.node?.goneSince !== undefined || row.site?.isAway) element.classList.add("gone");
    if (row.isBad) element.classList.add("error");
    element.classList.toggle("is-active", row.id === this.#active);
    element.append(...this.#parts(row));
    return element;
  }

  /** Return the parts of a row: a mark, a line, perhaps where its samples lie, and a line below. */
  #parts(row) {
    const [mark, line, lies, below] = this.#told(row);
    const parts = [mark, make("span", { className: "line" }, ...line), ...(lies ? [lies] : [])];
    const trouble = row.kind === "node" ? troubleOf(row.node) : null;
    const texts = [trouble, below].filter(Boolean);
    if (!texts.length) return parts;
    const told = trouble ? [make("span", { className: "is-bad" }, trouble), " "] : [];
    return [...parts, make("span", { className: "about", title: texts.join("\n") }, ...told, this.#marked(below ?? ""))];
  }

  #told(row) {
    const [twist, none] = [make("span", { className: "twist" }), make("span", {})];
    if (row.kind === "note") return [none, [name(row.text)]];
    if (row.kind === "site") return [twist, [name(this.#marked(row.site.name)), count(row.site.isAway || row.site.isAsked ? "" : row.count)], where(this.#stateOf(row.site)), reasonOf(row.site)];
    if (row.kind === "sign-in") return [none, [name(`Sign in to ${row.site.name}`)]];
    if (row.kind === "selected") return [twist, [name("On the page"), count(row.count)]];
    if (row.kind === "timeline") {
      const every = row.about.interval ? `every ${durationText(row.about.interval)}` : "";
      return [twist, [name(this.#marked(row.line)), count(row.count)], where(every)];
    }
    return row.kind === "node" ? [twist, ...this.#nodeParts(row)] : [make("span", { className: "box" }), ...this.#fieldParts(row)];
  }

  /** Describe the state of a site, unless all is well. */
  #stateOf({ state, since, isAsked }) {
    if (state === "waiting") return since === null ? "not reachable" : `away since ${this.#moment(since)}`;
    return { connecting: "connecting", refused: "not signed in", joined: isAsked ? "asking for its nodes" : "" }[state];
  }

  #moment(t) {
    return momentText(t, this.#shown.zone, Date.now() / 1000);
  }

  #nodeParts({ node, count: all, found, isSearch, site }) {
    const number = node.fields ? (isSearch && found < all ? `${found} of ${all}` : all) : "";
    const line = [name(this.#marked(site ? node.name.slice(site.name.length + 1) : node.name), node.name), count(number)];
    const trouble = troubleOf(node);
    const lies = trouble ? where(PROBLEM, "is-bad", false, trouble) : where(this.#whereOf(node, true), "", false, this.#whereOf(node));
    return [line, site?.isAway ? where("") : lies, node.description];
  }

  #fieldParts({ about, field, name: ofNode, node, isWhole, site }) {
    const all = boundsOf(about, node?.askedAt);
    // The node's name needs the room.
    const bounds = this.#textOf(all, node, isWhole);
    const unit = (about?.type === "number" ? about.units : about?.type) ?? "";
    const isGone = node?.goneSince !== undefined || site?.isAway;
    const away = isWhole ? (site?.isAway ? "site away" : "gone") : bounds === "live" ? "" : bounds;
    const lies = isGone ? away : bounds;
    // Leave out what the node's row already shows, to keep room for the name.
    const isSame = !isWhole && bounds !== "live" && bounds === this.#textOf(boundsOfNode(node), node);
    const line = [name(this.#marked(field), isSame ? `${field}: ${bounds}` : field), count(this.#marked(unit))];
    const title = isGone ? lies : lies === PROBLEM ? troubleOf(node) : this.#textOf(all, node);
    return [line, where(lies, { live: "is-live", [PROBLEM]: "is-bad" }[lies], isSame, title), isWhole ? ofNode : about?.description];
  }

  /** Describe since when a node is gone, or where its samples lie. */
  #whereOf(node, isShort) {
    if (node.goneSince === null) return "not there";
    if (node.goneSince !== undefined) return `gone since ${this.#moment(node.goneSince)}`;
    return this.#textOf(boundsOfNode(node), node, isShort);
  }

  #textOf(bounds, node, isShort) {
    if (!bounds && node && isReading(node)) return "reading …";
    const text = boundsText(bounds, node?.features.includes("live"), this.#shown.zone, Date.now() / 1000, isShort);
    return text === "live" && troubleOf(node) ? PROBLEM : text;
  }

  /** Return a text with the search's matches marked. */
  #marked(text) {
    const parts = new DocumentFragment();
    let end = 0;
    for (const [from, to] of marksIn(this.#shown.query, text)) {
      parts.append(text.slice(end, from), make("mark", {}, text.slice(from, to)));
      end = to;
    }
    parts.append(text.slice(end));
    return parts;
  }
}

function name(text, title = "") {
  return make("span", { className: "name", title }, text);
}

function count(text) {
  return make("span", { className: "count" }, text);
}

function where(text, state = "", isSame = false, title = text) {
  return make("span", { className: `where ${state} ${isSame ? "is-same" : ""}`, title }, text);
}

function boundsOfNode({ fields, askedAt }) {
  if (!fields) return null;
  if (!together.has(fields)) together.set(fields, togetherOf(Object.values(fields).map((about) => boundsOf(about, askedAt)).filter(Boolean)));
  return together.get(fields);
}

/** Return what keeps an available node from serving. */
function troubleOf(node) {
  return (node.goneSince === undefined && node.trouble) || null;
}

/** Return what is wrong with a site, except that it needs a sign-in. */
function reasonOf({ kind, state, reason }) {
  return kind === "secret" || state === "connecting" ? null : reason;
}

/** Return the text below a row's line. */
function belowOf({ kind, site, node, isWhole, name: ofNode, about }) {
  if (kind === "site") return reasonOf(site);
  if (kind === "node") return [troubleOf(node), node.description].filter(Boolean).join(" ");
  return kind === "field" ? (isWhole ? ofNode : about?.description) : null;
}

/** Return the height of a row in rem. */
function heightOf(row) {
  const { length } = belowOf(row) ?? "";
  return ROW + LINE * Math.min(Math.ceil(length / LETTERS), MAX_LINES);
}
