// Arrange values: their order, and the number and size of columns.

// In ems: the height of a row, the width of a column, and the space between columns.
const [ROW, COLUMN, SPACE] = [1.9, 28, 1.5];
// Rows that a column's head takes.
const HEAD = 1;
const LEVELS = { alarm: 0, warning: 1, gone: 2, stale: 3, "": 4 };

/** Available orders: name → text. */
export const ORDERS = { given: "as selected", name: "name", level: "most urgent first", value: "value", age: "age" };

/**
 * Sort rows; equal ones keep their order.
 * @param {{ key: string, level: string, value: any, t: number|null }[]} rows
 * @param {keyof typeof ORDERS} order
 */
export function inOrder(rows, order) {
  const compare = {
    name: (a, b) => a.key.localeCompare(b.key, "en", { numeric: true }),
    level: (a, b) => LEVELS[a.level] - LEVELS[b.level],
    value: (a, b) => compareValues(a.value, b.value),
    age: (a, b) => (b.t ?? -Infinity) - (a.t ?? -Infinity),
  }[order];
  return compare ? rows.toSorted(compare) : rows;
}

/**
 * Return the columns and the font size with which rows fill a screen.
 * @param {number} count of rows
 * @param {number} width of the screen in pixels
 * @param {number} height
 * @param {number} [least] minimum font size in pixels; if even then not all rows fit, the page scrolls
 * @returns {{ columns: number, size: number }}
 */
export function fill(count, width, height, least = 12) {
  let best = { columns: 1, size: 0 };
  for (let columns = 1; columns <= Math.max(count, 1); columns += 1) {
    const rows = Math.ceil(count / columns) + HEAD;
    const size = Math.min(height / (rows * ROW), width / (columns * COLUMN + (columns - 1) * SPACE));
    if (size > best.size) best = { columns, size };
  }
  return best.size >= least ? best : { columns: columnsWithin(width, least), size: least };
}

/** Return how many columns fit at a font size. */
export function columnsWithin(width, size) {
  return Math.max(Math.floor((width / size + SPACE) / (COLUMN + SPACE)), 1);
}

/** Compare values: numbers by size, then texts, then missing values. */
function compareValues(a, b) {
  const rank = (value) => (value === null || Number.isNaN(value) ? 2 : typeof value === "string" ? 1 : 0);
  if (rank(a) !== rank(b)) return rank(a) - rank(b);
  return rank(a) === 2 || a === b ? 0 : a < b ? -1 : 1;
}
