// CBOR (RFC 8949), as far as the router uses it: everything except indefinite lengths.

const [UNSIGNED, NEGATIVE, BYTES, TEXT, ARRAY, MAP, TAG, SIMPLE] = [0, 1, 2, 3, 4, 5, 6, 7];
const [FALSE, TRUE, NULL] = [0xf4, 0xf5, 0xf6];
const FLOAT64 = 0xfb;
// Number of bytes after the additional information 24 to 27.
const SIZES = [1, 2, 4, 8];
const FIRST_SIZE = 24;
const [BIG, BIG_NEGATIVE] = [2, 3];
const SHORT_TEXT = 32;
// Bytes; making an integer of a megabyte would take minutes.
const MAX_INTEGER = 64;
const utf8 = { encoder: new TextEncoder(), decoder: new TextDecoder() };

/**
 * Write a value: null, booleans, numbers, bigint, texts, Uint8Array, arrays, and objects, without undefined members.
 * @param {any} value
 * @returns {Uint8Array}
 */
export function encode(value) {
  const writer = new Writer();
  writer.write(value);
  return writer.bytes.subarray(0, writer.length);
}

/**
 * Read a value. Byte strings are views of the message; integers beyond 2^53 are bigint.
 * @param {ArrayBuffer|Uint8Array} message
 * @returns {any}
 */
export function decode(message) {
  const bytes = message instanceof Uint8Array ? message : new Uint8Array(message);
  const reader = new Reader(bytes);
  const value = reader.read();
  if (reader.at !== bytes.length) throw new Error("a message goes on after its end");
  return value;
}

class Writer {
  bytes = new Uint8Array(1024);
  length = 0;

  write(value) {
    if (value === null || value === undefined) this.#byte(NULL);
    else if (typeof value === "boolean") this.#byte(value ? TRUE : FALSE);
    else if (typeof value === "bigint" || Number.isSafeInteger(value)) this.#integer(value);
    else if (typeof value === "number") this.#float(value);
    else if (typeof value === "string") this.#string(TEXT, utf8.encoder.encode(value));
    else if (value instanceof Uint8Array) this.#string(BYTES, value);
    else if (Array.isArray(value)) this.#array(value);
    else this.#object(value);
  }

  #integer(value) {
    // Minus zero has to be a float.
    if (Object.is(value, -0)) this.#float(value);
    else if (value >= 0) this.#head(UNSIGNED, value);
    else this.#head(NEGATIVE, typeof value === "bigint" ? -1n - value : -1 - value);
  }

  #array(values) {
    this.#head(ARRAY, values.length);
    for (const value of values) this.write(value);
  }

  #object(value) {
    const entries = Object.entries(value).filter(([, each]) => each !== undefined);
    this.#head(MAP, entries.length);
    for (const [key, each] of entries) {
      this.write(key);
      this.write(each);
    }
  }

  #float(value) {
    this.#byte(FLOAT64);
    this.#view(8).setFloat64(0, value);
  }

  #string(major, bytes) {
    this.#head(major, bytes.length);
    this.#room(bytes.length);
    this.bytes.set(bytes, this.length);
    this.length += bytes.length;
  }

  #head(major, value) {
    const first = major << 5;
    if (value < FIRST_SIZE) return this.#byte(first | Number(value));
    const size = value < 2 ** 8 ? 0 : value < 2 ** 16 ? 1 : value < 2 ** 32 ? 2 : 3;
    this.#byte(first | (FIRST_SIZE + size));
    const view = this.#view(SIZES[size]);
    if (size === 3) view.setBigUint64(0, BigInt(value));
    else if (size === 2) view.setUint32(0, Number(value));
    else if (size === 1) view.setUint16(0, Number(value));
    else view.setUint8(0, Number(value));
  }

  #byte(value) {
    this.#room(1);
    this.bytes[this.length++] = value;
  }

  #view(size) {
    this.#room(size);
    this.length += size;
    return new DataView(this.bytes.buffer, this.length - size, size);
  }

  #room(size) {
    if (this.length + size <= this.bytes.length) return;
    const larger = new Uint8Array(2 * (this.length + size));
    larger.set(this.bytes.subarray(0, this.length));
    this.bytes = larger;
  }
}

class Reader {
  at = 0;
  #bytes;
  #view;

  constructor(bytes) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  read() {
    const first = this.#view.getUint8(this.at++);
    const [major, info] = [first >> 5, first & 31];
    if (major === SIMPLE) return this.#simple(info);
    const value = this.#argument(info);
    if (major === UNSIGNED) return value;
    if (major === NEGATIVE) return typeof value === "bigint" || value === Number.MAX_SAFE_INTEGER ? -1n - BigInt(value) : -1 - value;
    if (major === BYTES) return this.#take(value);
    if (major === TEXT) return this.#text(value);
    if (major === TAG) return this.#tagged(value);
    return major === ARRAY ? this.#array(value) : this.#map(value);
  }

  /** Read the number after a first byte; a bigint if a Number cannot hold it. */
  #argument(info) {
    if (info < FIRST_SIZE) return info;
    const at = this.at;
    const size = SIZES[info - FIRST_SIZE];
    if (!size) throw new Error("a message has a length that is not said before");
    this.at += size;
    if (size === 1) return this.#view.getUint8(at);
    if (size === 2) return this.#view.getUint16(at);
    if (size === 4) return this.#view.getUint32(at);
    const value = this.#view.getBigUint64(at);
    return value <= Number.MAX_SAFE_INTEGER ? Number(value) : value;
  }

  #simple(info) {
    const at = this.at;
    if (info === 27) this.at += 8;
    if (info === 27) return this.#view.getFloat64(at);
    if (info < FIRST_SIZE) return info === 20 ? false : info === 21 ? true : info === 22 ? null : undefined;
    this.at += SIZES[info - FIRST_SIZE];
    if (info === 26) return this.#view.getFloat32(at);
    return info === 25 ? half(this.#view.getUint16(at)) : undefined;
  }

  #take(length) {
    const end = this.at + Number(length);
    if (end > this.#bytes.length) throw new Error("a message ends too early");
    const taken = this.#bytes.subarray(this.at, end);
    this.at = end;
    return taken;
  }

  #text(length) {
    const bytes = this.#take(length);
    // Most texts are short names, for which starting a TextDecoder costs more than decoding.
    if (length > SHORT_TEXT) return utf8.decoder.decode(bytes);
    let text = "";
    for (const byte of bytes) {
      if (byte > 127) return utf8.decoder.decode(bytes);
      text += String.fromCharCode(byte);
    }
    return text;
  }

  #array(length) {
    const values = [];
    for (let i = 0; i < length; i += 1) values.push(this.read());
    return values;
  }

  #map(length) {
    const entries = [];
    for (let i = 0; i < length; i += 1) entries.push([this.read(), this.read()]);
    return Object.fromEntries(entries);
  }

  #tagged(tag) {
    const value = this.read();
    if (tag !== BIG && tag !== BIG_NEGATIVE) return value;
    if (!(value.length <= MAX_INTEGER)) throw new Error(`a message has an integer of over ${MAX_INTEGER} bytes`);
    const whole = value.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
    return tag === BIG ? whole : -1n - whole;
  }
}

/** Decode a 16-bit float. */
function half(bits) {
  const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
  const size =
    exponent === 31 ? (fraction ? NaN : Infinity) : exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24;
  return bits >> 15 ? -size : size;
}
