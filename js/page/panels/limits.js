// Limits: bands behind the curves, and the curve marked where it is beyond them.

// The stronger one is drawn last.
const KINDS = ["warning", "alarm"];
const TINT = 0.13;
const MARK_WIDTH = 2.5;

/**
 * Return the limits that an axis shows: those of its curves, if no two of them disagree.
 * @param {Curve[]} curves of the axis
 * @returns {{ warning: [number|null, number|null]|null, alarm: [number|null, number|null]|null }|null}
 */
export function limitsOf(curves) {
  const all = curves.map(({ about }) => about?.limits).filter((limits) => limits?.warning || limits?.alarm);
  const isSame = all.every((limits) => JSON.stringify(limits) === JSON.stringify(all[0]));
  return all.length && isSame ? all[0] : null;
}

/** Return which limit a value is beyond: "alarm", "warning" or "". */
export function levelOf(value, limits) {
  if (typeof value !== "number") return "";
  return KINDS.findLast((kind) => limits?.[kind] && partsOf(limits[kind]).some(([low, high]) => value > low && value < high)) ?? "";
}

/** Fill the bands of an axis into a box of the canvas. */
export function drawBands(ctx, limits, toY, { left, top, width, height }, colours) {
  ctx.save();
  ctx.globalAlpha = TINT;
  for (const [kind, high, low] of areas(limits, toY, top, height)) {
    ctx.fillStyle = colours.get(kind);
    ctx.fillRect(left, high, width, low - high);
  }
  ctx.restore();
}

/** Stroke a path again in the limit's colour, where it is beyond. */
export function drawMarks(ctx, limits, toY, { left, top, width, height }, colours, stroke, ratio) {
  for (const [kind, high, low] of areas(limits, toY, top, height)) {
    ctx.save();
    ctx.beginPath();
    ctx.rect(left, high, width, low - high);
    ctx.clip();
    stroke(colours.get(kind), MARK_WIDTH * ratio);
    ctx.restore();
  }
}

/** Return the areas beyond limits as [kind, upper y, lower y] within the box; those of warnings end at the alarms. */
function areas(limits, toY, top, height) {
  const inBox = (y) => Math.min(Math.max(y, top), top + height);
  const y = (value) => (Number.isFinite(value) ? inBox(toY(value)) : value > 0 ? top : top + height);
  const [alarmLow, alarmHigh] = limits.alarm ?? [null, null];
  return KINDS.filter((kind) => limits[kind]).flatMap((kind) =>
    partsOf(limits[kind])
      .map(([low, high]) => {
        if (kind === "alarm") return [low, high];
        return [Math.max(low, alarmLow ?? -Infinity), Math.min(high, alarmHigh ?? Infinity)];
      })
      .map(([low, high]) => [kind, y(high), y(low)])
      .filter(([, upper, lower]) => lower > upper),
  );
}

/** Return what is beyond the ends of a range. */
function partsOf([low, high]) {
  return [...(low === null ? [] : [[-Infinity, low]]), ...(high === null ? [] : [[high, Infinity]])];
}
