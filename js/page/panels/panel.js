// One panel: legend, chart, table of samples, and its controls.

import { atMostEvery, make } from "../dom.js";
import { boundsOf, isOutside } from "../find/bounds.js";
import { openPicture } from "../layouts/picture.js";
import { TIME_AXIS, guttersOf, heightBeside, paint } from "./chart.js";
import { figureOf } from "./figure.js";
import { Legend } from "./legend.js";
import { changeField, changePanel, isolateField, placeMenu, resizeHandle } from "./place.js";
import { openSettings } from "./settings.js";
import { showTable } from "./table.js";

const KEYS = "arrow keys move, plus and minus zoom, Shift and an arrow move the cursor, 0 goes back to the whole range";
const [PLOT_HEIGHT, BARE_PLOT, MIN_PLOT] = [172, 32, 2];
const TABLE_MILLISECONDS = 500;

/** Keep the elements of a panel. */
export class Panel {
  element = make("article", { className: "panel" });
  /** The result of `figureOf`; height in pixels, and whether the chart may be higher; scale of all letters. */
  figure = { fields: [], units: [], lines: [], lanes: [], height: 0, isElastic: false, scale: 1 };
  /** Whether it is on the screen. */
  isVisible = true;
  #index = 0;
  #legend;
  #colours;
  #canvas = make("canvas");
  #frame = null;
  #area = make("div", { className: "chart", tabIndex: 0, role: "group" });
  #reach = make("div", { className: "reach" });
  #cursor = make("div", { className: "cursor", hidden: true });
  #selection = make("div", { className: "selection", hidden: true });
  #empty = make("p", { className: "hint" }, "Choose fields to show them here.");
  #samples = make("div", { className: "samples", hidden: true });
  #listed = null;
  #list = atMostEvery(() => TABLE_MILLISECONDS, () => showTable(this.#samples, ...this.#listed));

  /**
   * @param {Model} model
   * @param {Inks} colours
   * @param {function(): Map<string, Curve>} curves
   */
  constructor(model, colours, curves) {
    const change = (changes, options) => model.change(changes, options);
    const settings = (key) => openSettings(model, this.#index, curves(), key);
    this.#legend = new Legend({
      onToggle: (key) => {
        const { isHidden } = model.state.panels[this.#index].fields.find((field) => field.key === key);
        change(changeField(model.state, this.#index, key, { isHidden: !isHidden }));
      },
      // The two clicks of a double click have hidden and shown it: keep them out of the history.
      onIsolate: (key, isAfterClick) => change(isolateField(model.state, this.#index, key), { isStep: !isAfterClick }),
      onEdit: settings,
      onGo: (time) => change({ time }),
    });
    this.#colours = colours;
    this.#reach.append(this.#cursor, this.#selection);
    this.#area.append(this.#canvas, this.#reach);
    const handle = resizeHandle(
      () => this.figure.height,
      (height, isStep) => change(changePanel(model.state, this.#index, { height }), { isStep }),
    );
    const picture = () => openPicture(this.#frame, this.figure.fields.map(({ name }) => name).join(", "));
    const menu = placeMenu(model, () => this.#index, () => settings(null), picture, () => !this.#area.hidden && this.#frame !== null);
    this.element.append(make("div", { className: "panel-head" }, this.#legend.element, menu), this.#empty, this.#area, this.#samples, handle);
    this.element.panel = this;
  }

  /** The element for gestures, and the one with the keyboard focus. */
  get reach() {
    return this.#reach;
  }

  get area() {
    return this.#area;
  }

  /** Frame of the last drawing: range, units, lines, lanes, width, height, gutters. */
  get frame() {
    return this.#frame;
  }

  /** Width in pixels that the axes need, [left, right]. */
  get needed() {
    return guttersOf(this.figure);
  }

  /**
   * Take a state and the curves, and write the legend.
   * @param {import("../state.js").Panel} panel
   * @param {object} frame range, cursor, isFollowing, zone, scale, fill
   */
  show(panel, index, curves, frame) {
    this.#index = index;
    this.figure = figureOf(panel, curves, frame.range);
    const { fields, units, lanes } = this.figure;
    const { scale } = frame;
    const isAny = fields.length > 0;
    this.#legend.show(fields, frame);
    const name = `Panel ${index + 1}: ${fields.map((field) => field.name).join(", ") || "empty"}`;
    if (this.element.ariaLabel !== name) {
      this.element.ariaLabel = name;
      this.#area.ariaLabel = `Chart of ${name}; ${KEYS}`;
      this.#area.hidden = this.#legend.element.hidden = !isAny;
      this.#empty.hidden = isAny;
    }
    const hasPlot = units.length > 0 || !lanes.length;
    const isBare = fields.every((field) => isWithout(field, frame.range));
    const plot = hasPlot ? (isBare ? BARE_PLOT : PLOT_HEIGHT) * scale : MIN_PLOT;
    const least = Math.ceil(heightBeside({ units, lanes, scale }) + plot);
    const height = panel.height ?? least;
    Object.assign(this.figure, { height, isElastic: isAny && hasPlot && !isBare && !panel.height, scale });
    this.stretch(frame.fill);
    this.#showSamples(panel, fields, frame);
  }

  /** Make the chart higher, unless the user or its lanes determine its height. */
  stretch(pixels) {
    if (this.figure.isElastic) this.figure.height += pixels;
  }

  /** Draw the chart. */
  draw(frame) {
    if (!this.figure.fields.length) return;
    const [left, right] = frame.gutters;
    this.#frame = { ...frame, ...this.figure };
    paint(this.#canvas, this.#frame, this.#colours);
    const inset = `0 ${right}px ${Math.ceil(TIME_AXIS * frame.scale)}px ${left}px`;
    if (this.#reach.style.inset !== inset) this.#reach.style.inset = inset;
  }

  /** Show the cursor and its time at a fraction of the range, or hide it. */
  point(part, time = "") {
    this.#cursor.hidden = part === null;
    if (part === null) return;
    this.#cursor.style.left = `${100 * part}%`;
    this.#cursor.style.setProperty("--part", part);
    this.#cursor.dataset.time = time;
  }

  /** Show the selected part of the range, [from, to], or hide it. */
  select(parts) {
    this.#selection.hidden = parts === null;
    if (parts) Object.assign(this.#selection.style, { left: `${100 * parts[0]}%`, width: `${100 * (parts[1] - parts[0])}%` });
  }

  /** Remove the panel from the page. */
  remove() {
    this.element.remove();
  }

  #showSamples({ isTable }, fields, { range, zone }) {
    this.#samples.hidden = !isTable;
    if (!isTable) return;
    this.#listed = [fields.map(({ curve }) => curve), range, zone];
    this.#list();
  }
}

/** Whether a field certainly has no samples in a range. */
function isWithout({ curve: { about, gone, error }, statistics }, range) {
  if (statistics?.count) return false;
  return gone || (about ? isOutside(boundsOf(about, Date.now() / 1000), range) : error !== null);
}
