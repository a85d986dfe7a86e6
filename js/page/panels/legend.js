// The legend of a panel: for each field the value at the cursor or the latest one, and statistics of the view.

import { firstAfter, firstFrom } from "../../arrays.js";
import { isMissing, lastWithValue } from "../data/curve.js";
import { breakable, make, write } from "../dom.js";
import { boundsOf, isOutside, timeToGo } from "../find/bounds.js";
import { durationText, timeText } from "../time/text.js";
import { kindOf } from "./lanes.js";
import { judge } from "./limits.js";
import { precisionOf, valueText } from "./units.js";

const COLUMNS = ["value", "unit", "min", "mean", "max"];
const DIGITS = 6;
const DECIMATED = "of decimated samples there is no mean: zoom in until each one is drawn";

/** Keep a row per field; write only what changes. */
export class Legend {
  #body = make("tbody", {});
  #rows = new Map();
  #actions;

  /**
   * @param {{ onToggle: Function, onIsolate: Function, onEdit: Function, onGo: Function }} actions called with a key, the
   *   last one with a time of the page that has samples
   */
  constructor(actions) {
    this.#actions = actions;
    const heads = COLUMNS.map((name) => make("th", { scope: "col", className: name }, make("span", { className: name === "unit" ? "aloud" : "" }, name)));
    this.element = make("table", { className: "legend" });
    this.element.append(
      make("caption", { className: "aloud" }, "Fields of the panel, in the range that is shown"),
      make("thead", {}, make("tr", {}, make("th", { scope: "col", className: "name" }, make("span", { className: "aloud" }, "field")), ...heads)),
      this.#body,
    );
  }

  /**
   * Show these fields.
   * @param {{ curve, shown, name, colour, text, factor, statistics }[]} fields
   * @param {object} frame range; cursor, a time or null; isFollowing, whether the range ends now; zone
   */
  show(fields, frame) {
    const keys = fields.map(({ shown }) => shown.key);
    if (keys.join("\n") !== [...this.#rows.keys()].join("\n")) {
      this.#rows = new Map(keys.map((key) => [key, this.#rows.get(key) ?? new Row(key, this.#actions)]));
      this.#body.replaceChildren(...[...this.#rows.values()].map(({ element }) => element));
    }
    for (const field of fields) this.#rows.get(field.shown.key).write(field, frame);
  }
}

class Row {
  #swatch = make("button", { type: "button", className: "swatch" });
  #toggle = make("button", { type: "button", className: "toggle" });
  #note = make("small", { className: "note" });
  #go = make("button", { type: "button", className: "go", hidden: true }, "go there");
  #bounds = null;
  #zone = "utc";
  #cells = Object.fromEntries(COLUMNS.map((name) => [name, make("td", { className: name })]));
  #written = "";

  constructor(key, { onToggle, onIsolate, onEdit, onGo }) {
    const named = make("span", { className: "named" }, this.#swatch, this.#toggle, " ", this.#note, " ", this.#go);
    const head = make("th", { scope: "row", className: "name" }, named);
    this.element = make("tr", {}, head, ...Object.values(this.#cells));
    this.element.dataset.key = key;
    this.#swatch.addEventListener("click", () => onEdit(key));
    this.#toggle.addEventListener("click", ({ detail, shiftKey }) => (detail > 1 || shiftKey ? onIsolate(key, detail > 1) : onToggle(key)));
    this.#go.addEventListener("click", () => onGo(timeToGo(this.#bounds, Date.now() / 1000, this.#zone)));
    this.#toggle.title = `${key}: a click hides or shows it, a double click or Shift+Enter shows it alone`;
  }

  write(field, frame) {
    const { curve, shown, name, colour } = field;
    const { range, isFollowing } = frame;
    this.#zone = frame.zone;
    const count = field.statistics?.count ?? 0;
    const staleSeconds = isFollowing && !curve.gone ? curve.staleSeconds(range.end) : null;
    const error = curve.error ?? (curve.about && !count && !curve.gone ? "no samples in this range" : null);
    const state = curve.gone ? "gone" : curve.error ? "error" : error ? "empty" : staleSeconds !== null ? "stale" : "";
    const gaps = curve.gaps.filter((gap) => gap.start < range.end && gap.end > range.start);
    const value = curve.about ? valueIn(curve, frame) : undefined;
    const note = noteOf(curve, error, staleSeconds, gaps, frame.zone);
    const texts = this.#texts(field, value);
    const { level } = judge(value, curve.about?.limits);
    this.#bounds = state === "empty" ? boundsOf(curve.about, Date.now() / 1000) : null;
    const isElsewhere = isOutside(this.#bounds, range);
    const written = JSON.stringify([state, isElsewhere, level, count, colour, name, note, curve.trouble, texts, shown.isHidden]);
    if (written === this.#written) return;
    this.#written = written;
    for (const column of COLUMNS) write(this.#cells[column], texts[column]);
    this.#cells.value.title = typeof value === "number" ? "" : texts.value;
    this.#cells.mean.title = texts.mean === "–" ? DECIMATED : "";
    write(this.#note, note);
    this.#go.hidden = !isElsewhere;
    this.#note.title = [...(curve.trouble ? [curve.trouble] : []), ...gaps.map((gap) => spanText(gap, frame.zone))].join("\n");
    if (this.#toggle.textContent !== name) this.#toggle.replaceChildren(...breakable(name));
    this.#toggle.ariaPressed = String(!shown.isHidden);
    this.#swatch.style.background = colour;
    this.#swatch.ariaLabel = this.#swatch.title = `Colour and label of ${name}`;
    this.element.className = [state, level, shown.isHidden ? "hidden-field" : ""].filter(Boolean).join(" ");
    this.element.dataset.count = count;
  }

  #texts({ curve, statistics, text, factor }, value) {
    const about = curve.about;
    if (!about) return { value: "", unit: "", min: "", mean: "", max: "" };
    const isNumber = kindOf(about) === "number";
    const { low, high, mean } = statistics ?? {};
    const textOf = writerOf({ curve, statistics, factor });
    const number = (each) => (isNumber && low <= high ? textOf(each) : "");
    const meanText = curve.isWhole ? number(mean) : "";
    return {
      value: value === undefined ? "–" : textOf(value) || "–",
      unit: isNumber ? text : (about.units ?? ""),
      min: number(low),
      mean: meanText || (number(mean) && "–"),
      max: number(high),
    };
  }
}

/** Return a function that writes values of a field, with the node's precision or else the digits that the range needs. */
export function writerOf({ curve: { about }, statistics, factor }) {
  const { low, high } = statistics ?? {};
  return (value) => valueText(value, { ...about, precision: about.precision ?? precisionOf(value, low, high, factor) }, factor, DIGITS);
}

/** Return the value at the cursor, or the last one up to the end of the range; undefined if there is none. */
export function valueIn({ t, values, longest }, { range, cursor }) {
  // The end of a range is exclusive.
  let index = (cursor === null ? firstFrom(t.array, range.end) : firstAfter(t.array, cursor)) - 1;
  if (index < 0 || (cursor !== null && cursor - t.array[index] > longest)) return undefined;
  if (cursor === null) index = lastWithValue(values.array, index);
  const value = values.array[index];
  return isMissing(value) ? undefined : value;
}

function noteOf(curve, error, staleSeconds, gaps, zone) {
  if (curve.gone) return error ?? "the node is gone";
  const stale = staleSeconds === null ? [] : [`no sample for ${durationText(staleSeconds)}`];
  return [...(error ? [error] : []), ...stale, ...lostText(gaps, zone)].join("; ");
}

function lostText(gaps, zone) {
  if (!gaps.length) return [];
  const others = gaps.length > 1 ? ` and ${gaps.length - 1} earlier` : "";
  return [`samples lost: ${spanText(gaps.at(-1), zone)}${others}`];
}

function spanText({ start, end }, zone) {
  const [from, to] = [start, end].map((t) => timeText(t, zone, end - start < 10 ? 3 : 0));
  return `${from} to ${to.slice(0, 10) === from.slice(0, 10) ? to.slice(11) : to}`;
}
