// Room for the digits at the axes.

// Width of a digit in parts of the font's size; and pixels for tick and gap.
const DIGIT = 0.62;
const BESIDE_LABEL = 16;

/** Return the pixels that an axis of values needs beside the chart. */
export function widthOf(labels, fontSize) {
  const longest = Math.max(...(labels ?? []).map((label) => String(label).length), 3);
  return Math.ceil(longest * fontSize * DIGIT + BESIDE_LABEL);
}
