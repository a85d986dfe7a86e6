// Keep track of requests for buckets under way, so that no bucket is requested twice.

import { bucketOf } from "../../grid.js";
import { OPEN_SECONDS } from "./tiles.js";

/** Keep the unanswered requests. */
export class Pending {
  #requests = new Set();

  /**
   * Make a request.
   * @param {{ curves: object[], w: number, range: [number, number] }} request range in buckets
   * @param {number} asked in UNIX seconds
   * @param {function(object): Promise} fetch called with the request, its `signal` and `asked`; resolves once its samples are kept
   */
  add({ curves, ...request }, asked, fetch) {
    const abort = new AbortController();
    const own = { ...request, curves, series: curves.map(({ tiled }) => tiled), asked, abort, signal: abort.signal };
    this.#requests.add(own);
    own.done = fetch(own).finally(() => this.#requests.delete(own));
  }

  /** Wait for the requests that will bring wanted buckets; return false if there are none. */
  async wait(wanted) {
    const some = this.#some((request) => wanted.some((each) => brings(request, each)));
    // A request that fails because of an unwanted field can be repeated without it.
    const isOwn = ({ curves }) => curves.every((own) => wanted.some(({ curve }) => curve === own));
    await Promise.all(some.map((request) => (isOwn(request) ? request.done : request.done.catch(() => {}))));
    return some.length > 0;
  }

  /**
   * Return the wanted ranges of a curve, without those under way.
   * @param {{ curve: object, w: number, ranges: [number, number][] }} wanted
   * @param {number} now in UNIX seconds
   */
  without(wanted, now) {
    let { ranges } = wanted;
    for (const { range: [first, last], w, asked } of this.#some((request) => brings(request, wanted))) {
      // Buckets after the time of the request are not missing, just as in a tile that was just fetched.
      const isRecent = last > bucketOf(asked, w) && now - asked < OPEN_SECONDS;
      const after = isRecent ? Infinity : last;
      ranges = ranges.flatMap(([from, to]) => [[from, Math.min(to, first)], [Math.max(from, after), to]]).filter(([from, to]) => from < to);
    }
    return { ...wanted, ranges };
  }

  /** Cancel requests that will not bring wanted buckets. */
  keep(wanted) {
    for (const { abort } of this.#some((request) => !wanted.some((each) => brings(request, each)))) abort.abort();
  }

  /** Request unfinished buckets again, of the series with names that begin with a prefix. */
  expire(prefix) {
    for (const request of this.#some(({ series }) => series.some((each) => `${each}\n`.startsWith(prefix)))) request.asked = -Infinity;
  }

  #some(condition) {
    return [...this.#requests].filter(condition);
  }
}

function brings({ curves, series, w, range: [first, last], signal }, { curve, w: wanted, ranges }) {
  const isOwn = !signal.aborted && w === wanted && series[curves.indexOf(curve)] === curve.tiled;
  return isOwn && ranges.some(([from, to]) => from < last && to > first);
}
