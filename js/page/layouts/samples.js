// Fetch all samples of fields over a range, window after window, without keeping them in memory.

import { wait } from "../../follow.js";
import { splitKey } from "../state.js";

// Desired number of samples of a window.
const TARGET = 100_000;
// Initial number of windows of a range with an unknown number of samples.
const FIRST_WINDOWS = 50;
const GROWTH = 4;
const RETRY_SECONDS = 2;
// Bytes of a sample's times, of its value with what separates it, and of an empty cell.
const [TIMES, VALUE, EMPTY] = [40, 10, 1];
// Kinds of errors after which another try may succeed.
const PASSING = ["unreachable", "hub", "node", "timeout"];

/**
 * Ask the nodes for the descriptions of fields.
 * @param {Sisock} sisock
 * @param {string[]} keys
 * @returns {Promise<{ key: string, about: object }[]>}
 */
export async function describe(sisock, keys) {
  return Promise.all(
    keys.map(async (key) => {
      const { node, field } = splitKey(key);
      return { key, about: (await sisock.find(node, [field])).fields[field] };
    }),
  );
}

/**
 * Estimate the size of a file before its samples are fetched.
 * @param {{ key: string, about: object }[]} fields
 * @param {{ start: number, end: number }} range
 * @param {"csv"|"json"} format
 * @returns {{ samples: number, bytes: number, isWhole: boolean }} isWhole is false if a node does not tell
 *   its interval
 */
export function estimate(fields, range, format) {
  const rows = new Map();
  let samples = 0;
  for (const { key, about } of fields) {
    const count = countOf(about, range);
    samples += count;
    const line = `${splitKey(key).node} ${about.timeline}`;
    rows.set(line, Math.max(rows.get(line) ?? 0, count));
  }
  const times = [...rows.values()].reduce((sum, count) => sum + count, 0);
  const empty = times * fields.length - samples;
  const bytes = format === "csv" ? times * TIMES + samples * VALUE + empty * EMPTY : samples * (TIMES + VALUE);
  return { samples, bytes, isWhole: fields.every(({ about }) => about.interval) };
}

/**
 * Fetch all samples of a range; wait while node or router is unreachable.
 * @param {Sisock} sisock
 * @param {{ key: string, about: object }[]} fields
 * @param {{ start: number, end: number }} range
 * @param {object} options
 * @param {AbortSignal} options.signal
 * @param {function(string|null)} [options.onWait] called with the reason for a pause, then with null
 * @param {function(number): Promise} [options.pause] waits this many seconds
 * @yields {{ end: number, series: { t, values }[] }} the samples of each field up to `end`
 */
export async function* windowsOf(sisock, fields, range, { signal, onWait = () => {}, pause = wait }) {
  let { start } = range;
  let span = firstSpan(fields, range);
  while (start < range.end) {
    const end = Math.min(start + span, range.end);
    try {
      const series = await fetchAll(sisock, fields, start, end, signal);
      onWait(null);
      yield { end, series };
      start = end;
      const count = series.reduce((sum, { t }) => sum + t.length, 0);
      span *= Math.min(Math.max(TARGET / Math.max(count, 1), 1 / GROWTH), GROWTH);
    } catch (error) {
      signal.throwIfAborted();
      if (error.kind === "too_large") span /= GROWTH;
      else if (PASSING.includes(error.kind)) {
        onWait(error.message);
        await pause(RETRY_SECONDS);
      } else throw error;
    }
    signal.throwIfAborted();
  }
}

/** Fetch a window, with one call per node. */
async function fetchAll(sisock, fields, start, end, signal) {
  const names = new Map();
  for (const { key } of fields) {
    const { node, field } = splitKey(key);
    names.set(node, [...(names.get(node) ?? []), field]);
  }
  const found = {};
  const ask = async ([node, own]) => (found[node] = await sisock.get(node, own, start, end, { signal }));
  await Promise.all([...names].map(ask));
  return fields.map(({ key }) => found[splitKey(key).node][splitKey(key).field]);
}

function firstSpan(fields, range) {
  const { samples, isWhole } = estimate(fields, range, "csv");
  const windows = isWhole ? samples / TARGET : FIRST_WINDOWS;
  return (range.end - range.start) / Math.max(windows, 1);
}

/** Return the approximate number of samples of a field in a range. */
function countOf({ interval, first, last }, { start, end }) {
  const within = Math.min(end, last ?? end) - Math.max(start, first ?? start);
  return interval ? Math.max(Math.round(within / interval), 0) : 0;
}
