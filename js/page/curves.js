// Curves made ready to draw: what a screen can show of a long one, and where it has gaps.

import { firstFrom } from "../arrays.js";
import { extremes } from "../thinning.js";

const GAP_INTERVALS = 5;
// Two samples of which one follows the other are no farther apart; of most, if none was left out.
const NEXT_INTERVALS = 1.5;
const MOST = 0.75;
// The widest space within thinned samples: two buckets, each of at least one kept sample in two.
const THINNED_SPACINGS = 4;

/**
 * The longest time between two samples that is no gap: five intervals, more where samples were
 * left out by the node because few were asked for.
 * @param {Float64Array} t ascending
 * @param {number|null} interval usual spacing of all samples in seconds
 */
export function longestSpacing(t, interval) {
  if (!interval) return Infinity;
  const spacings = Math.max(t.length - 1, 1);
  let next = 0;
  for (let i = 1; i < t.length; i += 1) {
    if (t[i] - t[i - 1] <= interval * NEXT_INTERVALS) next += 1;
  }
  const whole = interval * GAP_INTERVALS;
  if (t.length < 2 || next > MOST * spacings) return whole;
  return Math.max(whole, (THINNED_SPACINGS * (t[t.length - 1] - t[0])) / spacings + interval);
}

/**
 * The samples that a curve of so many pixels needs: per bucket the smallest and the largest at
 * their own times, so that no spike is lost, and null where samples are missing.
 * @param {Float64Array} t ascending
 * @param {ArrayLike<number|boolean|null>} values
 * @param {number} start
 * @param {number} end of the visible time
 * @param {number} pixels
 * @param {number} longest seconds between two samples; a longer time is a gap
 * @returns {{ x: number[], y: (number|null)[] }}
 */
export function visible(t, values, start, end, pixels, longest) {
  // One sample beyond each edge, so that the line goes on to it.
  const from = Math.max(firstFrom(t, start) - 1, 0);
  const to = Math.min(firstFrom(t, end) + 1, t.length);
  const x = [];
  const y = [];
  const size = Math.max(Math.floor((to - from) / Math.max(pixels, 1)), 1);
  const put = (i) => {
    const value = values[i];
    x.push(t[i]);
    y.push(value === null || Number.isNaN(value) ? null : Number(value));
  };
  // Buckets end at multiples of their size, so that a curve does not flicker while it moves, and
  // at gaps.
  let begin = from;
  for (let i = from; i < to; i += 1) {
    const isGap = i > from && t[i] - t[i - 1] > longest;
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

/** Indices to draw of one bucket, in order: first, smallest, largest, a missing one, last. */
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

/** Times of other curves within a gap belong to the gap: otherwise a line leads into it. */
function widenGaps(column) {
  for (let i = 1; i < column.length; i += 1) {
    if (column[i] === undefined && column[i - 1] === null) column[i] = null;
  }
  for (let i = column.length - 2; i >= 0; i -= 1) {
    if (column[i] === undefined && column[i + 1] === null) column[i] = null;
  }
}

/**
 * Bring curves to one axis of times, null where one has no sample and `undefined` where the line
 * goes on: what uPlot draws.
 */
export function align(curves) {
  if (curves.length === 1) return [curves[0].x, curves[0].y];
  const all = [...new Set(curves.flatMap(({ x }) => x))].sort((a, b) => a - b);
  const columns = curves.map(({ x, y }) => {
    const column = new Array(all.length).fill(undefined);
    let i = 0;
    x.forEach((time, k) => {
      while (all[i] < time) i += 1;
      column[i] = y[k];
    });
    widenGaps(column);
    return column;
  });
  return [all, ...columns];
}
