// The axes of values: their ranges, and the room that their digits need.

import { firstFrom } from "../../arrays.js";

const MARGIN = 0.06;
// Width of a digit in parts of the font's size; and pixels for tick and gap.
const DIGIT = 0.6;
const BESIDE_LABEL = 12;
const MIN_WIDTH = 36;

/** Return the pixels that an axis of values needs beside the chart. */
export function widthOf(labels, fontSize) {
  const longest = Math.max(...(labels ?? []).map((label) => String(label ?? "").length), 0);
  return Math.max(Math.ceil(longest * fontSize * DIGIT + BESIDE_LABEL), MIN_WIDTH);
}

/**
 * Return what is in a range of a curve.
 * @param {{ t: { array: Float64Array }, values: { array: ArrayLike } }} curve of numbers
 * @param {{ start: number, end: number }} range
 * @returns {{ count: number, low: number, high: number, lowPositive: number, mean: number }} of missing values, and
 *   none, NaN or infinities
 */
export function statisticsOf({ t, values }, { start, end }) {
  const [times, array] = [t.array, values.array];
  const [from, to] = [firstFrom(times, start), firstFrom(times, end)];
  let [low, high, lowPositive, sum, present] = [Infinity, -Infinity, Infinity, 0, 0];
  for (let i = from; i < to; i += 1) {
    const value = Number(array[i] ?? NaN);
    if (!Number.isFinite(value)) continue;
    if (value < low) low = value;
    if (value > high) high = value;
    if (value > 0 && value < lowPositive) lowPositive = value;
    sum += value;
    present += 1;
  }
  return { count: to - from, low, high, lowPositive, mean: present ? sum / present : NaN };
}

/**
 * Return the range of an axis: what is fixed of it, else what its curves need.
 * @param {object[]} statistics of its curves
 * @param {import("../state.js").Axis} axis
 * @returns {[number, number]}
 */
export function axisRange(statistics, { low, high, isLog } = {}) {
  const least = Math.min(...statistics.map((each) => (isLog ? each.lowPositive : each.low)));
  const most = Math.max(...statistics.map((each) => each.high));
  if (isLog) return logRange(least, most, low, high);
  const isAny = least <= most;
  let [from, to] = [low ?? (isAny ? least : 0), high ?? (isAny ? most : 1)];
  if (from >= to) {
    const half = Math.abs(from) * 0.05 || 1;
    [from, to] = [low ?? Math.min(from, to) - half, high ?? Math.max(from, to) + half];
    if (from >= to) return [from - half, from + half];
  }
  const margin = MARGIN * (to - from);
  return [low ?? from - margin, high ?? to + margin];
}

function logRange(least, most, low, high) {
  const isAny = least <= most && most > 0;
  const from = low > 0 ? low : isAny ? 10 ** Math.floor(Math.log10(least)) : 0.1;
  const to = high > 0 ? high : isAny ? 10 ** Math.ceil(Math.log10(most)) : 10;
  return from < to ? [from, to] : [from, from * 10];
}
