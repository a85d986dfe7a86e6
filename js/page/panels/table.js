// Show samples as a table.

import { make } from "../dom.js";
import { timeText, zoneText } from "../time/text.js";
import { columnTexts } from "./units.js";

const MAX_ROWS = 500;

/** Return rows at the union of all times, newest last: [time, value of each series or null]. */
export function rowsOf(series) {
  const cursors = series.map(() => 0);
  const rows = [];
  for (;;) {
    let next = Infinity;
    series.forEach(({ t }, i) => {
      if (cursors[i] < t.length) next = Math.min(next, t.array[cursors[i]]);
    });
    if (next === Infinity) return rows;
    const row = [next];
    series.forEach(({ t, values }, i) => {
      const isHere = cursors[i] < t.length && t.array[cursors[i]] === next;
      const value = isHere ? values.array[cursors[i]++] : null;
      row.push(Number.isNaN(value) ? null : value);
    });
    rows.push(row);
  }
}

/** Show the newest samples; mark those that may still change. */
export function showTable(element, series, { start, end }, zone) {
  const all = rowsOf(series).filter(([t]) => t >= start && t < end);
  const head = make("tr", {}, make("th", { scope: "col" }, `time (${zoneText(zone, end)})`));
  for (const { key, about } of series) {
    head.append(make("th", { scope: "col" }, about?.units ? `${key} [${about.units}]` : key));
  }
  const untils = series.map(({ finalizedUntil }) => finalizedUntil ?? Infinity);
  const newest = all.slice(-MAX_ROWS).reverse();
  const texts = series.map(({ about }, i) => columnTexts(newest.map((row) => row[i + 1]), about));
  const body = newest.map(([t, ...values], line) => {
    const row = make("tr", {}, make("th", { scope: "row" }, timeText(t, zone, 3)));
    values.forEach((value, i) => {
      const cell = make("td", {}, texts[i][line]);
      if (t >= untils[i] && value !== null) {
        cell.className = "open";
        cell.title = "may still change";
      }
      row.append(cell);
    });
    return row;
  });
  const shown = Math.min(all.length, MAX_ROWS);
  const caption = `${shown} of the ${all.length} time${all.length === 1 ? "" : "s"} drawn, newest first (a saved file holds every sample); values in italics may still change`;
  element.replaceChildren(
    make("table", {}, make("caption", {}, caption), make("thead", {}, head), make("tbody", {}, ...body)),
  );
}
