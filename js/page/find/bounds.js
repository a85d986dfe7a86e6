// Where the samples of a field lie, according to its node: as text, and as a time of the page.

import { rangeText, timeText } from "../time/text.js";

const MINUTE = 60;
const DAY = 86_400;
// Spacings, or seconds, up to which the last sample counts as present.
const PRESENT_SPACINGS = 5;
const PRESENT_SECONDS = 2 * MINUTE;
// Fraction of a range that stays free at each side, and its length if only one end is known.
const MARGIN = 0.02;
const UNKNOWN_SPAN = DAY;
const [SHORTEST, LIVE_SPAN] = [MINUTE, 3600];

/**
 * @typedef {object} Bounds where samples lie, in UNIX seconds
 * @property {number|null} first null if the node does not say
 * @property {number|null} last
 * @property {boolean} isNow whether there are samples up to the present
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
  return { first, last, isNow: last !== null && last > askedAt - present };
}

/**
 * Write where samples lie: "live", "14–28 Jul 2017", "2017-07-14 – now"; nothing if nothing is known.
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
  return first === null ? `until ${momentText(last, zone, now)}` : rangeText(first, last, zone, isShort);
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
 * Return the time of the page that shows all samples of some fields; it follows if there are samples up to now.
 * @param {Bounds[]} all known bounds of the fields
 * @param {number} now
 * @returns {{ span: number, offset: number }|{ from: number, to: number }|null}
 */
export function timeOfAll(all, now) {
  const ends = all.map(({ last, isNow }) => (isNow || last === null ? now : last));
  if (!ends.length) return null;
  const end = Math.max(...ends);
  const start = Math.min(...all.map(({ first }, i) => first ?? ends[i] - UNKNOWN_SPAN));
  const length = Math.max(end - start, SHORTEST);
  if (all.some(({ isNow }) => isNow)) return { span: Math.ceil(length * (1 + MARGIN)), offset: 0 };
  return { from: Math.floor(start - MARGIN * length), to: Math.ceil(start + length * (1 + MARGIN)) };
}

/** Return the time of the page that shows a field: all of an archive, or the last hour of live samples. */
export function timeToGo(bounds, now) {
  const time = timeOfAll([bounds], now);
  return "span" in time ? { ...time, span: Math.min(time.span, LIVE_SPAN) } : time;
}

/**
 * Return the time of the page that ends with the newest sample of some fields, with the present length.
 * @param {Bounds[]} all
 * @param {number} span seconds that are shown
 * @returns {{ span: number, offset: number }|{ from: number, to: number }|null}
 */
export function timeOfLatest(all, span) {
  if (!all.length) return null;
  if (all.some(({ isNow, last }) => isNow || last === null)) return { span, offset: 0 };
  const end = Math.max(...all.map(({ last }) => last));
  return { from: end - span * (1 - MARGIN), to: end + span * MARGIN };
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
