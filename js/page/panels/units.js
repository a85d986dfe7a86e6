// Write units with SI prefixes (mK, kPa, µV), and values with the digits worth showing.

const PREFIXES = { "-12": "p", "-9": "n", "-6": "µ", "-3": "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T" };
const EXPONENTS = { p: -12, n: -9, "µ": -6, "μ": -6, u: -6, m: -3, k: 3, M: 6, G: 9, T: 12 };
// Units that take prefixes. Others, like °C, %, dB, hPa, mbar or min, do not; nor C and F, which seldom mean coulomb and
// farad.
const BASES = "K Pa V A W Hz m s g J N T H S Ω Ohm Bq eV Jy B L l mol rad lm lx Wb cd".split(" ");
// Units without larger prefixes: nobody uses kiloseconds.
const SMALL_ONLY = ["s", "min"];
// With a prefix, C and F mean coulomb and farad.
const PREFIXED = [...BASES, "C", "F"];
const DIGITS = 8;
// Values from here on are written with an exponent; at an axis, it begins earlier.
const [MIN_PLAIN, MAX_PLAIN, MAX_AXIS, MAX_LABEL] = [1e-4, 1e12, 1e7, 9];
// Digits after the point from which small values have an exponent instead; and digits of those after their own point.
const [MANY_DECIMALS, OF_SMALL] = [7, 2];
// Number of values in a range that have to be distinguishable.
const PARTS = 100;

/**
 * Return how to write values of a unit, given the largest of them.
 * @param {string} unit as the node writes it
 * @param {number} largest absolute value
 * @returns {{ text: string, factor: number }} the unit with its prefix, and the factor for values
 */
export function scaledUnit(unit, largest) {
  const found = split(unit);
  if (!found || !(largest > 0) || !Number.isFinite(largest)) return { text: unit, factor: 1 };
  const { base, rest, exponent } = found;
  const size = Math.log10(largest) + exponent;
  let to = size >= -1 && size < 3 ? 0 : 3 * Math.floor(size / 3 + 1e-9);
  to = Math.min(Math.max(to, -12), SMALL_ONLY.includes(base) ? 0 : 12);
  // Keep the node's unit if values are readable in it.
  if (largest >= 0.1 && largest < 1000) to = exponent;
  return { text: PREFIXES[to] + base + rest, factor: 10 ** (exponent - to) };
}

/**
 * Write a number.
 * @param {number} value
 * @param {number} [factor] of its unit
 * @param {number|null} [precision] digits after the point, named by the node for the value without a factor
 * @param {number} [digits] significant digits, if it names none
 */
export function numberText(value, factor = 1, precision = null, digits = DIGITS) {
  if (value === null || Number.isNaN(value)) return "";
  const scaled = Number(value) * factor;
  if (!Number.isFinite(scaled)) return String(scaled);
  const size = Math.abs(scaled);
  if (precision !== null) {
    const decimals = Math.min(Math.max(precision - Math.round(Math.log10(factor)), 0), 100);
    if (size && size < MIN_PLAIN && decimals >= MANY_DECIMALS) return scaled.toExponential(Math.max(decimals + Math.floor(Math.log10(size)), 0));
    const text = scaled.toFixed(decimals);
    return Number(text) ? text : text.replace("-", "");
  }
  if (Number.isInteger(scaled) && size < MAX_PLAIN) return String(scaled);
  if (size && (size < MIN_PLAIN || size >= MAX_PLAIN)) return String(Number(scaled.toPrecision(digits)).toExponential());
  return String(Number(scaled.toPrecision(digits)));
}

/** Return a value as text for people, with the node's labels or precision. */
export function valueText(value, about, factor = 1, digits = DIGITS) {
  // Labels of booleans may be keyed by true or by 1.
  const label = about?.labels?.[String(value)] ?? (typeof value === "boolean" ? about?.labels?.[Number(value)] : null);
  if (typeof label === "string") return label;
  if (typeof value === "bigint") return String(value);
  if (typeof value !== "number") return value === null || value === undefined ? "" : String(value);
  return numberText(value, factor, about?.precision ?? null, digits);
}

/** Return the texts of a column: numbers without a precision of the node's get the same digits after the point. */
export function columnTexts(values, about) {
  const texts = values.map((value) => valueText(value, about));
  const found = texts.map((text, i) => (typeof values[i] === "number" ? /^-?\d+(?:\.(\d+))?$/.exec(text) : null));
  const decimals = Math.max(0, ...found.map((parts) => parts?.[1]?.length ?? 0));
  return texts.map((text, i) => (found[i] ? Number(text).toFixed(decimals) : text));
}

/**
 * Return how many digits after the point to write of a value in a range: enough to distinguish values in it, but no more
 * than the value and the ends of the range have; null if the range is empty.
 */
export function precisionOf(value, low, high, factor) {
  if (!(high > low) || typeof value !== "number") return null;
  const enough = Math.ceil(-Math.log10((high - low) / PARTS));
  const isSmall = value && Math.max(-low, high) * factor < MIN_PLAIN;
  const most = Math.max(enough, isSmall ? OF_SMALL - Math.floor(Math.log10(Math.abs(value))) : enough);
  if (factor !== 1) return most;
  return Math.max(...[low, high, value].map((each) => decimalsOf(each, most)));
}

/** Return how many digits after the point a number has, at most `most`. */
function decimalsOf(value, most) {
  let digits = 0;
  while (digits < Math.min(most, 100) && Number(value.toFixed(digits)) !== value) digits += 1;
  return digits;
}

/** Return the labels of an axis, with just enough digits to distinguish them, and the same exponent if any. */
export function axisLabels(values, step, factor) {
  const scaled = values.map((value) => value * factor);
  const largest = Math.max(...scaled.map(Math.abs));
  const plain = scaled.map((value) => value.toFixed(digitsOf(step * factor)));
  if (!(largest > 0) || (largest >= MIN_PLAIN && largest < MAX_AXIS && plain.every((label) => label.length <= MAX_LABEL))) return plain;
  const power = Math.floor(Math.log10(largest));
  const digits = digitsOf((step * factor) / 10 ** power);
  return scaled.map((value) => (value ? `${(value / 10 ** power).toFixed(digits)}e${power}` : "0"));
}

/** Return the label of a tick of a logarithmic axis. */
export function decadeLabel(value, factor) {
  const scaled = Number((value * factor).toPrecision(DIGITS));
  return scaled >= 1e-3 && scaled < 1e5 ? String(scaled) : scaled.toExponential().replace("+", "");
}

/** Return the number of digits after the point of a step: 2 for 0.25. */
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
