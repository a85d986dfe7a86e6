// One row of the latest values: sign, name, value, age and the last hour.

import { make, write } from "../dom.js";
import { MIN_PLAIN, scaledUnit, valueText } from "../panels/units.js";
import { splitKey } from "../state.js";
import { ageText } from "./age.js";
import { HOUR } from "./latest.js";
import { sparkline } from "./sparkline.js";

/** Size of a sparkline, in units of its own. */
export const [SPARK_WIDTH, SPARK_HEIGHT] = [120, 24];
// Digits of values if the node names no precision, and of those with an exponent, as in the legend.
const [DIGITS, DIGITS_OF_SMALL] = [6, 3];
// Smaller values get no prefix, so that the unit does not change whenever a value passes zero.
const MIN_SCALED = 1e5;
// A column of the sparkline spans half a minute: drawing it more often is useless.
const SPARK_SECONDS = HOUR / SPARK_WIDTH;
// Signs that distinguish levels without colours.
const SIGNS = { alarm: { high: "▲▲", low: "▼▼" }, warning: { high: "▲", low: "▼" } };
const SVG = "http://www.w3.org/2000/svg";

/** Keep the elements of a row; only what changes is written. */
export class RowView {
  #sign = make("span", { className: "sign" });
  #value = make("b", {});
  #unit = make("span", { className: "unit" });
  #age = make("span", { className: "box" });
  #path = document.createElementNS(SVG, "path");
  #written = {};
  #sparkedAt = -Infinity;
  // The array of times that was drawn; fetched samples have another one.
  #drawn = null;

  /**
   * @param {string} key
   * @param {function(string)} onOpen called with the key when the name is clicked
   */
  constructor(key, onOpen) {
    const { node, field } = splitKey(key);
    this.name = make("button", { type: "button" }, make("span", {}, field), " ", make("small", {}, node));
    this.name.addEventListener("click", () => onOpen(key));
    this.#sign.role = "img";
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", `0 0 ${SPARK_WIDTH} ${SPARK_HEIGHT}`);
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true");
    svg.append(this.#path);
    this.element = make(
      "tr",
      {},
      make("td", {}, this.#sign),
      make("th", { scope: "row" }, this.name),
      // Boxes of a fixed size, so that a changed text moves nothing else in the table.
      make("td", { className: "value" }, make("span", { className: "box" }, this.#value, " ", this.#unit)),
      make("td", { className: "age" }, this.#age),
      make("td", { className: "spark" }, svg),
    );
    this.element.dataset.key = key;
  }

  /**
   * Write a row.
   * @param {import("./latest.js").Row} row
   * @param {number} now
   */
  write(row, now) {
    const { about, value, t, level, error } = row;
    this.#set("level", level, () => (this.element.dataset.level = level));
    const words = wordsOf(row);
    this.#set("words", words, () => {
      write(this.#sign, signOf(row));
      this.#sign.title = this.#sign.ariaLabel = words;
      this.#sign.hidden = !words;
    });
    this.#set("title", about?.description ?? "", (text) => (this.name.title = text));
    const size = typeof value === "number" ? Math.abs(value) : 0;
    const { text: unit, factor } = scaledUnit(about?.units ?? "", size < MIN_SCALED ? 0 : size);
    this.#set("value", t === null ? (error ?? "no value") : valueText(value, about, factor, size < MIN_PLAIN ? DIGITS_OF_SMALL : DIGITS), (text) => {
      write(this.#value, text);
      this.#value.title = typeof value === "string" ? text : "";
    });
    this.#set("unit", t === null ? "" : unit, (text) => write(this.#unit, text));
    this.#set("age", t === null ? "" : ageText(now - t), (text) => write(this.#age, text));
    this.#set("isText", t === null || typeof value === "string", (is) => this.element.classList.toggle("is-text", is));
    const isFetched = row.curve.t !== this.#drawn;
    if (isFetched || now - this.#sparkedAt >= SPARK_SECONDS) this.#draw(row.curve, now);
  }

  #set(name, value, apply) {
    if (this.#written[name] === value) return;
    this.#written[name] = value;
    apply(value);
  }

  #draw({ about, t, values, longest, gaps }, now) {
    this.#drawn = t;
    const isCurve = about && about.type !== "string";
    const curve = { t: t.array, values: values.array, longest, gaps };
    const range = { start: now - HOUR, end: now };
    const path = isCurve ? sparkline(curve, range, SPARK_WIDTH, SPARK_HEIGHT) : "";
    // While there is no curve, draw at each new sample.
    if (path) this.#sparkedAt = now;
    this.#set("path", path, () => this.#path.setAttribute("d", path));
  }
}

function signOf({ level, judgement }) {
  return level === "gone" ? "✕" : level === "stale" ? "◷" : level ? SIGNS[level][judgement.side] : "";
}

/** Explain a row's sign, also for those who cannot see it. */
function wordsOf({ level, judgement: { side, limit }, about, curve, trouble }) {
  if (level === "gone") return curve.error ?? "the node is gone";
  if (level === "stale") return trouble === null ? "stale" : `stale: ${trouble}`;
  if (!level) return "";
  return `${level}: ${side === "high" ? "above" : "below"} ${valueText(limit, about, 1, DIGITS)} ${about?.units ?? ""}`.trim();
}
