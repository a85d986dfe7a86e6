// Draw a chart on a canvas, directly from the arrays: axes, grid, limits, curves and lanes.

import { timeTicks } from "../time/ticks.js";
import { roomFor, valueTicks, widthOf } from "./axes.js";
import { LANE_HEIGHT, drawLane } from "./lanes.js";
import { bandsOf, drawBands, drawBorders, limitsOf } from "./limits.js";
import { lineStyle, trace } from "./lines.js";

// Pixels of the time axis; and above the plot, with units and half a digit, or without.
export const TIME_AXIS = 36;
const [UNIT_ROOM, LANE_GAP, UNIT_ABOVE] = [18, 4, 12];
const FONT_SIZE = 11;
const [TICK, BESIDE] = [4, 8];
// Pixels from the plot to the middle of a time, and of the date below it.
const TIME_LINES = [14, 29];
const HATCH = 7;
// Width in pixels of bands beside an axis.
const RAIL = 7;

/** Return the height in pixels that lanes and time axis need. */
export function heightBeside({ units, lanes, scale }) {
  return (lanes.length * LANE_HEIGHT + (units.length ? UNIT_ROOM : LANE_GAP) + TIME_AXIS) * scale;
}

/** Return the width in pixels that the axes of values need: [left, right]. */
export function guttersOf(frame) {
  return [0, 1].map((i) => {
    const unit = frame.units[i];
    return unit ? roomFor(ticksOf(unit, frame).map(({ text }) => text), FONT_SIZE * frame.scale) : 0;
  });
}

/** Draw a chart on a canvas of the page. */
export function paint(canvas, frame, colours) {
  const { width, height, ratio } = frame;
  const [wide, high] = [width, height].map((each) => Math.round(each * ratio));
  // Setting the size clears a canvas, even if the size stays the same.
  if (canvas.width !== wide || canvas.height !== high) {
    Object.assign(canvas, { width: wide, height: high });
    Object.assign(canvas.style, { width: `${width}px`, height: `${height}px` });
  }
  const ctx = canvas.getContext("2d");
  ctx.clearRect(0, 0, wide, high);
  drawChart(ctx, frame, colours, 0, ratio);
}

/**
 * Draw a chart.
 * @param {CanvasRenderingContext2D|SvgContext} ctx
 * @param {object} frame range; now; zone; width and height in pixels of the page; scale of all letters; gutters
 *   [left, right]; units, for each axis { unit, range: [low, high], isLog, isKnown, scale }; lines and lanes, each
 *   { curve, name, colour, unit }
 * @param {{ get: function(string): string }} colours by their names
 * @param {number} above distance from the top of the canvas
 * @param {number} ratio canvas pixels per page pixel
 */
export function drawChart(ctx, frame, colours, above, ratio) {
  const { units, lines, lanes, range, scale } = frame;
  const size = ratio * scale;
  const box = boxOf(frame, above, ratio);
  const toX = (t) => box.left + (box.width * (t - range.start)) / (range.end - range.start);
  const axes = units.map((unit) => ({ ...unit, ticks: ticksOf(unit, frame), toY: placeOf(unit, box) }));
  const font = `${Math.round(FONT_SIZE * size)}px system-ui, sans-serif`;
  const pen = { ctx, frame, box, colours, ratio, size, font, toX, axes };
  drawBehind(pen);
  drawAxes(pen);
  inside(ctx, box, () => {
    for (const line of lines) drawLine(pen, line, axes.find(({ unit }) => unit === line.unit));
  });
  lanes.forEach((lane, i) => {
    const top = above + (i * LANE_HEIGHT + 2) * size;
    const band = drawLane(ctx, lane, { ...frame, toX, box, top, ratio: size, colours, font });
    if (lane.curve.gone) hatch(pen, lane.curve, { ...box, ...band });
  });
}

/** Return the box of the plot on the canvas. */
function boxOf(frame, above, ratio) {
  const { gutters, width, height, scale } = frame;
  const [left, right] = [gutters[0], width - gutters[1]].map((x) => Math.round(x * ratio));
  const bottom = above + Math.round((height - TIME_AXIS * scale) * ratio);
  const high = Math.max(Math.round((height - heightBeside(frame)) * ratio), 0);
  return { left, top: bottom - high, width: right - left, height: high };
}

function ticksOf(unit, frame) {
  // An axis without anything to show has no numbers, which would be invented.
  if (!unit.isKnown) return [];
  return valueTicks({ ...unit, ...unit.scale }, (frame.height - heightBeside(frame)) / frame.scale);
}

/** Return the function from values of an axis to positions. */
function placeOf({ range: [low, high], isLog }, { top, height }) {
  const level = isLog ? (value) => (value > 0 ? Math.log10(value) : NaN) : (value) => value;
  const [most, part] = [level(high), height / (level(high) - level(low))];
  return (value) => top + part * (most - level(value));
}

function drawBehind(pen) {
  const { ctx, frame, axes, box, colours } = pen;
  const bands = axes.map(({ unit, toY }) => {
    const limits = limitsOf(frame.lines.filter((line) => line.unit === unit).map(({ curve }) => curve));
    return limits ? bandsOf(limits, toY, box) : [];
  });
  // Overlapping bands of two axes would tell nothing: draw each beside its axis.
  const isEach = bands.filter(({ length }) => length).length > 1;
  const width = isEach ? RAIL * pen.size : box.width;
  bands.forEach((own, i) => drawBands(ctx, own, { left: i ? box.left + box.width - width : box.left, width }, colours, isEach));
  for (const { curve } of frame.lines) if (curve.gone) hatch(pen, curve, box);
}

/** Draw grid, ticks and labels. */
function drawAxes(pen) {
  const { ctx, colours, ratio, font } = pen;
  ctx.font = font;
  ctx.textBaseline = "middle";
  ctx.fillStyle = colours.get("soft");
  ctx.strokeStyle = colours.get("line");
  ctx.lineWidth = Math.max(Math.round(ratio), 1);
  ctx.setLineDash([]);
  ctx.beginPath();
  drawTimes(pen);
  pen.axes.forEach((axis, i) => drawValues(pen, axis, i > 0));
  ctx.stroke();
}

function drawTimes({ ctx, frame: { range, zone, width }, box, ratio, size, toX }) {
  const bottom = box.top + box.height;
  ctx.textAlign = "center";
  for (const { value, text } of timeTicks(range, zone, box.width / size)) {
    const x = sharp(ctx, toX(value));
    rule(ctx, x, box.top, x, bottom + TICK * ratio);
    text.split("\n").forEach((line, i) => {
      // Move a date inwards at the edge, so that it is not cut.
      const half = widthOf(line, FONT_SIZE * size) / 2;
      ctx.fillText(line, Math.max(Math.min(x, width * ratio - half), half), bottom + TIME_LINES[i] * size);
    });
  }
}

/** Draw an axis of values; only the left one has lines across the plot. */
function drawValues({ ctx, frame, box: { left, top, width }, ratio, size }, { ticks, scale, toY }, isRight) {
  const [edge, side] = isRight ? [left + width, 1] : [left, -1];
  const write = (text, y) => ctx.fillText(text, edge + side * BESIDE * ratio, y);
  ctx.textAlign = isRight ? "left" : "right";
  for (const { value, text } of ticks) {
    const y = sharp(ctx, toY(value));
    rule(ctx, edge + side * TICK * ratio, y, text && !isRight ? left + width : edge, y);
    if (text) write(text, y);
  }
  // A text wider than its axis extends above the plot.
  const gutter = frame.gutters[Number(isRight)] * ratio - BESIDE * ratio;
  if (widthOf(scale.text, FONT_SIZE * size) <= gutter) return write(scale.text, top - UNIT_ABOVE * size);
  ctx.textAlign = isRight ? "right" : "left";
  ctx.fillText(scale.text, isRight ? frame.width * ratio - ratio : ratio, top - UNIT_ABOVE * size);
}

/** Return the nearest position at which a line covers whole pixels. */
function sharp({ lineWidth }, at) {
  return Math.round(at) + (lineWidth % 2) / 2;
}

function rule(ctx, x1, y1, x2, y2) {
  ctx.moveTo(x1, y1);
  ctx.lineTo(x2, y2);
}

function drawLine({ ctx, frame: { range, scale }, box, colours, ratio, toX }, { curve, colour }, axis) {
  if (!axis) return;
  const stroke = (style, width, alpha = 1) => {
    ctx.beginPath();
    const own = trace(ctx, curve, range, toX, axis.toY, box.width / ratio);
    lineStyle(ctx, style, width ?? own, curve.gone, ratio * scale);
    ctx.globalAlpha *= alpha;
    ctx.stroke();
  };
  ctx.save();
  const { limits } = curve.about;
  if (limits && !curve.gone) drawBorders(ctx, limits, axis.toY, box, colours, stroke);
  stroke(colours.get(colour));
  ctx.restore();
}

/** Hatch the time since a node's last sample. */
function hatch({ ctx, colours, ratio, toX }, curve, { left, top, width, height }) {
  const from = Math.min(Math.max(Number.isFinite(curve.last) ? toX(curve.last) : left, left), left + width);
  inside(ctx, { left: from, top, width: left + width - from, height }, () => {
    ctx.beginPath();
    for (let x = from - height; x < left + width; x += HATCH * ratio) {
      ctx.moveTo(x, top + height);
      ctx.lineTo(x + height, top);
    }
    ctx.strokeStyle = colours.get("stale");
    ctx.globalAlpha = 0.45;
    ctx.lineWidth = ratio;
    ctx.setLineDash([]);
    ctx.stroke();
  });
}

/** Draw something, clipped to a box. */
function inside(ctx, { left, top, width, height }, draw) {
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, top, width, height);
  ctx.clip();
  draw();
  ctx.restore();
}
