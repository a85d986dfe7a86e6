// The list below the charts: of each field the value at the cursor or the last one, or why there is none.

import { firstAfter } from "../../arrays.js";
import { colourOf } from "./charts.js";
import { show } from "./table.js";
import { make } from "../dom.js";
import { durationText, timeText } from "../time/text.js";

/** Keep one line for each curve; only what changes is written. */
export class Legend {
  #element;
  #lines = new Map();

  constructor(element) {
    this.#element = element;
  }

  /**
   * Show these curves.
   * @param {Curve[]} series
   * @param {{ start: number, end: number }} interval that is shown
   * @param {boolean} isFollowing whether it ends now, so that the newest sample should be in it
   * @param {number|null} cursor a time whose values are shown
   */
  show(series, interval, isFollowing, cursor) {
    const isSame = series.length === this.#lines.size && series.every(({ key }) => this.#lines.has(key));
    if (!isSame) {
      this.#lines = new Map(series.map(({ key }) => [key, this.#lines.get(key) ?? new Line(key)]));
      this.#element.replaceChildren(...[...this.#lines.values()].map(({ item }) => item));
    }
    series.forEach((curve, i) => this.#lines.get(curve.key).write(curve, i, interval, isFollowing, cursor));
  }
}

class Line {
  #swatch = make("span", { className: "swatch" });
  #value = make("span", { className: "value" });
  #count = make("small", {});
  #lost = make("small", { className: "lost" });
  #written = "";

  constructor(key) {
    this.item = make("li", {}, this.#swatch, make("b", {}, key), " ", this.#value, " ", this.#count, " ", this.#lost);
    this.item.dataset.key = key;
  }

  write(curve, index, { start, end }, isFollowing, cursor) {
    const count = curve.t.length;
    const staleSeconds = isFollowing && !curve.gone ? curve.staleSeconds(end) : null;
    const state = curve.gone ? "gone" : curve.error ? "error" : staleSeconds !== null ? "stale" : "";
    const gaps = curve.gaps.filter((gap) => gap.start < end && gap.end > start);
    const drawn = curve.about?.type === "string" ? `${count}, see the table` : `${count} drawn`;
    const texts = [valueOf(curve, staleSeconds, cursor), drawn, lostText(gaps)];
    const colour = state === "gone" || state === "stale" ? "gray" : colourOf(index);
    const written = [state, colour, ...texts].join("\n");
    if (written === this.#written) return;
    this.#written = written;
    [this.#value.textContent, this.#count.textContent, this.#lost.textContent] = texts;
    this.#lost.title = gaps.map(spanText).join("\n");
    this.#swatch.style.background = colour;
    this.item.className = state;
    this.item.dataset.count = count;
  }
}

function valueOf(curve, staleSeconds, cursor) {
  const { about, error, gone } = curve;
  if (gone) return error ?? "the node is gone";
  if (error) return error;
  const value = `${cursor === null ? lastValue(curve) : valueAt(curve, cursor)} ${about?.units ?? ""}`.trim();
  return staleSeconds === null ? value : `${value}, no sample for ${durationText(staleSeconds)}`;
}

function lastValue({ about, t, values }) {
  return t.length ? show(values.array[t.length - 1], about) : "";
}

/** Return the value of the last sample that is not later; a dash where the curve has a gap. */
function valueAt({ about, t, values, longest }, time) {
  const index = firstAfter(t.array, time) - 1;
  const isThere = index >= 0 && time - t.array[index] <= longest;
  return (isThere && show(values.array[index], about)) || "–";
}

function lostText(gaps) {
  if (!gaps.length) return "";
  const others = gaps.length > 1 ? ` and ${gaps.length - 1} earlier` : "";
  return `samples lost: ${spanText(gaps.at(-1))}${others}`;
}

function spanText({ start, end }) {
  const [from, to] = [start, end].map((t) => timeText(t, "utc", end - start < 10 ? 3 : 0));
  return `${from} to ${to.slice(0, 10) === from.slice(0, 10) ? to.slice(11) : to}`;
}
