// Replies: window after window, each in pieces (PROTOCOL.md, progressive replies), or as of 2018.

import { apart, decode, joinPieces } from "./arrays.js";
import { SisockError } from "./errors.js";

const WINDOW = 1 << 20;
const WINDOW_MAX = 16 << 20;
const ENLARGE_UNDER = 2;

/** All pieces of a reply: two windows under way at most; a larger one while they come fast. */
export async function inWindows(call, start, end, isThinned) {
  const pieces = [];
  const underway = [];
  const after = {};
  let size = WINDOW;
  let following = { start, end };
  while (following || underway.length) {
    if (following) {
      const more = { window: size, ...(Object.keys(after).length ? { after } : {}) };
      const window = openWindow(call, following, more);
      underway.push(window);
      const head = notFalse(await window.first);
      following = "next" in head ? { start: head.next, end: head.end } : null;
    }
    if (underway.length === 2 || !following || isThinned) {
      const window = underway.shift();
      const began = window.began;
      for (const piece of await window.all) {
        pieces.push(piece);
        if (isThinned) noteLastTimes(piece, after);
      }
      if (performance.now() - began < ENLARGE_UNDER * 1000) size = Math.min(size * 4, WINDOW_MAX);
    }
  }
  return pieces;
}

/** All pieces of a reply that is always one window. */
export async function inOneWindow(call, start, end) {
  const pieces = await openWindow(call, { start, end }, {}).all;
  notFalse(pieces[0]);
  return pieces;
}

/** The samples of a node without windows: one call for one field of each timeline. */
export async function fieldByField(call, fields, start, end) {
  const replies = apart(fields).map(async (some) => {
    const reply = notFalse(await call(Object.keys(some), start, end, {}, null));
    return joinPieces([reply], some);
  });
  const found = Object.assign({}, ...(await Promise.all(replies)));
  return Object.fromEntries(Object.keys(fields).map((name) => [name, found[name]]));
}

function openWindow(call, { start, end }, more) {
  const pieces = [];
  let gotFirst, failed;
  const first = new Promise((resolve, reject) => ([gotFirst, failed] = [resolve, reject]));
  const take = (piece) => {
    pieces.push(piece);
    gotFirst(piece);
  };
  const all = call(start, end, more, take).then((last) => {
    take(last);
    return pieces;
  });
  all.catch(failed);
  first.catch(() => {});
  return { first, all, began: performance.now() };
}

function noteLastTimes(piece, after) {
  for (const [name, line] of Object.entries(piece.timeline)) {
    const t = decode(line.t, "number");
    if (t.length) after[name] = t[t.length - 1];
  }
}

/** A reply, unless it is the protocol's way to say that it would be too much. */
function notFalse(reply) {
  if (reply === false) {
    throw new SisockError("too_large", "the reply is too large for this node: ask for less time");
  }
  return reply;
}
