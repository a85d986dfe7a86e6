// Prepare curves for drawing: reduce long ones to what a screen can show, and find gaps.

import { firstFrom } from "../../arrays.js";
import { extremes } from "../../grid.js";

const GAP_SPACINGS = 5;
const GAP_BUCKETS = 2;
// Maximum number of spacings from which the median is computed.
const MAX_SPACINGS = 10_000;

/**
 * Return the longest time between two samples that is no gap: two buckets, or five times the median
 * spacing if that is more.
 * @param {Float64Array} t ascending
 * @param {number|null} bucket size in seconds; null for all samples
 * @param {number|null} interval usual spacing, in case there are too few samples to tell
 */
export function longestSpacing(t, bucket, interval) {
  const step = Math.ceil(t.length / MAX_SPACINGS);
  const spacings = [];
  for (let i = 1; i < t.length; i += step) if (t[i] > t[i - 1]) spacings.push(t[i] - t[i - 1]);
  spacings.sort((a, b) => a - b);
  const usual = spacings.length > 1 ? spacings[Math.floor(spacings.length / 2)] : interval || Infinity;
  return Math.max(GAP_BUCKETS * (bucket ?? 0), GAP_SPACINGS * usual);
}

/**
 * Return the samples that a curve of this width needs: the smallest and the largest of each run of samples at their
 * own times, so that no spike is lost, and null where samples are missing.
 * @param {Float64Array} t ascending
 * @param {ArrayLike<number|boolean|null>} values
 * @param {number} start
 * @param {number} end of the visible time
 * @param {number} pixels
 * @param {number} longest seconds between two samples; a longer time is a gap
 * @param {{ start: number, end: number }[]} [gaps] times between which samples are lost
 * @returns {{ x: number[], y: (number|null)[] }}
 */
export function visible(t, values, start, end, pixels, longest, gaps = []) {
  // One sample beyond each edge, so that the line reaches the edge.
  const from = Math.max(firstFrom(t, start) - 1, 0);
  const to = Math.min(firstFrom(t, end) + 1, t.length);
  const x = [];
  const y = [];
  const size = Math.max(Math.floor((to - from) / Math.max(pixels, 1)), 1);
  const lost = new Set(gaps.map((gap) => firstFrom(t, gap.end)));
  const put = (i) => {
    const value = values[i];
    x.push(t[i]);
    y.push(value === null || Number.isNaN(value) ? null : Number(value));
  };
  // Runs end at gaps, and at multiples of their size, so that a moving curve does not flicker.
  let begin = from;
  for (let i = from; i < to; i += 1) {
    const isGap = i > from && (t[i] - t[i - 1] > longest || lost.has(i));
    if (i > begin && (isGap || i % size === 0)) {
      drawn(values, begin, i).forEach(put);
      begin = i;
    }
    if (isGap) {
      x.push((t[i] + t[i - 1]) / 2);
      y.push(null);
    }
  }
  drawn(values, begin, to).forEach(put);
  return { x, y };
}

/** Return the indices to draw of one run, in order: first, smallest, largest, a missing one, last. */
function drawn(values, from, to) {
  if (to - from <= 4) return Array.from({ length: to - from }, (_, i) => from + i);
  const chosen = new Set([from, ...extremes(values, from, to), to - 1]);
  for (let i = from; i < to; i += 1) {
    if (values[i] === null || Number.isNaN(values[i])) {
      chosen.add(i);
      break;
    }
  }
  return [...chosen].sort((a, b) => a - b);
}
