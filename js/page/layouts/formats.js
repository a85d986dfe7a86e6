// Write samples as text, window by window: CSV with a row per time, or JSON with a list per field.

// Characters that are joined into one part of a file.
const PART = 1 << 20;
// How texts begin that a spreadsheet would take for a formula; signed numbers are none.
const FORMULA = /^(?:[=@\t\r]|[+-](?!\d*\.?\d*(?:e[+-]?\d+)?$))/i;

/**
 * Write a time as ISO does in UTC, with milliseconds, or microseconds if it has any.
 * @param {number} t in UNIX seconds
 */
export function isoText(t) {
  const micros = Math.round((t - Math.floor(t)) * 1e6);
  const seconds = Math.floor(t) + Math.floor(micros / 1e6);
  const digits = String(micros % 1e6).padStart(6, "0");
  const text = new Date(seconds * 1000).toISOString().slice(0, -4);
  return `${text}${digits.endsWith("000") ? digits.slice(0, 3) : digits}Z`;
}

/** Collect text in large parts, which the browser may keep on disk if memory is short. */
class Parts {
  size = 0;
  #parts = [];
  #pending = [];
  #length = 0;

  add(text) {
    this.#pending.push(text);
    this.#length += text.length;
    if (this.#length >= PART) this.#close();
  }

  take() {
    this.#close();
    return this.#parts;
  }

  #close() {
    if (!this.#length) return;
    const part = new Blob(this.#pending);
    [this.#pending, this.#length] = [[], 0];
    this.#parts.push(part);
    this.size += part.size;
  }
}

/**
 * Write CSV: time as ISO and as UNIX time, then a column for each field. A value is empty where a field has no
 * sample at a time, and NaN where its sample has no value; texts stand in quotes. An apostrophe before a text that
 * begins like a formula keeps spreadsheets from running it.
 */
export class CsvWriter {
  type = "text/csv";
  #parts = new Parts();

  /** @param {{ key: string, about: object }[]} fields */
  constructor(fields) {
    this.fields = fields;
    const headings = fields.map(({ key, about }) => (about.units ? `${key} [${about.units}]` : key));
    this.#parts.add(`${["time", "unix", ...headings.map(plainOrQuoted)].join(",")}\n`);
  }

  /** Return the number of bytes so far. */
  get size() {
    return this.#parts.size;
  }

  /**
   * Add a window, which begins where the previous one ended.
   * @param {{ t: Float64Array, values: ArrayLike }[]} series of each field
   */
  add(series) {
    const next = series.map(() => 0);
    for (;;) {
      let time = Infinity;
      series.forEach(({ t }, i) => (time = Math.min(time, t[next[i]] ?? Infinity)));
      if (time === Infinity) return;
      let row = `${isoText(time)},${time}`;
      series.forEach(({ t, values }, i) => {
        row += t[next[i]] === time ? `,${csvText(values[next[i]++])}` : ",";
      });
      this.#parts.add(`${row}\n`);
    }
  }

  /** @returns {Blob} the whole file */
  finish() {
    return new Blob(this.#parts.take(), { type: this.type });
  }
}

/**
 * Write JSON: for each field, its description and a list of [time as ISO, UNIX time, value]. A sample without a
 * value has null.
 */
export class JsonWriter {
  type = "application/json";
  #lists;
  #head;

  /**
   * @param {{ key: string, about: object }[]} fields
   * @param {{ start: number, end: number }} range
   */
  constructor(fields, { start, end }) {
    this.fields = fields;
    this.#lists = fields.map(() => new Parts());
    const head = { from: isoText(start), to: isoText(end), columns: ["time", "unix", "value"] };
    this.#head = `${JSON.stringify(head, null, 1).slice(0, -2)},\n "series": [`;
  }

  /** Return the number of bytes so far. */
  get size() {
    return this.#lists.reduce((sum, list) => sum + list.size, 0);
  }

  /** Add a window, like that of a `CsvWriter`. */
  add(series) {
    series.forEach(({ t, values }, i) => {
      const list = this.#lists[i];
      for (let k = 0; k < t.length; k += 1) list.add(`\n["${isoText(t[k])}",${t[k]},${jsonText(values[k])}],`);
    });
  }

  /** @returns {Blob} the whole file */
  finish() {
    const parts = [this.#head];
    this.fields.forEach(({ key, about }, i) => {
      parts.push(`${i ? "," : ""}\n${JSON.stringify({ key, ...about }).slice(0, -1)},"samples":[`);
      const list = this.#lists[i].take();
      const last = list.at(-1);
      // Without the comma after the last sample.
      parts.push(...(last ? [...list.slice(0, -1), last.slice(0, -1)] : []), "\n]}");
    });
    return new Blob([...parts, "\n]}\n"], { type: this.type });
  }
}

function csvText(value) {
  if (typeof value === "string") return quoted(value);
  return value === null ? "NaN" : String(value);
}

function plainOrQuoted(text) {
  return /[",\r\n]/.test(text) || FORMULA.test(text) ? quoted(text) : text;
}

function quoted(text) {
  return `"${FORMULA.test(text) ? "'" : ""}${text.replaceAll('"', '""')}"`;
}

function jsonText(value) {
  if (typeof value === "string") return JSON.stringify(value);
  return value === null || Number.isNaN(value) ? "null" : String(value);
}
