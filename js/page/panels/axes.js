// The axes of values: their ranges, ticks, and the width of their labels.

import { firstFrom } from "../../arrays.js";
import { axisLabels, decadeLabel, numberText, scaledUnit } from "./units.js";

const MARGIN = 0.06;
// Width of a digit relative to the font size, and pixels for tick and gap.
const DIGIT = 0.6;
const BESIDE_LABEL = 12;
const MIN_WIDTH = 36;
// Minimum pixels between labels: of a low axis, and of a high one, which has at least eight labels.
const [LABEL_DISTANCE, WIDE_DISTANCE, FEW] = [28, 40, 8];
const STEPS = [1, 2, 5, 10];
// Maximum length of labels, beyond which an axis counts from a round value; and the height assumed for that.
const [MAX_LABEL, USUAL_PIXELS] = [8, 172];
// Reliable digits of a float64.
const DIGITS = 15;
// Digits of a decade that are labelled if there is room, and those that have a tick.
const [LABELLED, TICKED] = [[1, 2, 5], [1, 2, 3, 4, 5, 6, 7, 8, 9]];
const ALMOST = 1e-9;

/** Return the approximate width of a text that is mostly digits. */
export function widthOf(text, fontSize) {
  return text.length * fontSize * DIGIT;
}

/** Return the pixels that an axis of values needs beside the chart. */
export function roomFor(labels, fontSize) {
  return Math.max(...labels.map((label) => Math.ceil(widthOf(label, fontSize) + BESIDE_LABEL)), MIN_WIDTH);
}

/**
 * Return statistics of a curve in a range.
 * @param {{ t: { array: Float64Array }, values: { array: ArrayLike } }} curve of numbers
 * @param {{ start: number, end: number }} range
 * @returns {{ count: number, low: number, high: number, lowPositive: number, mean: number }} if there are no
 *   values, NaN or infinities
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

/** Return statistics of a curve, extended to its line where that crosses the edges of the range. */
export function withEdges({ low, high, lowPositive }, curve, range) {
  const edges = edgesOf(curve, range);
  return {
    low: Math.min(low, ...edges),
    high: Math.max(high, ...edges),
    lowPositive: Math.min(lowPositive, ...edges.filter((value) => value > 0)),
  };
}

/** Return the values of a line at the edges of a range that it crosses. */
function edgesOf({ t, values, longest, gaps }, { start, end }) {
  const [times, array] = [t.array, values.array];
  return [start, end].flatMap((edge) => {
    const after = firstFrom(times, edge);
    const [from, to] = [times[after - 1], times[after]];
    // A gap has no line, nor have lost samples.
    if (!(to - from <= longest) || gaps.some((gap) => gap.end > from && gap.end <= to)) return [];
    const [one, other] = [array[after - 1], array[after]].map((value) => Number(value ?? NaN));
    const value = one + ((other - one) * (edge - from)) / (to - from);
    return Number.isFinite(value) ? [value] : [];
  });
}

/**
 * Return the range of an axis: fixed ends, or those that its curves need.
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

/**
 * Return how to write the ticks of an axis.
 * @param {string} unit
 * @param {[number, number]} range
 * @param {boolean} isLog
 * @returns {{ text: string, factor: number, offset: number }} the text above them; the factor for a value
 *   less the offset
 */
export function tickScale(unit, range, isLog) {
  const largest = (from) => Math.max(...range.map((end) => Math.abs(end - from)));
  const scaled = { ...scaledUnit(unit, largest(0)), offset: 0 };
  const power = 10 ** Math.ceil(Math.log10(range[1] - range[0]));
  const offset = Number((Math.round((range[0] + range[1]) / 2 / power) * power).toPrecision(DIGITS));
  if (isLog || !Number.isFinite(offset) || valueTicks({ range, isLog, ...scaled }, USUAL_PIXELS).every(({ text }) => text.length <= MAX_LABEL)) return scaled;
  const { text, factor } = scaledUnit(unit, largest(offset));
  const size = Math.abs(offset * scaled.factor);
  const from = size < 1e6 ? numberText(offset, scaled.factor, null, DIGITS) : Number((offset * scaled.factor).toPrecision(DIGITS)).toExponential().replace("e+", "e");
  const sum = text === scaled.text ? `+ ${from} ${text}` : `${text} + ${from} ${scaled.text}`;
  return { text: sum.replace("+ -", "− ").trim(), factor, offset };
}

/**
 * Return the ticks of an axis: round values, and their labels.
 * @param {{ range: [number, number], isLog: boolean, factor: number, offset?: number }} axis the last two from `tickScale`
 * @param {number} pixels height of the axis, at the usual size of letters
 * @returns {{ value: number, text: string }[]} text is empty if there is no room for it
 */
export function valueTicks({ range: [low, high], isLog, factor, offset = 0 }, pixels) {
  const ticks = isLog ? logTicks(low, high, factor, Math.max(pixels / LABEL_DISTANCE, 1)) : [];
  // A logarithmic axis of less than about half a decade is labelled like a linear one.
  if (ticks.filter(({ text }) => text).length > 1) return ticks;
  const distance = Math.min(Math.max(pixels / FEW, LABEL_DISTANCE), WIDE_DISTANCE);
  const rough = (high - low) / Math.max(pixels / distance, 1);
  const size = 10 ** Math.floor(Math.log10(rough));
  const step = STEPS.find((each) => each * size >= rough * (1 - ALMOST)) * size;
  const [from, to] = [Math.ceil((low - offset) / step - ALMOST), Math.floor((high - offset) / step + ALMOST)];
  const values = Array.from({ length: Math.max(to - from + 1, 0) }, (_, i) => (from + i) * step);
  const labels = axisLabels(values, step, factor);
  return values.map((value, i) => ({ value: offset + value, text: labels[i] }));
}

function logTicks(low, high, factor, room) {
  const [from, to] = [Math.log10(low), Math.log10(high)];
  const decade = room / (to - from);
  const each = Math.ceil(1 / decade);
  // The smallest distance is from 1 to 2, a third of a decade.
  const labelled = decade > 3.4 ? LABELLED : [1];
  const ticks = [];
  for (let exponent = Math.floor(from); exponent <= to + ALMOST; exponent += 1) {
    for (const digit of each > 1 ? [1] : TICKED) {
      const value = Number(`${digit}e${exponent}`);
      if (value < low * (1 - ALMOST) || value > high * (1 + ALMOST)) continue;
      const isLabelled = labelled.includes(digit) && exponent % each === 0;
      ticks.push({ value, text: isLabelled ? decadeLabel(value, factor) : "" });
    }
  }
  return ticks;
}
