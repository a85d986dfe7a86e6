// Which buckets a view needs, and by which requests they are fetched.

import { MIN_EXPONENT, bucketSizeFor, edges } from "../../grid.js";
import { TILE_BUCKETS } from "./tiles.js";

// Limits of one request.
const MAX_BUCKETS = 16_384;
const MAX_CELLS = 524_288;
// A mean interval may be a little shorter than the spacing of regular samples.
export const INTERVAL_TOLERANCE = 1.01;
// Of regular samples hardly a bucket holds two.
const MAX_SHARED = 0.05;

/**
 * Return the bucket size for a view: that of regular samples where there is room for all of them,
 * so that closer views need no others; else the smallest with room for two samples a bucket. It
 * depends on the view's length alone.
 * @param {number} span of the view in seconds
 * @param {number|null} interval mean spacing of the samples
 * @param {boolean} isRegular
 */
export function bucketSizeOf(span, points, interval, isRegular) {
  // Not more buckets than this wherever the view starts, nor at another rounding of its length.
  const coarse = bucketSizeFor(0, span * (1 - 1e-6), Math.max(points - 2, 4));
  if (!interval || span / interval > points) return coarse;
  const fine = 2 ** Math.max(Math.floor(Math.log2(interval * INTERVAL_TOLERANCE)), MIN_EXPONENT);
  return isRegular ? fine : Math.min(fine, coarse);
}

/** Whether samples decimated to w, of about this interval, came one by one, not in bursts. */
export function isSpread({ t }, w, interval) {
  if (!interval || w > interval * INTERVAL_TOLERANCE) return true;
  const buckets = edges(t, w).length - 1;
  return t.length - buckets <= MAX_SHARED * buckets;
}

/**
 * Unite what is missing of some curves of a node into few requests.
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
    // Cut where tiles begin, as of a tile its beginning must be there first.
    high = Math.min(to, Math.floor(low / TILE_BUCKETS) * TILE_BUCKETS + MAX_BUCKETS);
    const most = Math.floor(MAX_CELLS / (high - low));
    for (let i = 0; i < curves.length; i += most) {
      requests.push({ curves: curves.slice(i, i + most), w, range: [low, high] });
    }
  }
  return requests;
}
