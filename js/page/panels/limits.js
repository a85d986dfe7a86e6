// Show limits: bands behind the curves, and borders of curves beyond their limits.

// The more severe one is drawn last.
const KINDS = ["warning", "alarm"];
const [TINT, NARROW_TINT] = [0.13, 0.45];
const [BORDER_WIDTH, BORDER_ALPHA] = [6, 0.7];

/**
 * Return the limits to show at an axis: those of its curves, if they agree.
 * @param {Curve[]} curves of the axis
 * @returns {{ warning: [number|null, number|null]|null, alarm: [number|null, number|null]|null }|null}
 */
export function limitsOf(curves) {
  const all = curves.map(({ about }) => about?.limits).filter((limits) => limits?.warning || limits?.alarm);
  const isSame = all.every((limits) => JSON.stringify(limits) === JSON.stringify(all[0]));
  return all.length && isSame ? all[0] : null;
}

/**
 * @typedef {{ level: "alarm"|"warning"|null, side: "high"|"low"|null, limit: number|null }} Judgement
 *   limit: the exceeded one
 */

/**
 * Judge a value by its node's limits; a value equal to a limit is fine.
 * @param {number|boolean|string|null} value
 * @param {{ warning: number[]|null, alarm: number[]|null }} [limits] each [low, high], either null
 * @returns {Judgement}
 */
export function judge(value, limits) {
  const isNumber = typeof value !== "string" && value !== null;
  for (const level of ["alarm", "warning"]) {
    const [low, high] = limits?.[level] ?? [null, null];
    if (isNumber && high !== null && value > high) return { level, side: "high", limit: high };
    if (isNumber && low !== null && value < low) return { level, side: "low", limit: low };
  }
  return { level: null, side: null, limit: null };
}

/** Fill the bands from `bandsOf`, narrow ones with a stronger colour. */
export function drawBands(ctx, bands, { left, width }, colours, isNarrow) {
  ctx.save();
  ctx.globalAlpha = isNarrow ? NARROW_TINT : TINT;
  for (const [kind, high, low] of bands) {
    ctx.fillStyle = colours.get(kind);
    ctx.fillRect(left, high, width, low - high);
  }
  ctx.restore();
}

/** Stroke the border of a curve beyond a limit, in the limit's colour; the curve itself is drawn over it. */
export function drawBorders(ctx, limits, toY, { left, top, width, height }, colours, stroke) {
  for (const [kind, high, low] of bandsOf(limits, toY, { top, height })) {
    ctx.save();
    ctx.beginPath();
    ctx.rect(left, high, width, low - high);
    ctx.clip();
    stroke(colours.get(kind), BORDER_WIDTH, BORDER_ALPHA);
    ctx.restore();
  }
}

/** Return the bands beyond limits as [kind, upper y, lower y] within the box; warnings end at alarms. */
export function bandsOf(limits, toY, { top, height }) {
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

/** Return the parts beyond the ends of a range. */
function partsOf([low, high]) {
  return [...(low === null ? [] : [[-Infinity, low]]), ...(high === null ? [] : [[high, Infinity]])];
}
