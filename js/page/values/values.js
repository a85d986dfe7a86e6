// The view of the latest values: a table of the chosen fields, which can fill a wall.

import { atMostEvery, button, make, write } from "../dom.js";
import { addField, keysOf, splitKey } from "../state.js";
import { Export } from "../layouts/export.js";
import { timeText, zoneText } from "../time/text.js";
import { ORDERS, columnsWithin, fill, inOrder } from "./arrangement.js";
import { HOUR, Latest } from "./latest.js";
import { RowView, SPARK_WIDTH } from "./row.js";

const PAINT_MILLISECONDS = 500;
const TICK_MILLISECONDS = 1000;
const POLL_MILLISECONDS = 10_000;
// Minimum time between two changes of the rows' order, so that values can be read before they move.
const ORDER_MILLISECONDS = 2000;
const LEVELS = ["alarm", "warning", "gone", "stale"];

/** Show the latest values in an element while the page shows this view. */
export class Values {
  #element;
  #sisock;
  #model;
  #unitOf;
  #latest;
  #rows = new Map();
  #tables = [];
  #placed = "";
  #chosen = "";
  #orderedAt = -Infinity;
  #order = [];
  #summary = make("p", { role: "status", className: "summary" });
  // Time of printing, for paper.
  #asOf = make("span", { className: "on-paper" });
  #fault = make("p", { className: "error" });
  #empty = make("p", { className: "empty" });
  #chips = make("ul", { className: "chips", ariaLabel: "Whole nodes" });
  #nodes = make("select", { id: "values-add", ariaLabel: "Add all fields of a node" });
  #orders = make("select", { ariaLabel: "Order" }, ...Object.entries(ORDERS).map(([value, text]) => make("option", { value }, text)));
  #columns = make("div", { className: "columns" });

  /**
   * @param {HTMLElement} element
   * @param {Sisock} sisock
   * @param {import("../state.js").Model} model
   * @param {function(string): string|null} unitOf like `units` of `addField`
   */
  constructor(element, sisock, model, unitOf) {
    [this.#element, this.#sisock, this.#model, this.#unitOf] = [element, sisock, model, unitOf];
    const paint = atMostEvery(() => PAINT_MILLISECONDS, () => this.#paint());
    this.#latest = new Latest(sisock, paint, 2 * SPARK_WIDTH);
    this.#build();
    model.listen((state, previous) => this.#changed(state, previous));
    sisock.onNodes(({ name }, isPresent) => this.#nodeChanged(name, isPresent));
    setInterval(() => this.#isShown && paint(), TICK_MILLISECONDS);
    setInterval(() => this.#isShown && this.#latest.poll(), POLL_MILLISECONDS);
    const wall = matchMedia("(display-mode: fullscreen)");
    for (const [target, event] of [[document, "fullscreenchange"], [wall, "change"]]) {
      target.addEventListener(event, () => this.#paint());
    }
    new ResizeObserver(() => this.#isShown && this.#paint()).observe(element);
    this.#changed(model.state, { values: [] });
  }

  /** Ask for everything again, or for the values of a site, after a node or the connection came back. */
  refresh(site) {
    this.#offer();
    if (this.#isShown) this.#latest.refresh(site);
  }

  /** Mark the values of an unreachable site. */
  lose(prefix, error) {
    this.#latest.lose(prefix, error);
  }

  /** Offer the available nodes, to choose all fields of one. */
  async #offer() {
    const nodes = await this.#sisock.nodes().catch(() => []);
    const options = nodes.map(({ name }) => make("option", { value: `${name}::*` }, name));
    this.#nodes.replaceChildren(make("option", { value: "" }, "add a node …"), ...options);
  }

  #nodeChanged(name, isPresent) {
    this.#latest.mark(name, !isPresent);
    if (isPresent) this.refresh();
    else this.#offer();
  }

  get #isShown() {
    return this.#model.state.view === "values";
  }

  /** Whether this view has the whole screen, by its button or by how the browser was started. */
  get #isWall() {
    return document.fullscreenElement === this.#element || (this.#isShown && matchMedia("(display-mode: fullscreen)").matches);
  }

  #build() {
    this.#nodes.addEventListener("change", () => {
      const { values } = this.#model.state;
      const key = this.#nodes.value;
      if (key && !values.includes(key)) this.#model.change({ values: [...values, key] });
      this.#nodes.value = "";
    });
    this.#orders.addEventListener("change", () => this.#model.change({ order: this.#orders.value }));
    const large = button("⤢", "Full screen", () => this.#element.requestFullscreen());
    large.id = "values-full";
    const save = make("button", { type: "button", id: "values-save", title: "Save the samples of the last hour" }, "Save …");
    save.addEventListener("click", () => {
      const end = Date.now() / 1000;
      new Export(this.#sisock, this.#latest.rows.map(({ key }) => key), { start: end - HOUR, end }, this.#model.state.zone).open();
    });
    const bar = make("div", { className: "bar" }, this.#summary, this.#asOf, this.#chips, this.#nodes, this.#orders, save, large);
    this.#element.replaceChildren(bar, this.#fault, this.#empty, this.#columns);
    this.#offer();
  }

  #changed(state, previous) {
    this.#element.hidden = !this.#isShown;
    this.#orders.value = state.order;
    this.#orderedAt = -Infinity;
    if (state.values !== previous.values || state.view !== previous.view) {
      this.#latest.show(this.#isShown ? state.values : []);
      this.#showChips();
    }
    this.#paint();
  }

  #showChips() {
    const { values } = this.#model.state;
    const chips = values.filter((key) => key.endsWith("::*")).map((key) => {
      const { node } = splitKey(key);
      const remove = make("button", { type: "button", title: `show ${node} no more`, ariaLabel: `show ${node} no more` }, "✕");
      remove.addEventListener("click", () => this.#model.change({ values: this.#model.state.values.filter((each) => each !== key) }));
      return make("li", {}, `all of ${node} `, remove);
    });
    this.#chips.replaceChildren(...chips);
    this.#columns.classList.toggle("is-one-node", values.length === 1 && chips.length === 1);
  }

  #paint() {
    if (!this.#isShown) return;
    const now = Date.now() / 1000;
    const { zone } = this.#model.state;
    const { rows, faults } = this.#latest;
    this.#arrange(rows);
    for (const row of rows) this.#rows.get(row.key).write(row, now);
    write(this.#fault, faults.join("; "));
    write(this.#summary, summaryOf(rows));
    write(this.#asOf, `${timeText(now, zone)} ${zoneText(zone, now)}`);
    this.#showEmpty(rows.length === 0 && !faults.length);
  }

  /** Offer the panels' fields if nothing is chosen. */
  #showEmpty(isEmpty) {
    this.#empty.hidden = !isEmpty;
    if (!isEmpty || this.#empty.childNodes.length) return;
    const take = make("button", { type: "button" }, "Take the fields of the panels");
    take.addEventListener("click", () => {
      this.#model.change({ values: keysOf({ ...this.#model.state, view: "panels", maximised: null }) });
    });
    this.#empty.append("Choose fields, or a whole node, to see their latest values. ", take);
  }

  /** Sort the rows, and arrange them in as many columns as fit. */
  #arrange(rows) {
    const isWall = this.#isWall;
    document.documentElement.classList.toggle("is-wall", isWall);
    const { clientWidth: width } = this.#columns;
    const given = parseFloat(getComputedStyle(this.#element).getPropertyValue("font-size"));
    const { columns, size } = isWall
      ? fill(rows.length, width, innerHeight - this.#columns.offsetTop)
      : { columns: Math.min(columnsWithin(width, given), rows.length || 1), size: null };
    this.#columns.style.fontSize = size === null ? "" : `${size}px`;
    const keys = this.#ordered(rows);
    const placed = JSON.stringify([columns, keys]);
    if (placed === this.#placed) return;
    this.#placed = placed;
    this.#place(keys, columns);
  }

  #ordered(rows) {
    const { order } = this.#model.state;
    // A row that becomes urgent moves to the top immediately.
    const chosen = JSON.stringify(rows.map(({ key, level }) => (order === "level" ? [key, level] : key)));
    const isDue = chosen !== this.#chosen || performance.now() - this.#orderedAt >= ORDER_MILLISECONDS;
    if (!isDue) return this.#order;
    [this.#chosen, this.#orderedAt] = [chosen, performance.now()];
    this.#order = inOrder(rows, order).map(({ key }) => key);
    return this.#order;
  }

  #place(keys, columns) {
    const focused = document.activeElement;
    this.#rows = new Map(keys.map((key) => [key, this.#rows.get(key) ?? new RowView(key, (each) => this.#open(each))]));
    if (this.#tables.length !== columns) {
      this.#tables = Array.from({ length: columns }, makeTable);
      this.#columns.replaceChildren(...this.#tables);
    }
    const each = Math.ceil(keys.length / columns);
    this.#tables.forEach((table, i) => {
      const own = keys.slice(i * each, (i + 1) * each).map((key) => this.#rows.get(key).element);
      table.hidden = !own.length;
      table.tBodies[0].replaceChildren(...own);
    });
    if (this.#columns.contains(focused)) focused.focus();
  }

  /** Show a field in a panel. */
  #open(key) {
    if (document.fullscreenElement) document.exitFullscreen();
    const state = { ...this.#model.state, view: "panels", maximised: null };
    this.#model.change({ view: "panels", maximised: null, ...addField(state, key, this.#unitOf) });
  }
}

function makeTable() {
  const heads = ["state", "field", "value", "age", "last hour"].map((text) => make("th", { scope: "col" }, make("span", {}, text)));
  heads[0].firstChild.className = "aloud";
  return make("table", { className: "values" }, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}));
}

function summaryOf(rows) {
  const counts = LEVELS.map((level) => [rows.filter((row) => row.level === level).length, level]).filter(([count]) => count);
  return [`${rows.length} ${rows.length === 1 ? "field" : "fields"}`, ...counts.map(([count, level]) => `${count} ${level}`)].join(" · ");
}
