// An array that grows at its end.

import { isBig } from "../../arrays.js";

/** Hold an array that grows in steps, so that adding a sample seldom copies the others. */
export class Growing {
  /** @param {TypedArray|Array} initial floats are used without a copy, and never changed */
  constructor(initial) {
    this.length = initial.length;
    // 64-bit integers that a float would round stay bigint.
    this.isTyped = !Array.isArray(initial) && !isBig(initial);
    if (!this.isTyped) this.buffer = [...initial];
    else this.buffer = initial instanceof Float64Array ? initial : Float64Array.from(initial);
  }

  /** Add values at the end. */
  append(values) {
    const length = this.length + values.length;
    if (!this.isTyped) for (const value of values) this.buffer.push(value);
    else {
      if (length > this.buffer.length) {
        const larger = new Float64Array(Math.max(64, length * 2));
        larger.set(this.buffer.subarray(0, this.length));
        this.buffer = larger;
      }
      const isReady = values instanceof Float64Array;
      this.buffer.set(isReady ? values : Array.from(values, (v) => (v === null ? NaN : Number(v))), this.length);
    }
    this.length = length;
  }

  get array() {
    return this.isTyped ? this.buffer.subarray(0, this.length) : this.buffer;
  }
}
