// Compute what a panel shows, from its state and its curves: fields, axes, lines and lanes.

import { axisRange, statisticsOf, tickScale, withEdges } from "./axes.js";
import { colourOf } from "./colours.js";
import { kindOf } from "./lanes.js";
import { limitsOf } from "./limits.js";
import { scaledUnit } from "./units.js";

export const MAX_AXES = 2;

/**
 * Compute what a panel shows.
 * @param {import("../state.js").Panel} panel
 * @param {Map<string, Curve>} curves by key
 * @param {{ start: number, end: number }} range
 * @returns {{ fields: object[], units: object[], lines: object[], lanes: object[] }} fields for the legend; units,
 *   for each axis { unit, text, factor, range, isLog, isKnown, scale }, isKnown: whether anything determines its range,
 *   scale from `tickScale`; lines and lanes to draw
 */
export function figureOf({ fields, axes = {} }, curves, range) {
  const all = fields
    .map((shown, i) => ({ shown, curve: curves.get(shown.key), name: shown.label ?? shown.key, colour: colourOf(shown, i) }))
    .filter(({ curve }) => curve)
    .map((field) => ({ ...field, ...describe(field.curve, range) }));
  const seen = all.filter(({ shown, kind }) => kind && !shown.isHidden);
  const lines = seen.filter(({ kind }) => kind === "number");
  // A hidden curve keeps its axis, so that nothing jumps when it reappears.
  const names = [...new Set(all.filter(({ kind }) => kind === "number").map(({ unit }) => unit))].slice(0, MAX_AXES);
  const units = names.map((unit) => axisOf(unit, lines.filter((line) => line.unit === unit), range, axes[unit]));
  // Beside another axis, one without a unit is named by its field.
  const nameless = units.length > 1 ? units.find(({ scale }) => !scale.text) : null;
  if (nameless) nameless.scale.text = nameOf(lines.filter(({ unit }) => unit === nameless.unit));
  const ofUnit = new Map(units.map((each) => [each.unit, each]));
  for (const field of all) Object.assign(field, { factor: 1, text: field.unit ?? "" }, pick(ofUnit.get(field.unit)));
  return { fields: all, units, lines, lanes: seen.filter(({ kind }) => kind !== "number") };
}

/** Return the unit of a curve with an axis; null if it is drawn in a lane, or not known yet. */
export function unitOf(curve) {
  return curve?.about && kindOf(curve.about) === "number" ? (curve.about.units ?? "") : null;
}

function describe(curve, range) {
  const kind = curve.about ? kindOf(curve.about) : null;
  return { kind, unit: unitOf(curve), statistics: kind ? statisticsOf(curve, range) : null };
}

function axisOf(unit, lines, span, axis = {}) {
  const drawn = lines.map(({ statistics, curve }) => withEdges(statistics, curve, span)).filter(({ low, high }) => low <= high);
  const extents = drawn.length ? drawn : [ofLimits(lines)];
  const range = axisRange(extents, axis);
  const largest = Math.max(...range.map(Math.abs));
  const isLog = Boolean(axis.isLog);
  const isKnown = [axis.low, axis.high].some(Number.isFinite) || extents.some(({ low, high }) => low <= high);
  return { unit, range, isLog, isKnown, ...scaledUnit(unit, largest), scale: tickScale(unit, range, isLog) };
}

/** Return the extent of an axis without values: the limits of its curves. */
function ofLimits(lines) {
  const limits = limitsOf(lines.map(({ curve }) => curve)) ?? {};
  const ends = Object.values(limits).flatMap((pair) => pair ?? []).filter((end) => end !== null);
  return { low: Math.min(...ends), high: Math.max(...ends), lowPositive: Math.min(...ends.filter((end) => end > 0)) };
}

function nameOf(lines) {
  return lines.length === 1 ? lines[0].name.split("::").at(-1) : "no unit";
}

function pick(axis) {
  return axis && { factor: axis.factor, text: axis.text };
}
