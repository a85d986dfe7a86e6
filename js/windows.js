// Fetch replies: window after window, each in chunks (progressive replies of the protocol), or as nodes of 2018 send them.

import { apart, decodeReply, joinChunks } from "./arrays.js";
import { SisockError } from "./errors.js";

const WINDOW = 1 << 20;
const WINDOW_MAX = 16 << 20;
const ENLARGE_UNDER = 2;

/**
 * Return all chunks of a reply, with at most two windows under way, which grow while they arrive fast.
 * @param {{ call: Function, decode: Function }} request
 */
export async function inWindows(request, start, end, isStrided) {
  const chunks = [];
  const underway = [];
  const after = {};
  let size = WINDOW;
  let following = { start, end };
  while (following || underway.length) {
    if (following) {
      const more = { window: size, ...(Object.keys(after).length ? { after } : {}) };
      const window = openWindow(request, following, more);
      underway.push(window);
      const head = notFalse(await window.first);
      following = "next" in head ? { start: head.next, end: head.end } : null;
    }
    if (underway.length === 2 || !following || isStrided) {
      const { began, all } = underway.shift();
      for (const chunk of await all) {
        chunks.push(chunk);
        if (isStrided) noteLastTimes(chunk, after);
      }
      if (performance.now() - began < ENLARGE_UNDER * 1000) size = Math.min(size * 4, WINDOW_MAX);
    }
  }
  return chunks;
}

/** Return all chunks of a reply that consists of one window. */
export function inOneWindow(request, start, end) {
  return openWindow(request, { start, end }, {}).all;
}

/** Return the samples of a node without windows: one call for one field of each timeline. */
export async function fieldByField(call, fields, start, end) {
  const replies = apart(fields).map(async (some) => {
    const reply = notFalse(await call(Object.keys(some), start, end, {}, null));
    return joinChunks([decodeReply(reply, some)], some);
  });
  const found = Object.assign({}, ...(await Promise.all(replies)));
  return Object.fromEntries(Object.keys(fields).map((name) => [name, found[name]]));
}

function openWindow({ call, decode }, { start, end }, more) {
  const raw = [];
  let gotFirst, failed;
  const first = new Promise((resolve, reject) => ([gotFirst, failed] = [resolve, reject]));
  const take = (chunk) => {
    raw.push(chunk);
    gotFirst(chunk);
  };
  const all = call(start, end, more, take).then((last) => {
    take(last);
    return raw.map((chunk) => decode(notFalse(chunk)));
  });
  all.catch(failed);
  first.catch(() => {});
  return { first, all, began: performance.now() };
}

function noteLastTimes({ timelines }, after) {
  for (const [name, { t }] of Object.entries(timelines)) {
    if (t.length) after[name] = t[t.length - 1];
  }
}

/** Return a reply; throw if it is the protocol's sign for a reply that is too large. */
function notFalse(reply) {
  if (reply === false) {
    throw new SisockError("too_large", "the reply is too large for this node: ask for less time");
  }
  return reply;
}
