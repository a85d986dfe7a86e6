// What wampy sends, as the router takes it.

import { CborSerializer } from "wampy/CborSerializer.js";

/**
 * CBOR without two things for which the router hangs up: wampy's encoder writes integers from 2³² on
 * as floats, ids among them, and an option that is not given as CBOR's undefined.
 */
export class Serializer extends CborSerializer {
  /** @param {Function} [onMessage] called whenever anything has come */
  constructor(onMessage = () => {}) {
    super();
    this.onMessage = onMessage;
  }

  decode(bytes) {
    this.onMessage();
    return super.decode(bytes);
  }

  encode(message) {
    return super.encode(plain(message));
  }
}

function plain(value) {
  if (Number.isSafeInteger(value) && Math.abs(value) >= 2 ** 32) return BigInt(value);
  if (Array.isArray(value)) return value.map(plain);
  if (value?.constructor !== Object) return value;
  const given = Object.entries(value).filter(([, each]) => each !== undefined);
  return Object.fromEntries(given.map(([key, each]) => [key, plain(each)]));
}
