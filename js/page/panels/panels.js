// All panels: one range, one cursor, and plots that are exactly aligned.

import { make, onceAFrame, write } from "../dom.js";
import { movable } from "../time/gestures.js";
import { digitsFor, timeText } from "../time/text.js";
import { Inks } from "./inks.js";
import { Panel } from "./panel.js";
import { addPanel } from "./place.js";

// Minimum pixels beside the plots, also without an axis: half a label of the time axis.
const [LEFT, RIGHT] = [16, 16];
// Gutters grow in steps, so that they seldom change while the range moves.
const STEP = 6;
const BODY_FONT = 14;
const POINTS_PER_COLUMN = 2;
const MIN_WIDTH = 100;
// Width of an A4 sheet without its margins; Letter is a little wider.
const [PAPER_WIDTH, PAPER_RATIO] = [690, 3];
const BELOW = 64;

/** Show the panels of the state. */
export class Panels {
  #element;
  #list = make("div", { className: "panel-list" });
  #add = make("button", { type: "button", className: "add-panel" });
  #model;
  #curves;
  #colours;
  #panels = [];
  #gutters = [LEFT, RIGHT];
  #frame = null;
  #cursor = null;
  #width = 0;
  #scale = 1;
  #isPaper = false;
  #observer;
  #drawCursor = onceAFrame(() => this.#showCursor());

  /**
   * @param {Model} model
   * @param {function(): Map<string, Curve>} curves
   * @param {function()} onResize called when the width changes, or anything else that requires new samples or drawing
   */
  constructor(element, model, curves, onResize) {
    this.#element = element;
    this.#model = model;
    this.#curves = curves;
    this.#colours = new Inks(() => this.redraw());
    this.#add.addEventListener("click", () => model.change(model.state.maximised === null ? addPanel(model.state) : { maximised: null }));
    element.append(this.#list, this.#add);
    new ResizeObserver(() => {
      this.measure();
      onResize();
    }).observe(this.#list);
    addEventListener("resize", onResize);
    this.#observer = new IntersectionObserver((entries) => this.#seen(entries), { root: element.closest("main"), rootMargin: "300px" });
    this.measure();
    addEventListener("beforeprint", () => this.#print(true));
    addEventListener("afterprint", () => this.#print(false));
  }

  /** Number of samples of each curve that fit. */
  get points() {
    return Math.ceil(Math.max(this.#width, MIN_WIDTH) * devicePixelRatio) * POINTS_PER_COLUMN;
  }

  /** The panels on the page, in order. */
  get all() {
    return this.#panels;
  }

  /**
   * Draw the panels.
   * @param {object} frame range, now, isFollowing, zone
   */
  draw(frame) {
    const { panels, maximised } = this.#model.state;
    this.#arrange(panels.length);
    write(this.#add, maximised === null ? "+ panel" : `show all ${panels.length} panels`);
    this.#frame = { ...frame, cursor: this.#cursor, scale: this.#scale, fill: 0, width: this.#width, ratio: this.#isPaper ? PAPER_RATIO : devicePixelRatio };
    const curves = this.#curves();
    this.#panels.forEach((panel, i) => {
      panel.element.hidden = maximised !== null && i !== maximised;
      if (!panel.element.hidden) panel.show(panels[i], i, curves, this.#frame);
    });
    this.#fill();
    this.redraw();
    this.#showCursor();
  }

  /** Redraw the charts; for paper, also those off the screen. */
  redraw() {
    if (!this.#frame) return;
    const drawn = this.#panels.filter((panel) => !panel.element.hidden && (panel.isVisible || this.#isPaper));
    this.#widen(drawn);
    for (const panel of drawn) panel.draw({ ...this.#frame, gutters: this.#gutters });
  }

  /** Show the cursor at a time in all panels; null hides it. */
  point(time) {
    this.#cursor = time;
    this.#drawCursor();
  }

  #showCursor() {
    if (!this.#frame) return;
    const { range, zone } = this.#frame;
    const { start, end } = range;
    const part = this.#cursor === null ? null : (this.#cursor - start) / (end - start);
    const isWithin = part !== null && part >= 0 && part <= 1;
    const isNew = this.#frame.cursor !== this.#cursor;
    this.#frame.cursor = this.#cursor;
    const time = isWithin ? timeText(this.#cursor, zone, digitsFor(range)) : "";
    const { panels } = this.#model.state;
    this.#panels.forEach((panel, i) => {
      panel.point(isWithin ? part : null, time);
      if (isNew && panels[i] && !panel.element.hidden) panel.show(panels[i], i, this.#curves(), this.#frame);
    });
  }

  /** Add or remove panels until their number is right. */
  #arrange(count) {
    while (this.#panels.length > count) {
      const panel = this.#panels.pop();
      this.#observer.unobserve(panel.element);
      panel.remove();
    }
    while (this.#panels.length < count) {
      const panel = new Panel(this.#model, this.#colours, this.#curves);
      movable(panel, this.#model, () => this.#frame.range, (time) => this.point(time));
      this.#panels.push(panel);
      this.#list.append(panel.element);
      this.#observer.observe(panel.element);
    }
  }

  #seen(entries) {
    for (const { target, isIntersecting } of entries) target.panel.isVisible = isIntersecting;
    this.redraw();
  }

  /** Give all axes the width that the widest one needs. */
  #widen(panels) {
    const needed = [LEFT, RIGHT].map((least, side) => Math.max(least, ...panels.map((panel) => panel.needed[side])));
    const fit = (need, now) => (need > now || need < now - 3 * STEP ? Math.ceil(need / STEP) * STEP : now);
    this.#gutters = needed.map((need, side) => fit(need, this.#gutters[side]));
  }

  /** Take the width and the size of text that the page has now. */
  measure() {
    if (!this.#isPaper) this.#width = this.#list.clientWidth;
    this.#scale = parseFloat(getComputedStyle(this.#element).fontSize) / BODY_FONT;
  }

  /** Draw all panels for paper before printing, and restore them afterwards. */
  #print(isPaper) {
    this.#isPaper = isPaper;
    if (isPaper) this.#width = PAPER_WIDTH;
    this.measure();
    if (this.#frame) this.draw(this.#frame);
  }

  /** Share the free height of the window among the panels that may be higher. */
  #fill() {
    const shown = this.#panels.filter(({ element }) => !element.hidden);
    const elastic = shown.filter(({ figure }) => figure.isElastic);
    const sum = (heightOf) => shown.reduce((all, panel) => all + heightOf(panel), 0);
    const room = innerHeight - BELOW * this.#scale - sum(({ figure }) => (figure.fields.length ? figure.height : 0));
    // Measuring forces a layout in each frame of a drag: skip it if there is surely no room.
    if (room < 0 || !elastic.length || this.#isPaper) return;
    const top = this.#list.getBoundingClientRect().top + (this.#element.closest("main")?.scrollTop ?? 0);
    const beside = sum(({ element, area }) => element.offsetHeight - area.offsetHeight);
    this.#frame.fill = Math.max(Math.floor((room - top - beside) / elastic.length), 0);
    for (const panel of elastic) panel.stretch(this.#frame.fill);
  }
}
