// Draw curves as lines on a canvas, directly from their arrays, without a copy.

import { firstFrom } from "../../arrays.js";

// Samples per pixel from which each column of pixels is drawn as its smallest and largest sample. With fewer, a line
// through all is as fast, and has no steps.
const DENSE = 4;
const [THIN, THICK] = [1, 1.75];
// Samples per pixel from which lines are thin: they are drawn much faster, and nobody sees the line anyway. With fewer
// they become thicker by and by; curves of extremes alone are thin, as these are many at most views.
const THIN_FROM = 1.2;
// Samples per pixel up to which points mark them, too.
const SPARSE = 0.06;
const POINT = 2;
const GONE_DASH = [5, 4];

/**
 * Trace a curve as a path; a missing sample, and a time longer than the curve's longest spacing, breaks it.
 * @param {CanvasRenderingContext2D|object} ctx an object with moveTo, lineTo and arc
 * @param {Curve} curve
 * @param {{ start: number, end: number }} range
 * @param {function(number): number} toX
 * @param {function(number): number} toY returns NaN for values that cannot be drawn
 * @param {number} pixels of the range
 * @returns {number} width of the line
 */
export function trace(ctx, { t, values, longest, gaps, isWhole = true }, { start, end }, toX, toY, pixels) {
  const [times, array] = [t.array, values.array];
  // One sample beyond each edge, so that the line reaches the edge.
  const from = Math.max(firstFrom(times, start) - 1, 0);
  const to = Math.min(firstFrom(times, end) + 1, times.length);
  const lost = gaps.map((gap) => firstFrom(times, gap.end));
  const draw = to - from > DENSE * pixels ? denseRun : run;
  let [begin, before] = [-1, NaN];
  for (let i = from; i <= to; i += 1) {
    const isThere = i < to && Number.isFinite(Number(array[i] ?? NaN));
    const isBroken = begin >= 0 && (!isThere || times[i] - before > longest || lost.includes(i));
    if (isBroken) {
      draw(ctx, times, array, begin, i, toX, toY);
      begin = -1;
    }
    if (isThere && begin < 0) begin = i;
    before = times[i];
  }
  if (to - from < SPARSE * pixels) points(ctx, times, array, from, to, toX, toY);
  return isWhole ? Math.max(THICK - ((THICK - THIN) * (to - from)) / pixels / THIN_FROM, THIN) : THIN;
}

/** Set how a line is drawn. */
export function lineStyle(ctx, colour, width, isGone, ratio) {
  ctx.strokeStyle = colour;
  ctx.lineWidth = width * ratio;
  ctx.lineJoin = "round";
  ctx.globalAlpha = isGone ? 0.6 : 1;
  ctx.setLineDash(isGone ? GONE_DASH.map((each) => each * ratio) : []);
}

function run(ctx, times, array, from, to, toX, toY) {
  const [x, y] = [toX(times[from]), toY(Number(array[from]))];
  if (to - from === 1) return dot(ctx, x, y);
  ctx.moveTo(x, y);
  for (let i = from + 1; i < to; i += 1) ctx.lineTo(toX(times[i]), toY(Number(array[i])));
}

/** Draw the first, smallest, largest and last sample of each column of pixels. */
function denseRun(ctx, times, array, from, to, toX, toY) {
  if (to - from === 1) return dot(ctx, toX(times[from]), toY(Number(array[from])));
  let column = NaN;
  let [least, most, last] = [0, 0, 0];
  for (let i = from; i < to; i += 1) {
    const own = Math.round(toX(times[i]));
    const y = toY(Number(array[i]));
    if (own === column) {
      if (y < least) least = y;
      if (y > most) most = y;
    } else {
      if (column === column) drawColumn(ctx, column, least, most, last);
      if (column === column) ctx.lineTo(own, y);
      else ctx.moveTo(own, y);
      [column, least, most] = [own, y, y];
    }
    last = y;
  }
  drawColumn(ctx, column, least, most, last);
}

function drawColumn(ctx, x, least, most, last) {
  if (least === most) return;
  ctx.lineTo(x, least);
  ctx.lineTo(x, most);
  ctx.lineTo(x, last);
}

function points(ctx, times, array, from, to, toX, toY) {
  for (let i = from; i < to; i += 1) {
    const value = Number(array[i] ?? NaN);
    if (Number.isFinite(value)) dot(ctx, toX(times[i]), toY(value));
  }
}

/** Add a point as a separate circle, which the line's stroke fills. */
function dot(ctx, x, y) {
  ctx.moveTo(x + POINT / 2, y);
  ctx.arc(x, y, POINT / 2, 0, 2 * Math.PI);
}
