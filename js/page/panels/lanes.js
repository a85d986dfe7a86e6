// Draw lanes: booleans as steps, states and texts as coloured bands with their text.

import { firstFrom } from "../../arrays.js";
import { PALETTE } from "./colours.js";
import { valueText } from "./units.js";

// Pixels of a lane: the name, the band below it, and a gap.
export const LANE_HEIGHT = 36;
const [NAME_HEIGHT, BAND_HEIGHT] = [14, 18];
const [BAND_ALPHA, FILL_ALPHA] = [0.32, 0.2];
const TEXT_MARGIN = 5;
const MIN_TEXT = 24;
// A value before a gap holds for one usual spacing; a gap is longer than five.
const SPACINGS = 5;

// Values of each curve in the order of appearance, which determines their colours.
const seen = new WeakMap();

/** Return how to draw a field: "number" as a line; "bool", "state" and "string" in a lane. */
export function kindOf(about) {
  if (about.type !== "number") return about.type;
  return Object.keys(about.labels ?? {}).length ? "state" : "number";
}

/**
 * Return the runs of equal values in a range: [start, end, value].
 * @param {Curve} curve
 * @param {{ start: number, end: number }} range
 * @param {number} now time until which the newest value holds
 */
export function runsOf({ t, values, longest, gaps, gone }, { start, end }, now) {
  const [times, array] = [t.array, values.array];
  const from = Math.max(firstFrom(times, start) - 1, 0);
  const to = firstFrom(times, end);
  const lost = gaps.map((gap) => firstFrom(times, gap.end));
  const runs = [];
  let last = null;
  for (let i = from; i < to; i += 1) {
    const value = array[i];
    const isLast = i + 1 === times.length;
    const next = isLast ? (gone ? times[i] : Math.max(now, times[i])) : times[i + 1];
    const isBroken = next - times[i] > longest || lost.includes(i + 1);
    const until = isBroken ? Math.min(times[i] + longest / SPACINGS, next) : next;
    const isMissing = value === null || value === undefined || Number.isNaN(value);
    if (!isMissing && last && last[2] === value && last[1] === times[i]) last[1] = until;
    else if (!isMissing) runs.push((last = [times[i], until, value]));
  }
  return runs.map(([a, b, value]) => [Math.max(a, start), Math.min(b, end), value]).filter(([a, b]) => b >= a);
}

/**
 * Draw a lane.
 * @param {CanvasRenderingContext2D} ctx
 * @param {{ curve: Curve, name: string, colour: string }} shown
 * @param {object} frame range, now, toX, box { left, width, right }, top, ratio, colours, font
 */
export function drawLane(ctx, { curve, name, colour }, { range, now, toX, box, top, ratio, colours, font }) {
  const band = { top: top + NAME_HEIGHT * ratio, height: BAND_HEIGHT * ratio };
  ctx.font = font;
  ctx.textBaseline = "middle";
  ctx.textAlign = "left";
  ctx.fillStyle = colours.get("soft");
  ctx.fillText(name, box.left, top + (NAME_HEIGHT / 2) * ratio);
  const runs = runsOf(curve, range, now).map(([a, b, value]) => [toX(a), toX(b), value]);
  ctx.save();
  ctx.beginPath();
  ctx.rect(box.left, band.top - ratio, box.width, band.height + 2 * ratio);
  ctx.clip();
  ctx.globalAlpha = curve.gone ? 0.6 : 1;
  if (kindOf(curve.about) === "bool") drawSteps(ctx, runs, band, colours.get(colour), ratio);
  else drawBands(ctx, curve, runs, band, colours, ratio);
  ctx.restore();
  return band;
}

function drawSteps(ctx, runs, { top, height }, colour, ratio) {
  ctx.fillStyle = ctx.strokeStyle = colour;
  ctx.lineWidth = 1.5 * ratio;
  ctx.setLineDash([]);
  const [high, low] = [top + ratio, top + height - ratio];
  const alpha = ctx.globalAlpha;
  ctx.globalAlpha = alpha * FILL_ALPHA;
  for (const [a, b, value] of runs) if (value) ctx.fillRect(a, high, b - a, low - high);
  ctx.globalAlpha = alpha;
  ctx.beginPath();
  let end = NaN;
  for (const [a, b, value] of runs) {
    const y = value ? high : low;
    if (a === end) ctx.lineTo(a, y);
    else ctx.moveTo(a, y);
    ctx.lineTo(Math.max(b, a + ratio), y);
    end = b;
  }
  ctx.stroke();
}

/** Draw bands; a grey one replaces several that are narrower than a pixel. */
function drawBands(ctx, curve, runs, band, colours, ratio) {
  const alpha = ctx.globalAlpha;
  let [begin, count] = [NaN, 0];
  const flush = (end, value) => {
    if (count) fillBand(ctx, begin, Math.max(end, begin + ratio), band, colours.get(count > 1 ? "stale" : colourOf(curve, value)), alpha);
    count = 0;
  };
  let [end, narrow] = [NaN, null];
  for (const [a, b, value] of runs) {
    if (b - a >= ratio || a > end) {
      flush(end, narrow);
      begin = NaN;
    }
    if (b - a < ratio) {
      if (!count) begin = a;
      count += 1;
      narrow = value;
    } else {
      fillBand(ctx, a, b, band, colours.get(colourOf(curve, value)), alpha);
      writeInBand(ctx, valueText(value, curve.about), a, b, band, colours, ratio);
    }
    end = b;
  }
  flush(end, narrow);
}

function fillBand(ctx, a, b, { top, height }, colour, alpha) {
  ctx.fillStyle = colour;
  ctx.globalAlpha = alpha * BAND_ALPHA;
  ctx.fillRect(a, top, b - a, height);
  ctx.globalAlpha = alpha;
  ctx.fillRect(a, top, Math.min(b - a, 2), height);
}

function writeInBand(ctx, text, a, b, { top, height }, colours, ratio) {
  const room = b - a - 2 * TEXT_MARGIN * ratio;
  if (room < MIN_TEXT * ratio) return;
  const most = Math.floor(room / ctx.measureText("n").width);
  const shown = text.length > most ? `${text.slice(0, Math.max(most - 1, 1))}…` : text;
  ctx.fillStyle = colours.get("ink");
  ctx.fillText(shown, a + TEXT_MARGIN * ratio, top + height / 2);
}

/** Return the colour of a value: by the order of labels, or else of appearance. */
function colourOf(curve, value) {
  if (!seen.has(curve)) seen.set(curve, new Map(Object.keys(curve.about.labels ?? {}).map((label, i) => [label, i])));
  const numbers = seen.get(curve);
  const text = String(value);
  if (!numbers.has(text)) numbers.set(text, numbers.size);
  return `curve-${PALETTE[numbers.get(text) % PALETTE.length]}`;
}
