// Ranges of time: presets, typed ones, and the arithmetic of moving and zooming.

import { rangeOf } from "../state.js";
import { parseIso } from "./text.js";

const [MINUTE, HOUR, DAY, YEAR] = [60, 3600, 86400, 365 * 86400];
const UNITS = { s: 1, min: MINUTE, m: MINUTE, h: HOUR, d: DAY, w: 7 * DAY, y: YEAR };

/** Offered spans in seconds. */
export const PRESETS = [
  MINUTE, 5 * MINUTE, 10 * MINUTE, 30 * MINUTE, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY,
  30 * DAY, 90 * DAY, YEAR, 2 * YEAR, 5 * YEAR, 10 * YEAR,
];
// Minimum span, at which float64 still resolves a pixel; and maximum, a century.
const [MIN_SPAN, MAX_SPAN] = [1e-3, 100 * YEAR];
const [EARLIEST, LATEST] = [1, 4e9];
// Fraction of the span: a range whose end moves by less keeps following.
const NEAR = 0.02;

/**
 * Read a time as people write it: 2017-07-14, 2017-07-14 12:00:00, now, -2d or now-2d.
 * @param {string} text
 * @param {"utc"|"local"} [zone] of the text, unless it ends with Z
 * @param {number} [now]
 * @returns {number} UNIX seconds; NaN if it is not a time
 */
export function parseTime(text, zone = "utc", now = Date.now() / 1000) {
  const ago = parseAgo(text);
  return ago === null ? parseIso(text, zone) : now - ago;
}

/**
 * Read a typed range; it follows the present if its end is relative to now.
 * @returns {import("../state.js").Time}
 * @throws {Error} with a message that explains how to write times
 */
export function parseRange(from, to, zone = "utc", now = Date.now() / 1000) {
  const [start, end] = [parseTime(from, zone, now), parseTime(to, zone, now)];
  if (Number.isNaN(start) || Number.isNaN(end)) {
    throw new Error("Times are written as 2017-07-14 12:00:00, now or -2d (s, min, h, d, w, y)");
  }
  if (!(start < end)) throw new Error("The time “from” must be before the time “to”");
  const offset = parseAgo(to);
  const time = offset === null ? { from: start, to: end } : { span: Number((end - start).toPrecision(12)), offset };
  return within(time);
}

/**
 * Zoom about a time.
 * @param {import("../state.js").Time} time
 * @param {number} factor of the span
 * @param {number} [at] the time that stays in place; default: the end of a following range, or the middle
 */
export function zoom(time, factor, at = null, now = Date.now() / 1000) {
  const { start, end } = rangeOf(time, now);
  const isFollowing = "span" in time;
  const span = (end - start) * factor;
  if (isFollowing && at === null) return within({ ...time, span });
  const place = at ?? (start + end) / 2;
  const to = place + (end - place) * factor;
  if (isFollowing && to >= end - NEAR * span) return within({ ...time, span });
  return within({ from: to - span, to });
}

/** Move by a fraction of the span; this stops following. */
export function pan(time, part, now = Date.now() / 1000) {
  const { start, end } = rangeOf(time, now);
  const by = part * (end - start);
  return within({ from: start + by, to: end + by });
}

/** Limit a range to what can be drawn. */
export function within(time) {
  if ("span" in time) return { span: clamp(time.span, MIN_SPAN, MAX_SPAN), offset: Math.max(time.offset, 0) };
  const span = clamp(time.to - time.from, MIN_SPAN, MAX_SPAN);
  const middle = clamp((time.from + time.to) / 2, EARLIEST + span / 2, Math.max(LATEST - span / 2, EARLIEST + span / 2));
  const isWithin = span === time.to - time.from && middle === (time.from + time.to) / 2;
  return isWithin ? time : { from: middle - span / 2, to: middle + span / 2 };
}

/** Return how many seconds before now a text means; null if it is not relative to now. */
function parseAgo(text) {
  const found = /^(?:now)?\s*(?:-\s*(\d+(?:\.\d+)?)\s*(s|min|m|h|d|w|y))?$/.exec(text.trim().toLowerCase());
  if (!found || !text.trim()) return null;
  return found[1] ? Number(found[1]) * UNITS[found[2]] : 0;
}

function clamp(value, low, high) {
  return Math.min(Math.max(value, low), high);
}
