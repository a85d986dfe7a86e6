// The state of the page: a plain object, kept in the URL, so that a view can be shared, and in the
// browser's history, so that Back undoes and Forward redoes.

/** @typedef {{ key: string, colour?: string, label?: string, isHidden?: boolean }} Shown key: "node::field" */
/** @typedef {{ low?: number, high?: number, isLog?: boolean }} Axis */
/**
 * @typedef {{ fields: Shown[], height?: number, isTable?: boolean, axes?: Object<string, Axis> }} Panel
 *   axes by unit; isTable: whether its samples are listed, too
 */
/** @typedef {{ span: number, offset: number } | { from: number, to: number }} Time following, or fixed */
/**
 * @typedef {{ view: "panels"|"values", panels: Panel[], maximised: number|null, values: string[], time: Time,
 *   zone: "utc"|"local", order: "given"|"name"|"level"|"value"|"age" }} State values: keys, or "node::*"; order: that of the values
 */

import { formatKeys, formatPanel, isPanel, parseKeys, parsePanel } from "./address.js";
import { parseIso } from "./time/text.js";

/** @type {State} */
export const DEFAULTS = {
  view: "panels",
  panels: [],
  maximised: null,
  values: [],
  time: { span: 3600, offset: 0 },
  zone: "utc",
  order: "given",
};

const ORDERS = ["given", "name", "level", "value", "age"];

const FIELDS = [isPanel, "NODE::FIELD"];
const TIME = [(text) => !Number.isNaN(timeOf(text)), "a time such as 2017-07-14T12:00Z"];
// What the parts of an address may be, as test and in words.
const PARTS = {
  p: FIELDS,
  v: FIELDS,
  from: TIME,
  to: TIME,
  last: [(text) => Number(text) > 0, "seconds"],
  ago: [(text) => Number(text) >= 0, "seconds"],
  ...Object.fromEntries(
    Object.entries({ view: ["panels", "values"], zone: ["utc", "local"], order: ORDERS }).map(([name, words]) => [name, [(text) => words.includes(text), words.join(", ")]]),
  ),
  max: [(text) => /^\d+$/.test(text), "the number of a panel, from 0"],
};
// Parts of old links, and of the router's layouts.
const OTHERS = ["s", "live", "stack", "table", "layout"];

const MAX_UNITS = 2;
// Browsers refuse more than about a hundred changes of the address in half a minute.
const WRITE_MILLISECONDS = 300;

/** Hold the state; keep address and history up to date. */
export class Model {
  #state;
  #callbacks = new Set();
  #browser;
  #timer = null;
  #home;

  /**
   * @param {string} search the query part of the URL
   * @param {object} [browser] an object with `history`, `location` and `addEventListener`
   */
  constructor(search, browser = globalThis) {
    this.#state = Object.freeze(parseState(search));
    this.#home = this.#state.time;
    this.#browser = browser;
    browser.addEventListener("popstate", () => {
      clearTimeout(this.#timer);
      this.#timer = null;
      this.#set(parseState(browser.location.search));
      this.#home = this.#state.time;
    });
  }

  /** @returns {State} */
  get state() {
    return this.#state;
  }

  /** The last range chosen without a gesture, to which a double click returns. */
  get home() {
    return this.#home;
  }

  /**
   * Change a part of the state.
   * @param {Partial<State>} partial
   * @param {{ isStep?: boolean, isGesture?: boolean }} [options] a step can be undone by Back; other changes, like
   *   those of a drag after its first, belong to the previous step. A gesture moves or zooms the chosen range
   */
  change(partial, { isStep = true, isGesture = false } = {}) {
    if (isStep) this.#write();
    if (partial.time && !isGesture) this.#home = partial.time;
    this.#set({ ...this.#state, ...partial });
    if (isStep) this.#browser.history.pushState(null, "", formatState(this.#state));
    else this.#timer ??= setTimeout(() => this.#write(), WRITE_MILLISECONDS);
  }

  /** Call back with the state and the previous one after each change, also by Back or Forward. */
  listen(callback) {
    this.#callbacks.add(callback);
  }

  #set(state) {
    const previous = this.#state;
    this.#state = Object.freeze(state);
    for (const callback of this.#callbacks) callback(state, previous);
  }

  /** Write pending changes into the address. */
  #write() {
    if (this.#timer === null) return;
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#browser.history.replaceState(null, "", formatState(this.#state));
  }
}

/**
 * Read a state from the query part of a URL; ignore unknown or invalid parts, which `faultsOf` tells.
 * @returns {State}
 */
export function parseState(search) {
  const given = new URLSearchParams(search);
  const panels = [...given.getAll("p").map(parsePanel), ...oldPanels(given)];
  const maximised = numberOf(given, "max");
  return {
    view: given.get("view") === "values" ? "values" : "panels",
    panels,
    maximised: panels[maximised] ? maximised : null,
    values: parseKeys(given.getAll("v").join(";")),
    time: parseSpan(given),
    zone: given.get("zone") === "local" ? "local" : "utc",
    order: ORDERS.includes(given.get("order")) ? given.get("order") : DEFAULTS.order,
  };
}

/** Return what `parseState` ignores of the query part of a URL, as texts for the user. */
export function faultsOf(search) {
  const given = new URLSearchParams(search);
  const faults = [...given].flatMap(([name, text]) => {
    const [isValid, words] = PARTS[name] ?? [() => OTHERS.includes(name), null];
    return isValid(text) ? [] : [`${name}=${text} (${words ? `write ${words}` : "there is no such part"})`];
  });
  const [from, to] = ["from", "to"].map((name) => given.get(name));
  if (faults.length || (from === null && to === null) || timeOf(from) < timeOf(to)) return faults;
  return ["from and to (write both, the earlier one first)"];
}

/** Write a state as the query part of a URL. */
export function formatState({ view, panels, maximised, values, time, zone, order }) {
  const written = new URLSearchParams();
  for (const panel of panels) written.append("p", formatPanel(panel));
  if (values.length) written.set("v", formatKeys(values));
  if ("span" in time) {
    written.set("last", String(time.span));
    if (time.offset) written.set("ago", String(time.offset));
  } else {
    written.set("from", String(time.from));
    written.set("to", String(time.to));
  }
  if (view !== DEFAULTS.view) written.set("view", view);
  if (maximised !== null) written.set("max", String(maximised));
  if (zone !== DEFAULTS.zone) written.set("zone", zone);
  if (order !== DEFAULTS.order) written.set("order", order);
  // These characters are valid in a query, and much easier to read unescaped.
  return `?${written}`.replace(/%(3A|2C|3B|21|40|7E|24|2F)/g, decodeURIComponent);
}

/** Return the keys of all shown fields, each once, in their order. */
export function keysOf({ view, panels, maximised, values }) {
  if (view === "values") return values;
  const shown = maximised === null ? panels : [panels[maximised]];
  return [...new Set(shown.flatMap(({ fields }) => fields.map(({ key }) => key)))];
}

/**
 * Return the change that adds a field: to a panel that has its unit, or else to the last panel if that has room for
 * another unit, or else to a new panel.
 * @param {State} state
 * @param {string} key
 * @param {function(string): string|null} units returns the unit of a key, "" for a number without one, null for a
 *   field without an axis
 * @returns {Partial<State>}
 */
export function addField(state, key, units) {
  if (keysOf(state).includes(key)) return {};
  if (state.view === "values") return { values: [...state.values, key] };
  const { panels } = state;
  const at = state.maximised ?? panelFor(panels, key, units);
  const panel = panels[at] ?? { fields: [] };
  const changed = { ...panel, fields: [...panel.fields, { key }] };
  return { panels: at < panels.length ? panels.with(at, changed) : [...panels, changed] };
}

/** Return the change that removes a field, and its panel if that has no other field. */
export function removeField(state, key) {
  if (state.view === "values") return { values: state.values.filter((each) => each !== key) };
  const kept = state.panels.map((panel) => ({ ...panel, fields: panel.fields.filter((each) => each.key !== key) }));
  const panels = kept.filter(({ fields }, i) => fields.length || !state.panels[i].fields.length);
  return { panels, maximised: panels.length === state.panels.length ? state.maximised : null };
}

/**
 * Split panels so that none has more than two units; further units get panels of their own.
 * @param {function(string): string|null} units like that of `addField`
 */
export function splitByUnits(panels, units) {
  return panels.flatMap((panel) => {
    const own = unitsOf(panel, units);
    if (own.length <= MAX_UNITS) return [panel];
    const groups = Array.from({ length: Math.ceil(own.length / MAX_UNITS) }, () => []);
    for (const field of panel.fields) {
      const at = own.indexOf(units(field.key));
      groups[Math.max(Math.floor(at / MAX_UNITS), 0)].push(field);
    }
    return groups.map((fields) => ({ ...panel, fields }));
  });
}

/**
 * Return the shown range in UNIX seconds.
 * @param {Time} time
 * @param {number} [now]
 * @returns {{ start: number, end: number }}
 */
export function rangeOf(time, now = Date.now() / 1000) {
  if (!("span" in time)) return { start: time.from, end: time.to };
  const end = now - time.offset;
  return { start: end - time.span, end };
}

/** Return node and field of a key; a node's name never contains the separator. */
export function splitKey(key) {
  const at = key.indexOf("::");
  return { node: key.slice(0, at), field: key.slice(at + 2) };
}

function panelFor(panels, key, units) {
  const [unit, { node }] = [units(key), splitKey(key)];
  const own = panels.map((panel) => unitsOf(panel, units));
  // Numbers without a unit are comparable only within their node.
  const isLike = ({ fields }) => unit !== "" || fields.some((each) => units(each.key) === "" && splitKey(each.key).node === node);
  const same = unit === null ? -1 : panels.findLastIndex((panel, i) => own[i].includes(unit) && isLike(panel));
  if (same >= 0) return same;
  const last = panels.length - 1;
  return last >= 0 && (unit === null || (own[last].length < MAX_UNITS && !own[last].includes(unit))) ? last : panels.length;
}

function unitsOf({ fields }, units) {
  return [...new Set(fields.map(({ key }) => units(key)))].filter((unit) => unit !== null);
}

function parseSpan(given) {
  const [from, to] = ["from", "to"].map((name) => timeOf(given.get(name)));
  if (from < to) return { from, to };
  const [span, offset] = [numberOf(given, "last"), numberOf(given, "ago")];
  return { span: span > 0 ? span : DEFAULTS.time.span, offset: offset ?? 0 };
}

/** Read the fields of old links, written before there were panels. */
function oldPanels(given) {
  const fields = parseKeysOf(given.getAll("s"));
  const more = given.get("table") === "1" ? { isTable: true } : {};
  if (!fields.length) return [];
  if (given.get("stack") === "1") return fields.map((field) => ({ fields: [field], ...more }));
  return [{ fields, ...more }];
}

function parseKeysOf(keys) {
  return [...new Set(keys)].filter((key) => key.includes("::")).map((key) => ({ key }));
}

function timeOf(text) {
  return text && Number.isFinite(Number(text)) ? Number(text) : parseIso(text ?? "");
}

function numberOf(given, name) {
  const value = Number(given.get(name));
  return given.get(name) && Number.isFinite(value) ? value : null;
}
