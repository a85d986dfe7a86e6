// The samples that keep the picture, for nodes that cannot choose them (PROTOCOL.md, max_points).

export const FEWEST_POINTS = 8;
// One part in so many may show gaps.
const GAP_SHARE = 4;

/** Whether there is no number: null, NaN, infinite. */
function isMissing(value) {
  return !Number.isFinite(Number(value ?? NaN));
}

/**
 * Choose at most `maxPoints` samples: each bucket's smallest and largest, both ends, the gaps.
 * @param {TypedArray|Array} values what is not numbers (a plain array) is thinned evenly
 * @param {number} maxPoints
 * @returns {number[]} indices, ascending
 */
export function overviewIndices(values, maxPoints) {
  const count = values.length;
  if (count <= maxPoints) return Array.from({ length: count }, (_, i) => i);
  if (Array.isArray(values)) {
    return Array.from({ length: maxPoints }, (_, i) => Math.floor((i * (count - 1)) / (maxPoints - 1)));
  }
  const gaps = longestGaps(values, Math.floor(maxPoints / GAP_SHARE));
  const size = Math.ceil(count / Math.floor((maxPoints - 2 - gaps.length) / 2));
  const chosen = new Set([0, count - 1, ...gaps]);
  for (let from = 0; from < count; from += size) {
    for (const index of extremes(values, from, Math.min(from + size, count))) chosen.add(index);
  }
  return [...chosen].sort((a, b) => a - b);
}

/** Indices of the smallest and the largest value from one index to before another. */
export function extremes(values, from, to) {
  let [least, most] = [-1, -1];
  for (let i = from; i < to; i += 1) {
    if (isMissing(values[i])) continue;
    if (least < 0 || values[i] < values[least]) least = i;
    if (most < 0 || values[i] > values[most]) most = i;
  }
  return least < 0 ? [] : [least, most];
}

/** One index of each of the longest runs of missing samples: its first, or the series' last. */
function longestGaps(values, most) {
  const runs = [];
  let start = -1;
  for (let i = 0; i <= values.length; i += 1) {
    const missing = i < values.length && isMissing(values[i]);
    if (missing && start < 0) start = i;
    if (!missing && start >= 0) {
      runs.push({ length: i - start, index: i === values.length ? i - 1 : start });
      start = -1;
    }
  }
  return runs.sort((a, b) => b.length - a.length).slice(0, most).map(({ index }) => index);
}

/** Thin each series of some data. */
export function overview(data, maxPoints) {
  const thinned = Object.entries(data).map(([name, series]) => {
    const kept = overviewIndices(series.values, maxPoints);
    const take = (array) => array.constructor.from(kept, (i) => array[i]);
    return [name, { ...series, t: take(series.t), values: take(series.values) }];
  });
  return Object.fromEntries(thinned);
}
