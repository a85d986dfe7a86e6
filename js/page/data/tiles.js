// Cache decimated samples in tiles of 64 buckets of one field, so that no bucket is fetched twice.

import { firstFrom, join } from "../../arrays.js";
import { MIN_EXPONENT, bucketOf, decimate } from "../../grid.js";

export const TILE_BUCKETS = 64;
// Maximum number of tiles: about 60 MB, with two samples per bucket.
const MAX_TILES = 30_000;
// Seconds after which buckets that are not final are requested again.
export const OPEN_SECONDS = 10;
const DERIVE_LEVELS = 3;
const COARSER_LEVELS = 8;

/** Keep tiles by series (node, generation and field as one string), bucket size and index. */
export class Tiles {
  #tiles = new Map();

  /**
   * Return the ranges of buckets to fetch for a view, as bucket numbers [from, to); adjoining ranges are
   * joined.
   * @param {string} series
   * @param {number} w
   * @param {{ start: number, end: number }} view
   * @param {number} now in UNIX seconds; nothing later is fetched
   * @param {number} openSeconds after which buckets that are not final are requested again
   */
  missing(series, w, { start, end }, now, openSeconds = OPEN_SECONDS) {
    const ranges = [];
    const cap = bucketOf(now, w) + 1;
    for (const index of indicesOf(start, end, w)) {
      const tile = this.#get(series, w, index) ?? this.#derive(series, w, index, DERIVE_LEVELS);
      const to = Math.min((index + 1) * TILE_BUCKETS, cap);
      const from = tile ? tile.finalTo : index * TILE_BUCKETS;
      if (from >= to || (tile && now - tile.fetched < openSeconds)) continue;
      const last = ranges.at(-1);
      if (last?.[1] === from) last[1] = to;
      else ranges.push([from, to]);
    }
    return ranges;
  }

  /**
   * Keep the samples of whole buckets.
   * @param {number} from first bucket
   * @param {number} to the bucket after the last one
   * @param {{ t, values, finalTo: number }} samples decimated to w, of these buckets
   * @param {number} fetched UNIX time of the request
   */
  put(series, w, [from, to], { t, values, finalTo }, fetched) {
    const final = bucketOf(finalTo, w);
    for (let index = Math.floor(from / TILE_BUCKETS); index * TILE_BUCKETS < to; index += 1) {
      const low = index * TILE_BUCKETS;
      const end = Math.min(low + TILE_BUCKETS, to);
      const before = this.#get(series, w, index);
      // Keep final buckets: another replica may lag behind.
      const start = Math.max(low, from, before?.finalTo ?? low);
      if (start > low && !before) continue;
      const kept = before ? [cut(before, low * w, start * w)] : [];
      const own = cut({ t, values }, start * w, end * w);
      const isFinalTo = Math.max(start, Math.min(final, end));
      this.#set(series, w, index, { ...joined([...kept, own]), finalTo: isFinalTo, fetched });
    }
  }

  /**
   * Return the available samples of a view, in order.
   * @returns {{ t, values, isAny: boolean }} samples of whole tiles; coarser tiles replace missing ones;
   *   isAny: whether any tile is available
   */
  read(series, w, { start, end }) {
    const parts = [];
    let isAny = false;
    for (const index of indicesOf(start, end, w)) {
      const tile = this.#get(series, w, index);
      isAny ||= Boolean(tile);
      const part = tile ?? this.#coarser(series, w, index);
      if (part?.t.length) parts.push(part);
    }
    return { ...joined(parts), isAny };
  }

  /** Mark unfinished buckets as outdated, for series with names that begin with a prefix: events may be lost. */
  expire(prefix) {
    for (const [key, tile] of this.#tiles) if (key.startsWith(prefix)) tile.fetched = -Infinity;
  }

  /** Forget the series with names that begin with a prefix. */
  drop(prefix) {
    for (const key of [...this.#tiles.keys()]) if (key.startsWith(prefix)) this.#tiles.delete(key);
  }

  /** Forget the least recently used tiles if there are too many. */
  trim(most = MAX_TILES) {
    for (const key of this.#tiles.keys()) {
      if (this.#tiles.size <= most) return;
      this.#tiles.delete(key);
    }
  }

  #get(series, w, index) {
    const tile = this.#tiles.get(`${series}\n${w}\n${index}`);
    if (tile) this.#set(series, w, index, tile);
    return tile;
  }

  /** Set a tile, as the most recently used one. */
  #set(series, w, index, tile) {
    const key = `${series}\n${w}\n${index}`;
    this.#tiles.delete(key);
    this.#tiles.set(key, tile);
  }

  /** Make a tile from the two finer ones if these are final: decimation composes. */
  #derive(series, w, index, levels) {
    if (levels === 0 || w === 2 ** MIN_EXPONENT) return null;
    const halves = [];
    for (const half of [2 * index, 2 * index + 1]) {
      const tile = this.#get(series, w / 2, half) ?? this.#derive(series, w / 2, half, levels - 1);
      if (!tile || tile.finalTo < (half + 1) * TILE_BUCKETS) return null;
      halves.push(tile);
    }
    const { t, values } = joined(halves);
    const kept = decimate(t, values, w);
    const take = (array) => array.constructor.from(kept, (i) => array[i]);
    const tile = { t: take(t), values: take(values), finalTo: (index + 1) * TILE_BUCKETS, fetched: -Infinity };
    this.#set(series, w, index, tile);
    return tile;
  }

  #coarser(series, w, index) {
    for (let level = 1; level <= COARSER_LEVELS; level += 1) {
      const tile = this.#get(series, w * 2 ** level, Math.floor(index / 2 ** level));
      if (tile) return cut(tile, index * TILE_BUCKETS * w, (index + 1) * TILE_BUCKETS * w);
    }
    return null;
  }
}

function* indicesOf(start, end, w) {
  const size = TILE_BUCKETS * w;
  for (let index = Math.floor(start / size); index * size < end; index += 1) yield index;
}

/** Return a copy of the samples in [start, end), so that a large reply need not be kept for them. */
function cut({ t, values }, start, end) {
  const [low, high] = [firstFrom(t, start), firstFrom(t, end)];
  return { t: t.slice(low, high), values: values.slice(low, high) };
}

/** Join successive series. */
function joined(parts) {
  const some = parts.filter(({ t }) => t.length);
  return { t: join(some.map(({ t }) => t)), values: join(some.map(({ values }) => values)) };
}
