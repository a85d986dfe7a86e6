// Requests for buckets that are under way: what they will bring is not asked for again.

import { bucketOf } from "../../grid.js";
import { OPEN_SECONDS } from "./tiles.js";

/** Keep the requests that have no answer yet. */
export class Pending {
  #requests = new Set();

  /**
   * Make a request.
   * @param {{ curves: object[], w: number, range: [number, number] }} request range in buckets
   * @param {number} asked in UNIX seconds
   * @param {function(object): Promise} fetch called with the request, its `signal` and `asked`; ends when its samples are kept
   */
  add({ curves, ...request }, asked, fetch) {
    const abort = new AbortController();
    const own = { ...request, curves, series: curves.map(({ tiled }) => tiled), asked, abort, signal: abort.signal };
    this.#requests.add(own);
    own.done = fetch(own).finally(() => this.#requests.delete(own));
  }

  /** Wait for those that bring something of what is wanted; return false if there are none. */
  async wait(wanted) {
    const some = this.#some((request) => wanted.some((each) => brings(request, each)));
    // What fails for the sake of a field that is not wanted any more can be asked for without it.
    const isOwn = ({ curves }) => curves.every((own) => wanted.some(({ curve }) => curve === own));
    await Promise.all(some.map((request) => (isOwn(request) ? request.done : request.done.catch(() => {}))));
    return some.length > 0;
  }

  /**
   * Return what is wanted of a curve, without what is under way.
   * @param {{ curve: object, w: number, ranges: [number, number][] }} wanted
   * @param {number} now in UNIX seconds
   */
  without(wanted, now) {
    let { ranges } = wanted;
    for (const { range: [first, last], w, asked } of this.#some((request) => brings(request, wanted))) {
      // What came after it was asked for is not missing, as in a tile that was just fetched.
      const isRecent = last > bucketOf(asked, w) && now - asked < OPEN_SECONDS;
      const after = isRecent ? Infinity : last;
      ranges = ranges.flatMap(([from, to]) => [[from, Math.min(to, first)], [Math.max(from, after), to]]).filter(([from, to]) => from < to);
    }
    return { ...wanted, ranges };
  }

  /** Give those up that bring nothing of what is wanted. */
  keep(wanted) {
    for (const { abort } of this.#some((request) => !wanted.some((each) => brings(request, each)))) abort.abort();
  }

  /** Ask for what is not final again, of the series whose name begins so. */
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
