// Write times as text: in UTC or the browser's zone, with 24 hours and ISO dates.

const [MINUTE, DAY, MONTH, YEAR] = [60, 86400, 28 * 86400, 365 * 86400];
const UNITS = [["y", 365 * 86400], ["d", 86400], ["h", 3600], ["min", 60]];
const MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");

/**
 * Read a time such as 2017-07-14, 2017-07-14 12:00:00 or 2017-07-14T12:00Z.
 * @param {string} text
 * @param {"utc"|"local"} [zone] of the text, unless it ends with Z
 * @returns {number} UNIX seconds; NaN if it is not a time
 */
export function parseIso(text, zone = "utc") {
  const iso = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d+)?)?))?(Z?)$/.exec(text.trim());
  if (!iso) return NaN;
  const [, date, time = "00:00", z] = iso;
  return Date.parse(`${date}T${time}${z || zone === "utc" ? "Z" : ""}`) / 1000;
}

/**
 * Write a time as 2017-07-14 12:00:00.
 * @param {number} t in UNIX seconds
 * @param {"utc"|"local"} [zone]
 * @param {number} [digits] after the second, at most 3
 */
export function timeText(t, zone = "utc", digits = 0) {
  const [date, time] = isoOf(t, zone).split("T");
  return `${date} ${digits ? time.slice(0, 9 + Math.min(digits, 3)) : time.slice(0, 8)}`;
}

/** Return how many digits after the second distinguish times of a range. */
export function digitsFor({ start, end }) {
  return end - start < 30 ? 3 : 0;
}

/** Name a zone at a time: UTC, or UTC+02:00. */
export function zoneText(zone, t) {
  if (zone === "utc") return "UTC";
  const minutes = -new Date(1000 * t).getTimezoneOffset();
  const two = (n) => String(n).padStart(2, "0");
  const ahead = Math.abs(minutes);
  return `UTC${minutes < 0 ? "−" : "+"}${two(Math.floor(ahead / 60))}:${two(ahead % 60)}`;
}

/**
 * Write a range as briefly as possible: 14–28 Jul 2017, or 2017-07-14 12:00 – 13:00.
 * @param {number} start
 * @param {number} end in UNIX seconds
 * @param {boolean} [isShort] whether to write only days, even for a short range
 */
export function rangeText(start, end, zone = "utc", isShort = false) {
  const [from, to] = [isoOf(start, zone), isoOf(end, zone)];
  if (end - start < DAY && !isShort) {
    const digits = end - start < 10 * MINUTE ? 19 : 16;
    const later = to.slice(0, 10) === from.slice(0, 10) ? to.slice(11, digits) : to.slice(0, digits);
    const isMoment = from.slice(0, digits) === to.slice(0, digits);
    return `${from.slice(0, digits)}${isMoment ? "" : ` – ${later}`}`.replaceAll("T", " ");
  }
  const [[y1, m1, d1], [y2, m2, d2]] = [from, to].map((iso) => iso.slice(0, 10).split("-").map(Number));
  const last = `${d2} ${MONTHS[m2 - 1]} ${y2}`;
  if (y1 !== y2) return `${d1} ${MONTHS[m1 - 1]} ${y1} – ${last}`;
  if (m1 !== m2) return `${d1} ${MONTHS[m1 - 1]} – ${last}`;
  return d1 === d2 ? last : `${d1}–${last}`;
}

/** Write a length of time as people say it: 2.5 h. */
export function durationText(seconds) {
  for (const [unit, length] of UNITS) {
    if (seconds >= length) return `${Number((seconds / length).toPrecision(3))} ${unit}`;
  }
  return `${Number(seconds.toPrecision(3))} s`;
}

/**
 * Return the labels of a time axis: the parts that differ; and, below the first label and wherever it changes, the
 * part that they share.
 * @param {number[]} times in UNIX seconds
 * @param {number} step seconds between them
 */
export function timeLabels(times, step, zone = "utc") {
  let shown = "";
  return times.map((t) => {
    const text = timeText(t, zone, step < 1 ? Math.ceil(-Math.log10(step)) : 0);
    if (step >= YEAR) return text.slice(0, 4);
    if (step >= MONTH) return text.slice(0, 7);
    const [label, common] =
      step >= DAY ? [text.slice(5, 10), text.slice(0, 4)] : [text.slice(11, step >= MINUTE ? 16 : undefined), text.slice(0, 10)];
    const isNew = common !== shown;
    shown = common;
    return isNew ? `${label}\n${common}` : label;
  });
}

/** Return how many seconds a zone is ahead of UTC. */
export function offsetOf(zone, t) {
  return zone === "utc" ? 0 : -MINUTE * new Date(1000 * t).getTimezoneOffset();
}

/** Write a time as ISO does without naming the zone. */
function isoOf(t, zone) {
  return new Date(1000 * (t + offsetOf(zone, t))).toISOString().slice(0, -1);
}
