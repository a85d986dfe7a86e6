// Units with SI prefixes (mK, kPa, µV), and values with the digits that are worth showing.

const PREFIXES = { "-12": "p", "-9": "n", "-6": "µ", "-3": "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T" };
const EXPONENTS = { p: -12, n: -9, "µ": -6, "μ": -6, u: -6, m: -3, k: 3, M: 6, G: 9, T: 12 };
// Others, as °C, %, dB, hPa or min, take none; C and F, which are seldom coulomb and farad, none either.
const BASES = "K Pa V A W Hz m s g J N T H S Ω Ohm Bq bar eV Jy B L l mol rad lm lx Wb cd".split(" ");
// Nobody says kiloseconds.
const SMALL_ONLY = ["s", "min"];
// With a prefix they do.
const PREFIXED = [...BASES, "C", "F"];
const DIGITS = 8;
// From here on values are written with an exponent, at an axis earlier.
const [MIN_PLAIN, MAX_PLAIN, MAX_AXIS, MAX_LABEL] = [1e-4, 1e12, 1e7, 9];
// Values that a range is told apart into.
const PARTS = 100;

/**
 * Return how values of a unit are written, if the largest of them is this.
 * @param {string} unit as the node says
 * @param {number} largest absolute value
 * @returns {{ text: string, factor: number }} the unit with its prefix, and what a value is multiplied with
 */
export function scaledUnit(unit, largest) {
  const found = split(unit);
  if (!found || !(largest > 0) || !Number.isFinite(largest)) return { text: unit, factor: 1 };
  const { base, rest, exponent } = found;
  const size = Math.log10(largest) + exponent;
  let to = size >= -1 && size < 3 ? 0 : 3 * Math.floor(size / 3 + 1e-9);
  to = Math.min(Math.max(to, -12), SMALL_ONLY.includes(base) ? 0 : 12);
  // What is well written as the node says stays so.
  if (largest >= 0.1 && largest < 1000) to = exponent;
  return { text: PREFIXES[to] + base + rest, factor: 10 ** (exponent - to) };
}

/**
 * Write a number.
 * @param {number} value
 * @param {number} [factor] of its unit
 * @param {number|null} [precision] digits after the point that the node names, of the value as it is
 * @param {number} [digits] in all, if it names none
 */
export function numberText(value, factor = 1, precision = null, digits = DIGITS) {
  if (value === null || Number.isNaN(value)) return "";
  const scaled = Number(value) * factor;
  if (!Number.isFinite(scaled)) return String(scaled);
  const size = Math.abs(scaled);
  if (precision !== null) {
    const decimals = Math.min(Math.max(precision - Math.round(Math.log10(factor)), 0), 100);
    if (size && size < MIN_PLAIN && decimals >= DIGITS) return scaled.toExponential(Math.max(decimals + Math.floor(Math.log10(size)), 0));
    const text = scaled.toFixed(decimals);
    return Number(text) ? text : text.replace("-", "");
  }
  if (Number.isInteger(scaled) && size < MAX_PLAIN) return String(scaled);
  if (size && (size < MIN_PLAIN || size >= MAX_PLAIN)) return String(Number(scaled.toPrecision(digits)).toExponential());
  return String(Number(scaled.toPrecision(digits)));
}

/** Return a value as a person reads it, by the labels or the precision that the node names. */
export function valueText(value, about, factor = 1, digits = DIGITS) {
  // Of booleans both are in use: true, and 1.
  const label = about?.labels?.[String(value)] ?? (typeof value === "boolean" ? about?.labels?.[Number(value)] : null);
  if (typeof label === "string") return label;
  if (typeof value === "bigint") return String(value);
  if (typeof value !== "number") return value === null || value === undefined ? "" : String(value);
  return numberText(value, factor, about?.precision ?? null, digits);
}

/** Return how many digits after the point values of a range are worth; null if it is no range. */
export function precisionFor(low, high) {
  return high > low ? Math.ceil(-Math.log10((high - low) / PARTS)) : null;
}

/** Return the labels of an axis, all with as many digits as tell them apart, and all with the same exponent if any. */
export function axisLabels(values, step, factor) {
  const scaled = values.map((value) => value * factor);
  const largest = Math.max(...scaled.map(Math.abs));
  const plain = scaled.map((value) => value.toFixed(digitsOf(step * factor)));
  if (!(largest > 0) || (largest < MAX_AXIS && plain.every((label) => label.length <= MAX_LABEL))) return plain;
  const power = Math.floor(Math.log10(largest));
  const digits = digitsOf((step * factor) / 10 ** power);
  return scaled.map((value) => (value ? `${(value / 10 ** power).toFixed(digits)}e${power}` : "0"));
}

/** Return the label of a tick of a logarithmic axis. */
export function decadeLabel(value, factor) {
  const scaled = Number((value * factor).toPrecision(DIGITS));
  return scaled >= 1e-3 && scaled < 1e5 ? String(scaled) : scaled.toExponential().replace("+", "");
}

/** Return how many digits after the point a step has: 2 for 0.25. */
function digitsOf(step) {
  let digits = 0;
  for (let scaled = step; digits < 12 && Math.abs(scaled - Math.round(scaled)) > 1e-6 * scaled; scaled *= 10) digits += 1;
  return digits;
}

/** Split a unit that takes prefixes: { base, rest, exponent }. */
function split(unit) {
  const [, head, rest] = /^([^/·* ]+)(.*)$/.exec(unit) ?? [];
  if (!head || /^[²³^]/.test(rest)) return null;
  if (head === "bytes") return { base: "B", rest, exponent: 0 };
  if (BASES.includes(head)) return { base: head, rest, exponent: 0 };
  const [prefix, base] = [head[0], head.slice(1)];
  const isPrefixed = prefix in EXPONENTS && PREFIXED.includes(base);
  return isPrefixed ? { base, rest, exponent: EXPONENTS[prefix] } : null;
}
