// What stands at the axes: times in UTC, by 24 hours and years first, and room for all digits.

const [MINUTE, DAY, MONTH, YEAR] = [60, 86400, 28 * 86400, 365 * 86400];
// Width of a digit in parts of the font's size; and pixels for tick and gap.
const DIGIT = 0.62;
const BESIDE_LABEL = 16;

/** Write a UNIX time in UTC, with as many digits after the second. */
export function timeText(t, digits = 0) {
  const [date, time] = new Date(t * 1000).toISOString().slice(0, -1).split("T");
  return `${date} ${digits ? time.slice(0, 9 + Math.min(digits, 3)) : time.slice(0, 8)}`;
}

/**
 * Return the labels of a time axis: what changes between them, and below the first one, and where that changes,
 * what they have in common.
 * @param {number[]} times in UNIX seconds
 * @param {number} step seconds between them
 */
export function timeLabels(times, step) {
  let shown = "";
  return times.map((t) => {
    const text = timeText(t, step < 1 ? Math.ceil(-Math.log10(step)) : 0);
    if (step >= YEAR) return text.slice(0, 4);
    if (step >= MONTH) return text.slice(0, 7);
    const [label, common] =
      step >= DAY ? [text.slice(5, 10), text.slice(0, 4)] : [text.slice(11, step >= MINUTE ? 16 : undefined), text.slice(0, 10)];
    const isNew = common !== shown;
    shown = common;
    return isNew ? `${label}\n${common}` : label;
  });
}

/** Return the pixels that an axis of values needs beside the chart. */
export function widthOf(labels, fontSize) {
  const longest = Math.max(...(labels ?? []).map((label) => String(label).length), 3);
  return Math.ceil(longest * fontSize * DIGIT + BESIDE_LABEL);
}
