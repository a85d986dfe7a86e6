// Choose what a first visit shows: something that moves, or else the newest samples.

import { boundsOf, timeToGo } from "./bounds.js";

const MOST = 3;
// Maximum spacing in seconds at which users see a curve move.
const MOVING_SECONDS = 60;
// Spans of the first view, so that a curve that has just begun is more than a strip.
const SPANS = [60, 300, 600];
const SPAN = SPANS.at(-1);

/**
 * Choose fields for a first visit.
 * @param {import("./nodes.js").Node[]} nodes
 * @param {number} now
 * @returns {{ keys: string[], time: import("../state.js").Time, isMoving: boolean }|null} null if no field is known
 */
export function chooseFirst(nodes, now) {
  const known = nodes.flatMap(({ name, features, fields, askedAt }) =>
    Object.entries(fields ?? {})
      .filter(([, about]) => about.type === "number")
      .map(([field, about]) => ({ key: `${name}::${field}`, name, about, isLive: features.includes("live"), bounds: boundsOf(about, askedAt) })),
  );
  const moving = known.filter(({ bounds, isLive, about }) => isLive && bounds?.isNow && (about.interval ?? 0) <= MOVING_SECONDS);
  if (moving.length) {
    const chosen = unlike(moving.filter(({ name }) => name === moving[0].name));
    const age = now - Math.min(...chosen.map(({ bounds }) => bounds.first ?? 0));
    const span = SPANS.find((each) => age <= each) ?? SPAN;
    return { keys: chosen.map(({ key }) => key), time: { span, offset: 0 }, isMoving: true };
  }
  const [newest] = known.filter(({ bounds }) => bounds).sort((a, b) => endOf(b.bounds, now) - endOf(a.bounds, now));
  if (newest) return { keys: [newest.key], time: timeToGo(newest.bounds, now), isMoving: false };
  return known.length ? { keys: [known[0].key], time: { span: SPAN, offset: 0 }, isMoving: false } : null;
}

/** Return the first fields of different units. */
function unlike(found) {
  const units = new Set();
  const some = found.filter(({ about }) => !units.has(about.units) && units.add(about.units));
  return some.slice(0, MOST);
}

function endOf({ last, isNow }, now) {
  return isNow || last === null ? now : last;
}
