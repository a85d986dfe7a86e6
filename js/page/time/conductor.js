// The time bar: shows the range and whether it follows the present, and changes both.

import { button, make } from "../dom.js";
import { say, withdraw } from "../notice.js";
import { rangeOf } from "../state.js";
import { PRESETS, pan, parseRange, parseTime, zoom } from "./ranges.js";
import { digitsFor, durationText, timeText, zoneText } from "./text.js";

const FIXED = "fixed";
const WRITTEN = "a time as 2017-07-14 12:00:00, now or -2d";

/** Fill the time bar, and keep it up to date with the state. */
export class Conductor {
  #model;
  #preset = make("select", { id: "range", ariaLabel: "length of time" });
  #follow = make("button", { type: "button", id: "follow", className: "mode" });
  #inputs = {
    from: make("input", { id: "from", ariaLabel: "from", title: `from: ${WRITTEN}`, autocomplete: "off", spellcheck: false }),
    to: make("input", { id: "to", ariaLabel: "to", title: `to: ${WRITTEN}`, autocomplete: "off", spellcheck: false }),
  };
  #zone = make("button", { type: "button", id: "zone-switch", title: "show times in UTC or in the zone of this computer" });
  // Opens the rest of the bar on narrow pages.
  #more = button("⋯", "more of the time bar", () => this.#toggleMore());
  // The zone as text, for paper.
  #zoneNote = make("span", { className: "on-paper" });
  #edited = new Set();
  // The message about what was typed last, if that is no range.
  #refusal = null;

  /**
   * @param {HTMLElement} bar
   * @param {HTMLElement} zone element for the switch of zones
   * @param {Model} model
   */
  constructor(bar, zone, model) {
    this.#model = model;
    const { from, to } = this.#inputs;
    this.#more.classList.add("more");
    this.#more.ariaExpanded = "false";
    bar.prepend(
      make("span", { className: "group" }, this.#follow, this.#preset),
      make("span", { className: "group typed" }, from, "–", to, this.#zoneNote),
      this.#more,
      make("span", { className: "joined moves" }, ...this.#buttons()),
    );
    zone.append(this.#zone);
    this.#listen();
    this.update();
  }

  /** Show the mode and the drawn range, except in an input that the user is editing. */
  update(range = rangeOf(this.#model.state.time), isTyped = false) {
    const { time, zone } = this.#model.state;
    const isFollowing = "span" in time;
    set(this.#follow, "textContent", isFollowing ? (time.offset ? `● ${durationText(time.offset)} ago` : "● live") : "○ fixed");
    set(this.#follow, "ariaPressed", String(isFollowing));
    set(this.#follow, "title", isFollowing ? "follows the present; press to stand still" : "stands still; press to follow the present");
    this.#showPreset(isFollowing ? String(time.span) : FIXED, range);
    for (const element of [this.#zone, this.#zoneNote]) set(element, "textContent", zoneText(zone, range.end));
    for (const [name, t] of [["from", range.start], ["to", range.end]]) {
      const input = this.#inputs[name];
      const isHeld = this.#edited.has(input) || document.activeElement === input;
      if (!isHeld || isTyped) set(input, "value", timeText(t, zone, digitsFor(range)));
    }
  }

  #showPreset(value, { start, end }) {
    if (!this.#preset.options.length) {
      for (const span of PRESETS) this.#preset.append(make("option", { value: String(span) }, `last ${durationText(span)}`));
    }
    const own = [...this.#preset.options].find((option) => option.value === value);
    const name = value === FIXED ? durationText(end - start) : `last ${durationText(Number(value))}`;
    const other = this.#preset.querySelector(".other");
    if (own && own !== other) other?.remove();
    else if (other) {
      set(other, "value", value);
      set(other, "textContent", name);
    }
    else this.#preset.prepend(make("option", { value, className: "other" }, name));
    set(this.#preset, "value", value);
  }

  #buttons() {
    const move = (change) => () => this.#model.change({ time: change(this.#model.state.time) }, { isGesture: true });
    const buttons = [
      ["◀", "earlier", (time) => pan(time, -0.5)],
      ["▶", "later", (time) => pan(time, 0.5)],
      ["+", "closer", (time) => zoom(time, 0.5)],
      ["−", "wider", (time) => zoom(time, 2)],
    ];
    return buttons.map(([sign, name, change]) => Object.assign(button(sign, name, move(change)), { id: name }));
  }

  #toggleMore() {
    const isOpen = this.#more.ariaExpanded !== "true";
    this.#more.ariaExpanded = String(isOpen);
    this.#more.parentElement.classList.toggle("is-open", isOpen);
  }

  #listen() {
    this.#preset.addEventListener("change", () => {
      const span = Number(this.#preset.value);
      const { time } = this.#model.state;
      this.#model.change({ time: { span, offset: time.offset ?? 0 } });
    });
    this.#follow.addEventListener("click", () => this.#toggle());
    this.#zone.addEventListener("click", () => {
      this.#model.change({ zone: this.#model.state.zone === "utc" ? "local" : "utc" });
    });
    for (const input of Object.values(this.#inputs)) {
      input.addEventListener("input", () => this.#edited.add(input));
      input.addEventListener("change", () => {
        this.#edited.add(input);
        this.#typed();
      });
      input.addEventListener("keydown", ({ key }) => {
        if (key === "Escape") this.#reset();
      });
      // An unchanged input shows the drawn range again.
      input.addEventListener("blur", () => this.#edited.has(input) || this.update());
    }
    for (const type of ["pointerdown", "keydown", "focusin"]) document.addEventListener(type, (event) => this.#leave(event));
  }

  /** Withdraw a refused text once the user does something else; tabs only move the focus. */
  #leave({ type, target, key }) {
    const isElsewhere = this.#refusal !== null && !target.closest?.("#time .typed, #notice");
    if (isElsewhere && key !== "Tab" && key !== "Shift" && (type !== "focusin" || target.closest("dialog"))) this.#reset();
  }

  /** Show the drawn range instead of what was typed. */
  #reset() {
    this.#accept();
    this.update(undefined, true);
  }

  #accept() {
    this.#edited.clear();
    this.#mark([]);
    if (this.#refusal !== null) withdraw(this.#refusal);
    this.#refusal = null;
  }

  #toggle() {
    const { time } = this.#model.state;
    const { start, end } = rangeOf(time);
    this.#model.change({ time: "span" in time ? { from: start, to: end } : { span: end - start, offset: 0 } });
  }

  /** Apply typed times; an end that was not typed stays, or becomes now if the other one is relative to now. */
  #typed() {
    const { time, zone } = this.#model.state;
    const { from, to } = this.#inputs;
    const isAgo = from.value.trim().startsWith("-") || from.value.trim().startsWith("now");
    const untouched = "span" in time && time.offset ? `-${time.offset}s` : "now";
    const end = isAgo && !this.#edited.has(to) ? untouched : to.value;
    try {
      const typed = parseRange(from.value, end, zone);
      this.#accept();
      this.#model.change({ time: typed });
      this.update(undefined, true);
    } catch (error) {
      const wrong = [from, to].filter((input) => Number.isNaN(parseTime(input.value, zone)));
      this.#mark(wrong.length ? wrong : [...this.#edited]);
      // If only one end was typed, the other one may still follow.
      const isHalf = this.#edited.size === 1 && Number.isFinite(parseTime([...this.#edited][0].value, zone));
      this.#refusal = isHalf ? `${error.message}; type the other one, too` : error.message;
      say(this.#refusal, true);
    }
  }

  /** Mark the invalid inputs, and only these. */
  #mark(wrong) {
    for (const input of Object.values(this.#inputs)) {
      const isWrong = wrong.includes(input);
      input.ariaInvalid = isWrong ? "true" : null;
      // The id of the element with the message.
      if (isWrong) input.setAttribute("aria-describedby", "message");
      else input.removeAttribute("aria-describedby");
    }
  }
}

function set(element, property, value) {
  if (element[property] !== value) element[property] = value;
}
