// Decimation on the time grid of the protocol: the twin of sisock/wire/grid.py. Buckets are
// [i·w, (i+1)·w) for whole i, where w is a power of two, in seconds.

export const MIN_EXPONENT = -20;
export const MAX_EXPONENT = 40;
export const MIN_POINTS = 8;

/** Return the number of the bucket that contains a time; exact, as w is a power of two. */
export function bucketOf(t, w) {
  return Math.floor(t / w);
}

/**
 * Return the smallest w for which two samples per bucket from `first` to `last`, plus two, are at
 * most `maxPoints`.
 */
export function bucketSizeFor(first, last, maxPoints) {
  let w = 2 ** MIN_EXPONENT;
  const isTooMany = () => 2 * (bucketOf(last, w) - bucketOf(first, w) + 1) + 2 > maxPoints;
  while (w < 2 ** MAX_EXPONENT && isTooMany()) w *= 2;
  return w;
}

/** Return the indices at which a new bucket starts, followed by the number of samples. */
export function edges(t, w) {
  const starts = [];
  let bucket = NaN;
  for (let i = 0; i < t.length; i += 1) {
    const own = bucketOf(t[i], w);
    if (own !== bucket) starts.push(i);
    bucket = own;
  }
  starts.push(t.length);
  return starts;
}

/**
 * Return the indices of the samples to keep: the smallest and the largest of each bucket, or for
 * strings the first and the first different one.
 * @param {import("./shapes.js").TypedArray|Array} values
 * @param {number[]} starts from `edges`
 */
export function keep(values, starts) {
  const keepBucket = isText(values) ? keepText : extremes;
  const kept = [];
  for (let k = 0; k + 1 < starts.length; k += 1) {
    const [from, to] = [starts[k], starts[k + 1]];
    const [first, second] = keepBucket(values, from, to);
    if (first === undefined) kept.push(from);
    else if (first === second) kept.push(first);
    else kept.push(Math.min(first, second), Math.max(first, second));
  }
  return kept;
}

/** Return the indices of a series' samples to keep. */
export function decimate(t, values, w) {
  return keep(values, edges(t, w));
}

/**
 * Choose at most `maxPoints` samples, including both ends.
 * @returns {{ kept: number[], w: number|null }} indices, and the bucket size; null for all samples
 */
export function decimateTo(t, values, maxPoints) {
  const count = t.length;
  if (count <= maxPoints) return { kept: Array.from({ length: count }, (_, i) => i), w: null };
  const w = bucketSizeFor(t[0], t[count - 1], maxPoints);
  const kept = decimate(t, values, w);
  if (kept[0] !== 0) kept.unshift(0);
  if (kept[kept.length - 1] !== count - 1) kept.push(count - 1);
  return { kept, w };
}

/** Return the indices of the smallest and the largest value before `to`; nothing if all are missing. */
export function extremes(values, from, to) {
  let [least, most] = [-1, -1];
  for (let i = from; i < to; i += 1) {
    if (isMissing(values[i])) continue;
    if (least < 0 || values[i] < values[least]) least = i;
    if (most < 0 || values[i] > values[most]) most = i;
  }
  return least < 0 ? [] : [least, most];
}

function keepText(values, from, to) {
  let isAnyPresent = false;
  let different = -1;
  for (let i = from; i < to && different < 0; i += 1) {
    isAnyPresent ||= values[i] !== null;
    if (values[i] !== values[from]) different = i;
  }
  if (different >= 0) return [from, different];
  return isAnyPresent ? [from, to - 1] : [];
}

function isText(values) {
  return Array.isArray(values) && typeof values.find((value) => value !== null) === "string";
}

function isMissing(value) {
  return value === null || !Number.isFinite(Number(value));
}
