// A small curve without axes, as the path of an SVG.

import { visible } from "../data/curves.js";

// Half of the line's width, kept free above and below.
const EDGE = 1.5;

/**
 * Return the path of a curve over a range, from its smallest value at the bottom to its largest at the top; gaps
 * stay gaps, and a sample between two of them is a dot.
 * @param {{ t: Float64Array, values: ArrayLike<number|boolean|null>, longest: number, gaps: object[] }} curve
 * @param {{ start: number, end: number }} range
 * @param {number} width
 * @param {number} height
 */
export function sparkline({ t, values, longest, gaps }, { start, end }, width, height) {
  const { x, y } = visible(t, values, start, end, width, longest, gaps);
  let [low, high] = [Infinity, -Infinity];
  y.forEach((value, i) => {
    if (value === null || x[i] < start || x[i] >= end) return;
    low = Math.min(low, value);
    high = Math.max(high, value);
  });
  if (low > high) return "";
  const scale = high > low ? (height - 2 * EDGE) / (high - low) : 0;
  const place = (i) => {
    const up = scale ? Math.min(Math.max(y[i], low), high) - low : 0;
    const level = scale ? height - EDGE - up * scale : height / 2;
    return `${round(((x[i] - start) / (end - start)) * width)} ${round(level)}`;
  };
  let path = "";
  for (let i = 0; i < x.length; i += 1) {
    if (y[i] === null) continue;
    const isFirst = i === 0 || y[i - 1] === null;
    const isLast = i === x.length - 1 || y[i + 1] === null;
    path += `${isFirst ? "M" : "L"}${place(i)}`;
    // A line of length zero: its round ends make it a dot.
    if (isFirst && isLast) path += "h0";
  }
  return path;
}

function round(number) {
  return Math.round(number * 10) / 10;
}
