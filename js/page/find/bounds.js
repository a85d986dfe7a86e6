// Where the samples of a field lie, according to its node: as text, and as a time of the page.

import { offsetOf, rangeText, timeText } from "../time/text.js";

const MINUTE = 60;
const DAY = 86_400;
// Spacings, or seconds, up to which the last sample counts as present.
const PRESENT_SPACINGS = 5;
const PRESENT_SECONDS = 2 * MINUTE;
// Ranges begin and end at multiples of these seconds, the first that is at least this fraction of the range.
const ROUND = [1, 5, 10, 30, MINUTE, 300, 600, 1800, 3600, 10_800, 21_600, 43_200, DAY];
const MARGIN = 0.02;
// Length of a range if only one end is known.
const UNKNOWN_SPAN = DAY;
const [SHORTEST, LIVE_SPAN] = [MINUTE, 3600];

/**
 * @typedef {object} Bounds where samples lie, in UNIX seconds
 * @property {number|null} first null if the node does not say
 * @property {number|null} last
 * @property {boolean} isNow whether there are samples up to the present
 * @property {number} age of the last one when the node described it; -Infinity if unknown
 */

/**
 * Return where a field's samples lie, according to its node.
 * @param {object|null} about the node's description of the field
 * @param {number} askedAt UNIX time of the description
 * @returns {Bounds|null} null if unknown
 */
export function boundsOf(about, askedAt) {
  const { first = null, last = null, interval, staleAfter } = about ?? {};
  if (first === null && last === null) return null;
  const present = Math.max(PRESENT_SECONDS, staleAfter ?? 0, PRESENT_SPACINGS * (interval ?? 0));
  return { first, last, isNow: last !== null && last > askedAt - present, age: last === null ? -Infinity : askedAt - last };
}

/**
 * Write where samples lie: "live", "14–28 Jul 2017", "12:00 – 13:00" of today, "2017-07-14 – now"; nothing if nothing is
 * known.
 * @param {Bounds|null} bounds
 * @param {boolean} isLive whether the node sends new samples by itself
 * @param {"utc"|"local"} zone
 * @param {number} now
 * @param {boolean} [isShort] like that of `rangeText`
 */
export function boundsText(bounds, isLive, zone, now, isShort = false) {
  if (!bounds) return "";
  const { first, last, isNow } = bounds;
  if (isNow && isLive) return "live";
  if (last === null) return `since ${momentText(first, zone, now)}`;
  if (isNow) return first === null ? "until now" : `${momentText(first, zone, now)} – now`;
  if (first === null) return `until ${momentText(last, zone, now)}`;
  const today = `${timeText(now, zone).slice(0, 10)} `;
  const isToday = [first, last].every((t) => timeText(t, zone).startsWith(today));
  return isToday ? rangeText(first, last, zone).replace(today, "") : rangeText(first, last, zone, isShort);
}

/** Write a time as its date, or as time of day if it is today. */
export function momentText(t, zone, now) {
  const [date, time] = timeText(t, zone).split(" ");
  return timeText(now, zone).startsWith(date) ? time.slice(0, 5) : date;
}

/** Return whether there are certainly no samples between two times. */
export function isOutside(bounds, { start, end }) {
  if (!bounds) return false;
  const { first, last, isNow } = bounds;
  return (first !== null && first >= end) || (last !== null && !isNow && last < start);
}

/**
 * Return the time of the page that shows all samples of some fields, rounded outwards; it follows if there are samples up
 * to now.
 * @param {Bounds[]} all known bounds of the fields
 * @param {number} now
 * @param {"utc"|"local"} [zone] in which the times are round
 * @returns {{ span: number, offset: number }|{ from: number, to: number }|null}
 */
export function timeOfAll(all, now, zone = "utc") {
  const ends = all.map(({ last, isNow }) => (isNow || last === null ? now : last));
  if (!ends.length) return null;
  const end = Math.max(...ends);
  const start = Math.min(...all.map(({ first }, i) => first ?? ends[i] - UNKNOWN_SPAN));
  const length = Math.max(end - start, SHORTEST);
  // Samples of a moment are in the middle.
  const from = Math.min(start, end - length / 2);
  const step = stepFor(length);
  if (all.some(({ isNow }) => isNow)) return { span: Math.ceil((length * (1 + MARGIN)) / step) * step, offset: 0 };
  return { from: roundDown(from, step, zone), to: roundDown(Math.max(end, from + length), step, zone) + step };
}

/** Return the time of the page that shows a field: all of an archive, or the last hour of live samples. */
export function timeToGo(bounds, now, zone = "utc") {
  const time = timeOfAll([bounds], now, zone);
  return "span" in time ? { ...time, span: Math.min(time.span, LIVE_SPAN) } : time;
}

/**
 * Return the time of the page that ends with the newest sample of some fields, rounded, with the present length.
 * @param {Bounds[]} all
 * @param {number} span seconds that are shown
 * @param {"utc"|"local"} [zone] in which the end is round
 * @returns {{ span: number, offset: number }|{ from: number, to: number }|null}
 */
export function timeOfLatest(all, span, zone = "utc") {
  if (!all.length) return null;
  if (all.some((bounds) => bounds.last === null || (bounds.isNow && !isOlder(bounds, span)))) return { span, offset: 0 };
  const step = stepFor(span);
  const to = roundDown(Math.max(...all.map(({ last }) => last)), step, zone) + step;
  return { from: to - span, to };
}

/** Return whether the last sample was older than some seconds when the node described it. */
export function isOlder({ age }, seconds) {
  return age >= seconds;
}

function stepFor(length) {
  return ROUND.find((step) => step >= MARGIN * length) ?? DAY;
}

/** Return the last multiple of a step in a zone, up to a time. */
function roundDown(t, step, zone) {
  const shift = offsetOf(zone, t);
  return Math.floor((t + shift) / step) * step - shift;
}

/** Combine the bounds of several fields; null without fields. */
export function togetherOf(all) {
  if (!all.length) return null;
  const firsts = all.map(({ first }) => first).filter((t) => t !== null);
  const lasts = all.map(({ last }) => last).filter((t) => t !== null);
  return {
    first: firsts.length ? Math.min(...firsts) : null,
    last: lasts.length ? Math.max(...lasts) : null,
    isNow: all.some(({ isNow }) => isNow),
  };
}
