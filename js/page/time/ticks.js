// Place the ticks of the time axis: at whole seconds, hours, days, months and years of the shown zone.

import { offsetOf, timeLabels } from "./text.js";

const [DAY, MONTH, YEAR] = [86400, 30 * 86400, 365 * 86400];

// Pixels between labels; the larger distance is for short ranges, with seconds.
const [DISTANCE, SECONDS_DISTANCE, SECONDS_SPAN] = [62, 84, 600];

// Distances of ticks in seconds.
const STEPS = [
  ...[1e-4, 1e-3, 1e-2, 0.1, 1].flatMap((step) => (step < 1 ? [step, 2 * step, 5 * step] : [step])),
  ...[2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200],
  ...[1, 2, 4, 7, 14].map((n) => n * DAY),
  ...[1, 2, 3, 6].map((n) => n * MONTH),
  ...[1, 2, 5, 10, 20, 50].map((n) => n * YEAR),
];

/**
 * Return the ticks of a range, as many as fit.
 * @param {{ start: number, end: number }} range in UNIX seconds
 * @param {"utc"|"local"} zone
 * @param {number} pixels width of the axis, at the usual size of letters
 * @returns {{ value: number, text: string }[]} texts from `timeLabels`
 */
export function timeTicks({ start, end }, zone, pixels) {
  const distance = end - start < SECONDS_SPAN ? SECONDS_DISTANCE : DISTANCE;
  // A page that is hidden, or narrower than its axes, has room for no ticks; without this it would get a million.
  const least = ((end - start) * distance) / Math.max(pixels, distance);
  const step = STEPS.find((each) => each >= least) ?? STEPS.at(-1);
  const times = ticksOf(start, end, step, zone);
  const labels = timeLabels(times, step, zone);
  return times.map((value, i) => ({ value, text: labels[i] }));
}

function ticksOf(start, end, step, zone) {
  if (step >= MONTH) return calendarTicks(start, end, step, zone);
  const ticks = [];
  const shift = offsetOf(zone, start);
  for (let n = Math.ceil((start + shift) / step); n * step - shift <= end; n += 1) ticks.push(n * step - shift);
  return ticks;
}

function calendarTicks(start, end, step, zone) {
  const months = step >= YEAR ? 12 * Math.round(step / YEAR) : Math.round(step / MONTH);
  const first = new Date(1000 * start);
  const ticks = [];
  let month = Math.floor((12 * first.getUTCFullYear()) / months) * months;
  for (let t = -Infinity; t <= end; month += months) {
    t = Date.UTC(Math.floor(month / 12), month % 12) / 1000;
    t -= offsetOf(zone, t);
    if (t >= start && t <= end) ticks.push(t);
  }
  return ticks;
}
