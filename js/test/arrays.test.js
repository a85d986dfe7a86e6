import assert from "node:assert/strict";
import { test } from "node:test";

import { apart, clip, countable, decode, decodeReply, join, joinChunks } from "../arrays.js";

const bytes = (array) => {
  // As they come: in the middle of a message, at an odd offset.
  const message = new Uint8Array(array.byteLength + 3);
  message.set(new Uint8Array(array.buffer), 3);
  return message.subarray(3);
};

/** The series of a reply that came as these chunks. */
const read = (chunks, fields) => joinChunks(chunks.map((raw) => decodeReply(raw, fields)), fields);

const TYPES = { "<f8": Float64Array, "<f4": Float32Array, "<i4": Int32Array, "<i2": Int16Array, "|i1": Int8Array, "<u4": Uint32Array, "<u2": Uint16Array, "|u1": Uint8Array };

for (const [dtype, Type] of Object.entries(TYPES)) {
  test(`bytes of ${dtype} become a ${Type.name} of the same values`, () => {
    const sent = Type.from([1, 2, 100]);
    assert.deepEqual(decode({ dtype, values: bytes(sent) }, "number"), sent);
  });
}

test("a list may hold integers that came as bigint, beside missing ones", () => {
  assert.deepEqual(decode([1, null, 2n ** 53n], "number"), Float64Array.from([1, NaN, 2 ** 53]));
});

test("64-bit integers become floats unless that would round one", () => {
  const encoded = (array, dtype) => ({ dtype, values: bytes(array) });
  const small = BigInt64Array.from([-5n, 2n ** 40n, -(2n ** 53n) + 1n]);
  assert.deepEqual(countable(decode(encoded(small, "<i8"), "number")), Float64Array.from(small, Number));
  const large = BigUint64Array.from([1n, 2n ** 64n - 1n]);
  assert.deepEqual(countable(decode(encoded(large, "<u8"), "number")), large);
  // Joined with what is missing elsewhere they can only be floats.
  assert.deepEqual(join([small, Float64Array.from([NaN])]), Float64Array.from([-5, 2 ** 40, -(2 ** 53) + 1, NaN]));
});

test("bytes of booleans become booleans", () => {
  assert.deepEqual(decode({ dtype: "|b1", values: bytes(Uint8Array.from([1, 0])) }, "bool"), [true, false]);
});

test("a missing number in a list is NaN, a missing string null", () => {
  assert.deepEqual(decode([1, null], "number"), Float64Array.from([1, NaN]));
  assert.deepEqual(decode(["a", null], "string"), ["a", null]);
});

test("an array that is not in the protocol is refused", () => {
  assert.throws(() => decode({ dtype: ">f8", values: new Uint8Array(8) }, "number"), /protocol/);
  assert.throws(() => decode("text", "number"), /protocol/);
});

test("parts of different types join as floats", () => {
  const joined = join([Int16Array.from([1]), Float64Array.from([NaN])]);
  assert.deepEqual(joined, Float64Array.from([1, NaN]));
  assert.deepEqual(join([["a"], [null]]), ["a", null]);
});

test("chunks join to one series a field, with what the node says of it", () => {
  const fields = { x: { timeline: "a", type: "number", units: "K" }, none: { timeline: "b", type: "number" } };
  const chunk = (t, x, until) => ({ data: { x, none: [] }, timeline: { a: { t, finalized_until: until } } });
  const data = read([chunk([1, 2], [10, null], 5), chunk([3], [30], null)], fields);
  assert.deepEqual(data.x.t, Float64Array.from([1, 2, 3]));
  assert.deepEqual(data.x.values, Float64Array.from([10, NaN, 30]));
  assert.equal(data.x.finalizedUntil, 5);
  assert.equal(data.x.units, "K");
  assert.equal(data.none.t.length, 0);
});

test("a reply whose lengths differ is refused", () => {
  const chunk = { data: { x: [1] }, timeline: { a: { t: [1, 2] } } };
  assert.throws(() => read([chunk], { x: { timeline: "a", type: "number" } }), /1 values for 2/);
});

test("each field follows the timeline that the chunks name", () => {
  const fields = { x: { timeline: "a", type: "number" }, y: { timeline: "a", type: "number" }, z: { timeline: "a", type: "number" } };
  const first = { data: { x: [1], y: [], z: [] }, timeline: { "a/x": { t: [1] } }, follows: { x: "a/x" } };
  const second = {
    data: { x: [2], y: [7], z: [] },
    timeline: { "a/x": { t: [2] }, "a/y": { t: [3], finalized_until: 9 } },
    follows: { x: "a/x", y: "a/y" },
  };
  const { x, y, z } = read([first, second], fields);
  assert.deepEqual([x.t, x.values], [Float64Array.from([1, 2]), Float64Array.from([1, 2])]);
  assert.deepEqual([y.t, y.values, y.finalizedUntil], [Float64Array.from([3]), Float64Array.from([7]), 9]);
  assert.equal(z.t.length, 0);
});

const ABC = { a: { timeline: "Ch 1", type: "number" }, b: { timeline: "Ch 1", type: "number" }, c: { timeline: "Ch 2", type: "number" } };

test("a reply's own timelines are trusted where they list their fields", () => {
  const reply = {
    data: { a: [1, 2], c: [3] },
    timeline: { group0: { t: [5, 6], finalized_until: 9, fields: ["a"] }, group1: { t: [7], field: "c" } },
  };
  const { a, b, c } = read([reply], ABC);
  assert.deepEqual([a.t, a.values, a.finalizedUntil], [Float64Array.from([5, 6]), Float64Array.from([1, 2]), 9]);
  assert.deepEqual([b.t.length, c.t, c.values], [0, Float64Array.from([7]), Float64Array.from([3])]);
});

test("data that no timeline is listed for is an error, never silence", () => {
  const reply = { data: { a: [1] }, timeline: { group0: { t: [5] } } };
  assert.throws(() => read([reply], ABC), (error) => error.kind === "reply" && /no timeline/.test(error.message));
});

test("fields of one timeline are asked for apart", () => {
  assert.deepEqual(apart(ABC).map(Object.keys), [["a", "c"], ["b"]]);
  assert.deepEqual(apart({}), []);
});

test("what lies beside the interval is left out", () => {
  const x = { t: Float64Array.from([1, 2, 3]), values: ["a", "b", "c"], units: "K" };
  assert.deepEqual(clip({ x }, 2, 3), { x: { t: Float64Array.from([2]), values: ["b"], units: "K" } });
  assert.equal(clip({ x }, 1, 4).x, x);
});
