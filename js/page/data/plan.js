// Plan which buckets a view needs, and which requests fetch them.

import { MIN_EXPONENT, bucketSizeFor, edges } from "../../grid.js";
import { TILE_BUCKETS } from "./tiles.js";

// Limits of one request.
const MAX_BUCKETS = 16_384;
const MAX_CELLS = 524_288;
// Tolerance: a mean interval may be slightly shorter than the spacing of regular samples.
export const INTERVAL_TOLERANCE = 1.01;
// Maximum share of buckets with two samples, if samples are regular.
const MAX_SHARED = 0.05;

/**
 * Return the bucket size for a view. If all samples fit and are regular, it is about their spacing,
 * so that closer views need no other buckets; otherwise the smallest of which two samples per bucket
 * fit. It depends only on the view's length.
 * @param {number} span of the view in seconds
 * @param {number|null} interval mean spacing of the samples
 * @param {boolean} isRegular
 */
export function bucketSizeOf(span, points, interval, isRegular) {
  // Maximum number of buckets, wherever the view starts and however its length is rounded.
  const coarse = bucketSizeFor(0, span * (1 - 1e-6), Math.max(points - 2, 4));
  if (!interval || span / interval > points) return coarse;
  const fine = 2 ** Math.max(Math.floor(Math.log2(interval * INTERVAL_TOLERANCE)), MIN_EXPONENT);
  return isRegular ? fine : Math.min(fine, coarse);
}

/** Whether samples of about this interval, decimated to w, are evenly spaced, not in bursts. */
export function isSpread({ t }, w, interval) {
  if (!interval || w > interval * INTERVAL_TOLERANCE) return true;
  const buckets = edges(t, w).length - 1;
  return t.length - buckets <= MAX_SHARED * buckets;
}

/**
 * Combine the missing ranges of a node's curves into few requests.
 * @param {{ curve: object, w: number, ranges: [number, number][] }[]} wanted ranges in buckets
 * @returns {{ curves: object[], w: number, range: [number, number] }[]}
 */
export function requestsFor(wanted) {
  const groups = new Map();
  for (const { curve, w, ranges } of wanted) {
    for (const [from, to] of ranges) {
      const key = [w, Math.floor(from / TILE_BUCKETS), Math.ceil(to / TILE_BUCKETS)].join(" ");
      const group = groups.get(key) ?? { curves: [], w, range: [from, to] };
      group.curves.push(curve);
      group.range = [Math.min(group.range[0], from), Math.max(group.range[1], to)];
      groups.set(key, group);
    }
  }
  return [...groups.values()].flatMap(withinLimits);
}

function withinLimits({ curves, w, range: [from, to] }) {
  const requests = [];
  for (let low = from, high; low < to; low = high) {
    // Cut where tiles begin: a tile can only be filled from its beginning.
    high = Math.min(to, Math.floor(low / TILE_BUCKETS) * TILE_BUCKETS + MAX_BUCKETS);
    const most = Math.floor(MAX_CELLS / (high - low));
    for (let i = 0; i < curves.length; i += most) {
      requests.push({ curves: curves.slice(i, i + most), w, range: [low, high] });
    }
  }
  return requests;
}
