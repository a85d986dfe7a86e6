import assert from "node:assert/strict";
import { test } from "node:test";

import { CborSerializer } from "wampy/CborSerializer.js";

import { decode, encode } from "../cbor.js";

const other = new CborSerializer();
const bytes = (text) => Uint8Array.from(text.match(/../g), (pair) => parseInt(pair, 16));
const hex = (array) => Buffer.from(array).toString("hex");

// Appendix A of RFC 8949.
const EXAMPLES = [
  [0, "00"], [10, "0a"], [23, "17"], [24, "1818"], [100, "1864"], [1000, "1903e8"], [1000000, "1a000f4240"],
  [1000000000000, "1b000000e8d4a51000"], [18446744073709551615n, "1bffffffffffffffff"], [-1, "20"], [-10, "29"],
  [-100, "3863"], [-1000, "3903e7"], [-18446744073709551616n, "3bffffffffffffffff"], [1.1, "fb3ff199999999999a"],
  [1e300, "fb7e37e43c8800759c"], [-4.1, "fbc010666666666666"], [false, "f4"], [true, "f5"], [null, "f6"], ["", "60"],
  ["a", "6161"], ["IETF", "6449455446"], ['"\\', "62225c"], ["ü", "62c3bc"], ["水", "63e6b0b4"], ["𐅑", "64f0908591"],
  [[], "80"], [[1, [2, 3], [4, 5]], "8301820203820405"], [{}, "a0"], [{ a: 1, b: [2, 3] }, "a26161016162820203"],
  [-0, "fb8000000000000000"],
];

test("values are written and read as the standard says", () => {
  for (const [value, text] of EXAMPLES) {
    assert.equal(hex(encode(value)), text);
    assert.deepEqual(decode(bytes(text)), value);
  }
});

test("what only others write is read", () => {
  const read = [
    ["f90000", 0], ["f98000", -0], ["f93c00", 1], ["f93e00", 1.5], ["f97bff", 65504], ["f90001", 2 ** -24], ["f9c400", -4],
    ["fa47c35000", 100000], ["fa7f7fffff", 3.4028234663852886e38], ["f97c00", Infinity], ["f9fc00", -Infinity],
    ["f97e00", NaN], ["f7", undefined], ["c249010000000000000000", 2n ** 64n], ["c349010000000000000000", -(2n ** 64n) - 1n],
    ["c11a514b67b0", 1363896240], ["1b001fffffffffffff", 2 ** 53 - 1], ["1b0020000000000000", 2n ** 53n],
  ];
  for (const [text, value] of read) assert.deepEqual(decode(bytes(text)), value, text);
});

test("bytes are views of the message, and stay at their offset", () => {
  const message = encode({ values: Uint8Array.from([1, 2, 3]) });
  const { values } = decode(message);
  assert.deepEqual([...values], [1, 2, 3]);
  assert.equal(values.buffer, message.buffer);
});

test("what another encoder writes is read, and the other way round", () => {
  const long = "x".repeat(70_000);
  const message = [48, 2 ** 40, { a: null, list: Array.from({ length: 70_000 }, (_, i) => i / 7) }, "uri", [long, { ü: [true] }]];
  assert.deepEqual(decode(other.encode(message)), message);
  assert.deepEqual(other.decode(encode(message)), message);
});

test("what is undefined is left out, and no key does harm", () => {
  assert.deepEqual(decode(encode({ a: undefined, b: 1 })), { b: 1 });
  const read = decode(bytes("a1695f5f70726f746f5f5fa1616101"));
  assert.deepEqual(Object.keys(read), ["__proto__"]);
  assert.equal(read.a, undefined);
});

test("what is no message is an error", () => {
  for (const text of ["", "61", "8201", "5f42010243030405ff", "0000", "1b00"]) {
    assert.throws(() => decode(bytes(text || "  ").subarray(text ? 0 : 1)), text);
  }
});

test("an integer that would take minutes is refused", () => {
  const long = Uint8Array.from([0xc2, 0x5a, 0, 0x10, 0, 0, ...new Uint8Array(1 << 20)]);
  assert.throws(() => decode(long), /an integer of over 64 bytes/);
});
