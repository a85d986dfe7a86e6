// Decode the arrays of a reply, lists or bytes with their type, into typed arrays.

import { SisockError } from "./errors.js";

/** @typedef {import("./shapes.js").TypedArray} TypedArray */

const TYPES = {
  "<f8": Float64Array,
  "<f4": Float32Array,
  "<i8": BigInt64Array,
  "<i4": Int32Array,
  "<i2": Int16Array,
  "|i1": Int8Array,
  "<u8": BigUint64Array,
  "<u4": Uint32Array,
  "<u2": Uint16Array,
  "|u1": Uint8Array,
  "|b1": Uint8Array,
};

/**
 * Decode one array of a reply.
 * @param {Array|{dtype: string, values: Uint8Array}} encoded
 * @param {string} type "number", "string" or "bool"
 * @returns {TypedArray|Array} numbers as a typed array, NaN where one is missing; others as an
 *   array with null
 */
export function decode(encoded, type) {
  if (Array.isArray(encoded)) {
    return type === "number" ? Float64Array.from(encoded, (v) => Number(v ?? NaN)) : encoded;
  }
  const Type = TYPES[encoded?.dtype];
  if (!Type || !(encoded.values instanceof Uint8Array)) {
    throw new Error(`an array of type ${encoded?.dtype} is not in the protocol`);
  }
  // Bytes may begin at any offset of a message; they are copied if a typed array cannot begin there.
  const size = Type.BYTES_PER_ELEMENT;
  const bytes = encoded.values.byteOffset % size ? encoded.values.slice() : encoded.values;
  const array = new Type(bytes.buffer, bytes.byteOffset, bytes.length / size);
  return encoded.dtype === "|b1" ? Array.from(array, Boolean) : array;
}

/** Whether an array holds 64-bit integers as bigint. */
export function isBig(array) {
  return array instanceof BigInt64Array || array instanceof BigUint64Array;
}

/**
 * Convert 64-bit integers to floats, as all arithmetic needs, unless that would round one.
 * @param {TypedArray|Array} array
 */
export function countable(array) {
  if (!isBig(array)) return array;
  const [least, most] = [BigInt(Number.MIN_SAFE_INTEGER), BigInt(Number.MAX_SAFE_INTEGER)];
  return array.every((v) => v >= least && v <= most) ? Float64Array.from(array, Number) : array;
}

/**
 * Join the parts of an array, in the order of arrival.
 * @param {(TypedArray|Array)[]} parts
 */
export function join(parts) {
  if (parts.length === 1) return parts[0];
  if (parts.some(Array.isArray)) return parts.flatMap((part) => Array.from(part));
  const Type = /** @type {any} */ (parts[0]?.constructor ?? Float64Array);
  const isOneType = parts.every((part) => part.constructor === Type);
  const Joined = isOneType ? Type : Float64Array;
  const joined = new Joined(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    joined.set(isOneType || !isBig(part) ? part : Float64Array.from(part, Number), offset);
    offset += part.length;
  }
  return joined;
}

/**
 * Decode one chunk of a reply, each of its arrays once.
 * @param {object} raw as received
 * @param {Object<string, object>} fields descriptions of the requested fields
 */
export function decodeReply(raw, fields) {
  const lines = Object.entries(raw.timeline).map(([name, line]) => [
    name,
    { t: countable(decode(line.t, "number")), finalizedUntil: line.finalized_until ?? null },
  ]);
  const asked = Object.entries(fields).filter(([name]) => hasAny(raw.data[name]));
  return {
    timelines: Object.fromEntries(lines),
    data: Object.fromEntries(asked.map(([name, { type }]) => [name, decode(raw.data[name], type)])),
    follows: followsOf(raw),
    bucket: raw.bucket ?? {},
    finalTo: raw.final_to ?? {},
    placed: raw.placed ?? [],
  };
}

/** Whether an array has samples, in either encoding; absent and empty mean the same. */
function hasAny(encoded) {
  return encoded != null && (Array.isArray(encoded) ? encoded : encoded.values)?.length !== 0;
}

/**
 * Join the decoded chunks of a reply into one series per field.
 * @param {object[]} chunks in the order of arrival
 * @param {Object<string, object>} fields descriptions of the requested fields
 * @returns {Object<string, {t: Float64Array, values, finalizedUntil: number|null}>}
 */
export function joinChunks(chunks, fields) {
  const merged = (key) => Object.assign({}, ...chunks.map((chunk) => chunk[key]));
  // A chunk names only fields of which it has samples.
  const [follows, bucket, finalTo] = ["follows", "bucket", "finalTo"].map(merged);
  const placed = new Set(chunks.flatMap((chunk) => chunk.placed));
  const times = new Map();
  /** @type {Object<string, any>} */
  const data = {};
  for (const [name, about] of Object.entries(fields)) {
    const line = follows[name] ?? about.timeline;
    if (chunks.some((chunk) => chunk.data[name]?.length && !(line in chunk.timelines))) {
      throw new SisockError("reply", `${name} has data, but no timeline of the reply is its own`);
    }
    const own = chunks.filter((chunk) => line in chunk.timelines);
    const values = joinValues(own, name, line, about.type);
    // Fields of one timeline share its array of times.
    if (!times.has(line)) times.set(line, join(own.map((chunk) => chunk.timelines[line].t)));
    const t = values.length ? times.get(line) : new Float64Array(0);
    if (t.length !== values.length) {
      throw new SisockError("reply", `${name} has ${values.length} values for ${t.length} times`);
    }
    const untils = own.map((chunk) => chunk.timelines[line].finalizedUntil).filter((until) => until !== null);
    data[name] = {
      ...about,
      t,
      values,
      finalizedUntil: untils.length ? Math.min(...untils) : null,
      bucket: bucket[name] ?? null,
      finalTo: finalTo[name] ?? null,
      isPlaced: placed.has(name),
    };
  }
  return data;
}

/** Join a field's values; if it ends before others of its timeline, pad it with missing values. */
function joinValues(chunks, name, line, type) {
  if (!chunks.some((chunk) => chunk.data[name]?.length)) return new Float64Array(0);
  const missing = (count) =>
    type === "number" ? new Float64Array(count).fill(NaN) : new Array(count).fill(null);
  return countable(join(chunks.map((chunk) => chunk.data[name] ?? missing(chunk.timelines[line].t.length))));
}

/** Return the timeline of each field that a reply names, in `follows` or in its timelines as in 2019. */
function followsOf({ follows, timeline }) {
  if (follows) return follows;
  const listed = ([name, { field, fields }]) => [field ?? fields ?? []].flat().map((each) => [each, name]);
  return Object.fromEntries(Object.entries(timeline).flatMap(listed));
}

/**
 * Group fields so that no two of a group share a timeline. Nodes of 2018 send the times of one field
 * for all of a timeline, so a common reply does not tell which sample a field lacks.
 * @param {Object<string, object>} fields description of each
 * @returns {Object<string, object>[]}
 */
export function apart(fields) {
  const groups = [];
  for (const [name, about] of Object.entries(fields)) {
    const isFree = (group) => Object.values(group).every(({ timeline }) => timeline !== about.timeline);
    let group = groups.find(isFree);
    if (!group) groups.push((group = {}));
    group[name] = about;
  }
  return groups;
}

/** Keep the samples of a half-open interval: some nodes send more. */
export function clip(data, start, end) {
  const clipped = Object.entries(data).map(([name, series]) => {
    const [low, high] = [firstFrom(series.t, start), firstFrom(series.t, end)];
    if (high - low === series.t.length) return [name, series];
    return [name, { ...series, t: series.t.slice(low, high), values: series.values.slice(low, high) }];
  });
  return Object.fromEntries(clipped);
}

/** Return the index of the first of ascending times at or after `time`. */
export function firstFrom(t, time) {
  let [low, high] = [0, t.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (t[middle] < time) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Return the index of the first of strictly ascending times after `time`. */
export function firstAfter(t, time) {
  const index = firstFrom(t, time);
  return t[index] === time ? index + 1 : index;
}

/** Return the last sample with a value of each field that has one. */
export function lastOf(data) {
  /** @type {Object<string, any>} */
  const found = {};
  for (const [name, { t, values, ...about }] of Object.entries(data)) {
    let i = t.length - 1;
    while (i >= 0 && isMissing(values[i])) i -= 1;
    if (i >= 0) found[name] = { ...about, t: t[i], value: values[i] };
  }
  return found;
}

/**
 * Split a batch into single samples.
 * @param {any} batch
 */
export function samplesOf({ timeline, t, values }) {
  const valueAt = (i) => ([name, array]) => [name, isMissing(array[i]) ? null : array[i]];
  return Array.from(t, (time, i) => ({ t: time, timeline, values: Object.fromEntries(Object.entries(values).map(valueAt(i))) }));
}

function isMissing(value) {
  return value === null || Number.isNaN(value);
}
