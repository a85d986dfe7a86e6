// The CBOR serializer for wampy.

import { decode, encode } from "./cbor.js";

/** Write and read messages, as wampy's own serializers do. */
export class Serializer {
  protocol = "cbor";
  isBinary = true;

  /** @param {Function} [onMessage] called for each received message */
  constructor(onMessage = () => {}) {
    this.onMessage = onMessage;
  }

  encode(message) {
    return encode(message);
  }

  decode(bytes) {
    this.onMessage();
    return decode(bytes);
  }
}
