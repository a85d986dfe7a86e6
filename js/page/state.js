// The state of the page, a plain object that stands in the URL, so that a view can be sent on.

export const DEFAULTS = { series: [], last: 3600, from: null, to: null, live: true, stack: false, table: false };

/** Read a state from the query part of a URL. */
export function parseState(search) {
  const given = new URLSearchParams(search);
  const number = (name) => {
    const value = Number(given.get(name));
    return given.has(name) && Number.isFinite(value) ? value : null;
  };
  const [from, to] = [number("from"), number("to")];
  const isFixed = from !== null && to !== null && from < to;
  const last = number("last");
  return {
    series: [...new Set(given.getAll("s"))].filter((key) => key.includes("::")),
    last: isFixed ? null : last > 0 ? last : DEFAULTS.last,
    from: isFixed ? from : null,
    to: isFixed ? to : null,
    live: given.get("live") !== "0",
    stack: given.get("stack") === "1",
    table: given.get("table") === "1",
  };
}

/** Write a state as the query part of a URL. */
export function formatState({ series, last, from, to, live, stack, table }) {
  const written = new URLSearchParams();
  for (const key of series) written.append("s", key);
  if (last !== null) written.set("last", String(last));
  else {
    written.set("from", String(from));
    written.set("to", String(to));
  }
  if (!live) written.set("live", "0");
  if (stack) written.set("stack", "1");
  if (table) written.set("table", "1");
  return `?${written}`;
}

/** Return the interval to show now, in UNIX seconds. */
export function intervalOf(state, now = Date.now() / 1000) {
  return state.last !== null
    ? { start: now - state.last, end: now }
    : { start: state.from, end: state.to };
}

/** Read a UTC time as people write it, 2017-07-14 or 2017-07-14 12:00:00, in UNIX seconds; NaN if it is none. */
export function parseTime(text) {
  const [, date, time] = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d+)?)?))?Z?$/.exec(text.trim()) ?? [];
  return date ? Date.parse(`${date}T${time ?? "00:00"}Z`) / 1000 : NaN;
}

/** Return node and field of a key; a node's name never holds the separator. */
export function splitKey(key) {
  const at = key.indexOf("::");
  return { node: key.slice(0, at), field: key.slice(at + 2) };
}
