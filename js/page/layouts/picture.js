// A panel as a picture: title, axes, curves, legend and times, on light paper, as PNG or SVG.

import { make } from "../dom.js";
import { axisLabels, valueText } from "../panels/units.js";
import { LANE_HEIGHT, drawLane } from "../panels/lanes.js";
import { drawBands, drawMarks, limitsOf } from "../panels/limits.js";
import { lineStyle, trace } from "../panels/lines.js";
import { valueIn } from "../panels/legend.js";
import { rangeText, timeLabels, timeText, zoneText } from "../time/text.js";
import { STEPS, ticksOf } from "../time/ticks.js";
import { save } from "./files.js";
import { SvgContext } from "./svg.js";

const [MIN_WIDTH, PLOT_HEIGHT] = [900, 380];
const FONT = 12;
const [TITLE, ROW, TIME_AXIS, MARGIN, GAP] = [34, 18, 38, 16, 8];
const [LABEL_ROOM, TIME_ROOM, VALUE_ROOM] = [64, 90, 36];
const SWATCH = 10;
const SHARPNESS = 2;
const COLOURS = "paper ink soft line accent warning alarm good stale".split(" ");
const CURVES = 8;

/**
 * Draw a panel.
 * @param {CanvasRenderingContext2D|SvgContext} ctx
 * @param {object} frame that the panel was drawn with
 * @param {object} colours `get` returns one by its name
 * @param {string} title
 * @returns {{ width: number, height: number }}
 */
export function drawPicture(ctx, frame, colours, title) {
  const { units, lanes, fields, lines, range, zone } = frame;
  const size = sizeOf(frame);
  const box = {
    left: units.length ? LABEL_ROOM : MARGIN,
    top: TITLE + fields.length * ROW + GAP + lanes.length * LANE_HEIGHT + ROW,
    height: units.length ? PLOT_HEIGHT : 0,
  };
  box.width = size.width - box.left - (units.length > 1 ? LABEL_ROOM : MARGIN);
  const toX = (t) => box.left + (box.width * (t - range.start)) / (range.end - range.start);
  ctx.fillStyle = colours.get("paper");
  ctx.fillRect(0, 0, size.width, size.height);
  ctx.textBaseline = "middle";
  const where = `${timeText(range.start, zone)} – ${timeText(range.end, zone)} ${zoneText(zone, range.end)}`;
  text(ctx, colours.get("ink"), `600 ${FONT + 3}px system-ui, sans-serif`, title, MARGIN, TITLE / 2);
  text(ctx, colours.get("soft"), font(), where, size.width - MARGIN, TITLE / 2, "right");
  drawLegend(ctx, frame, colours);
  drawTimes(ctx, frame, box, toX, colours);
  units.forEach((axis, i) => drawAxis(ctx, axis, i, box, colours, limitsOf(lines.filter(({ unit }) => unit === axis.unit).map(({ curve }) => curve))));
  ctx.save();
  ctx.beginPath();
  ctx.rect(box.left, box.top, box.width, box.height);
  ctx.clip();
  for (const line of lines) drawLine(ctx, line, units.find(({ unit }) => unit === line.unit), frame, box, toX, colours);
  ctx.restore();
  const top = TITLE + fields.length * ROW + GAP;
  lanes.forEach((lane, i) => {
    drawLane(ctx, lane, { range, now: frame.now, toX, box, top: top + i * LANE_HEIGHT, ratio: 1, colours, font: font() });
  });
  return size;
}

/** Let the user save a panel as a picture. */
export function openPicture(frame, title) {
  const dialog = make("dialog", { id: "picture", className: "settings", ariaLabel: "Save the panel as a picture" });
  const name = make("input", { value: title, ariaLabel: "Title", name: "title" });
  const choice = (format, write) => {
    const made = make("button", { type: "button", name: format }, format.toUpperCase());
    made.addEventListener("click", async () => {
      save(`${name.value}.${format}`, await write(frame, lightColours(), name.value));
      dialog.close();
    });
    return made;
  };
  const cancel = make("button", { type: "button" }, "Cancel");
  cancel.addEventListener("click", () => dialog.close());
  dialog.append(
    make("header", {}, make("h2", {}, "Save the panel as a picture")),
    make("p", {}, make("label", {}, "Title ", name)),
    make("p", { className: "buttons" }, cancel, choice("png", pngOf), choice("svg", svgOf)),
  );
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

async function pngOf(frame, colours, title) {
  const { width, height } = sizeOf(frame);
  const canvas = make("canvas", { width: width * SHARPNESS, height: height * SHARPNESS });
  const ctx = canvas.getContext("2d");
  ctx.scale(SHARPNESS, SHARPNESS);
  drawPicture(ctx, frame, colours, title);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

async function svgOf(frame, colours, title) {
  const ctx = new SvgContext(make("canvas", {}).getContext("2d"));
  const { width, height } = drawPicture(ctx, frame, colours, title);
  return new Blob([ctx.finish(width, height, title)], { type: "image/svg+xml" });
}

function sizeOf({ units, lanes, fields, width }) {
  const height = TITLE + fields.length * ROW + GAP + lanes.length * LANE_HEIGHT + ROW + (units.length ? PLOT_HEIGHT : 0) + TIME_AXIS;
  return { width: Math.max(Math.round(width), MIN_WIDTH), height };
}

function drawLegend(ctx, frame, colours) {
  frame.fields.forEach((field, i) => {
    const y = TITLE + (i + 0.5) * ROW;
    ctx.fillStyle = colours.get(field.colour);
    ctx.fillRect(MARGIN, y - SWATCH / 2, SWATCH, SWATCH);
    const value = field.curve.about ? valueIn(field.curve, { range: frame.range, cursor: null }) : undefined;
    const last = value === undefined ? "" : `${valueText(value, field.curve.about, field.factor, 6)} ${field.text}`.trim();
    text(ctx, colours.get("ink"), font(), last ? `${field.name}, last ${last}` : field.name, MARGIN + SWATCH + 8, y);
  });
}

function drawTimes(ctx, { range, zone }, box, toX, colours) {
  const seconds = ((range.end - range.start) * TIME_ROOM) / box.width;
  const step = STEPS.find((each) => each >= seconds) ?? STEPS.at(-1);
  const times = ticksOf(range.start, range.end, step, zone);
  const labels = timeLabels(times, step, zone);
  const bottom = box.top + box.height;
  times.forEach((t, i) => {
    rule(ctx, colours, toX(t), box.height ? box.top : bottom, toX(t), bottom + 4);
    labels[i].split("\n").forEach((line, k) => text(ctx, colours.get("soft"), font(), line, toX(t), bottom + 13 + k * 14, "center"));
  });
}

function drawAxis(ctx, { text: unit, factor, range: [low, high], isLog }, i, box, colours, limits) {
  const toY = scaleOf(low, high, isLog, box);
  if (limits) drawBands(ctx, limits, toY, box, colours);
  const ticks = isLog ? decades(low, high) : ticksBetween(low, high, box.height / VALUE_ROOM);
  const labels = axisLabels(ticks, isLog ? low : (ticks[1] ?? high) - (ticks[0] ?? low), factor);
  const [x, align] = i ? [box.left + box.width + 8, "left"] : [box.left - 8, "right"];
  ticks.forEach((value, k) => {
    if (!i) rule(ctx, colours, box.left, toY(value), box.left + box.width, toY(value));
    text(ctx, colours.get("soft"), font(), labels[k], x, toY(value), align);
  });
  text(ctx, colours.get("soft"), font(), unit, x, box.top - ROW / 2, align);
}

function drawLine(ctx, { curve, colour }, axis, { range }, box, toX, colours) {
  if (!axis) return;
  const toY = scaleOf(...axis.range, axis.isLog, box);
  const draw = (style, width) => {
    ctx.beginPath();
    const wide = trace(ctx, curve, range, toX, toY, box.width);
    lineStyle(ctx, style, width ?? wide, curve.gone, 1);
    ctx.stroke();
  };
  ctx.save();
  draw(colours.get(colour));
  if (curve.about.limits && !curve.gone) drawMarks(ctx, curve.about.limits, toY, box, colours, draw, 1);
  ctx.restore();
}

/** Return the function that places a value. */
function scaleOf(low, high, isLog, { top, height }) {
  const level = isLog ? (value) => (value > 0 ? Math.log10(value) : NaN) : (value) => value;
  return (value) => top + (height * (level(high) - level(value))) / (level(high) - level(low));
}

/** Return round values of about so many steps. */
function ticksBetween(low, high, steps) {
  const rough = (high - low) / steps;
  const size = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((each) => each * size >= rough) * size;
  const from = Math.ceil(low / step);
  return Array.from({ length: Math.max(Math.floor(high / step) - from + 1, 0) }, (_, i) => (from + i) * step);
}

function decades(low, high) {
  const [from, to] = [Math.ceil(Math.log10(low)), Math.floor(Math.log10(high))];
  return Array.from({ length: Math.max(to - from + 1, 0) }, (_, i) => 10 ** (from + i));
}

function rule(ctx, colours, x1, y1, x2, y2) {
  ctx.strokeStyle = colours.get("line");
  ctx.lineWidth = 1;
  ctx.setLineDash([]);
  ctx.beginPath();
  ctx.moveTo(x1, y1);
  ctx.lineTo(x2, y2);
  ctx.stroke();
}

function text(ctx, colour, style, words, x, y, align = "left") {
  [ctx.fillStyle, ctx.font, ctx.textAlign] = [colour, style, align];
  ctx.fillText(words, x, y);
}

function font() {
  return `${FONT}px system-ui, sans-serif`;
}

/** Return the page's colours as they are on light paper. */
function lightColours() {
  const root = document.documentElement;
  root.style.colorScheme = "light";
  const style = getComputedStyle(root);
  const names = [...COLOURS, ...Array.from({ length: CURVES }, (_, i) => `curve-${i + 1}`)];
  const values = new Map(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  root.style.colorScheme = "";
  return { get: (name) => values.get(/^(?:var\(--)?([\w-]+)\)?$/.exec(name)?.[1]) ?? name };
}
