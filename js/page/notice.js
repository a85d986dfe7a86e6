// Show one notice at a time over the page; it disappears by itself unless something is wrong.

import { $ } from "./dom.js";

const SHOWN_SECONDS = 12;
let timer = null;

/** Close a notice, if it has this text. */
export function withdraw(text) {
  if ($("message").textContent === text) say("");
}

/** Close a notice that offers an action. */
export function withdrawOffer() {
  if (!$("message-action").hidden) say("");
}

/**
 * Show a notice to the user; an empty text closes it.
 * @param {string} text
 * @param {boolean} [isBad] whether it stays until it is closed
 * @param {{ label: string, act: function() }} [action] offered beside the text; such a notice stays, too
 */
export function say(text, isBad = false, action = null) {
  clearTimeout(timer);
  $("message").textContent = text;
  $("notice").className = text ? `is-shown ${isBad ? "is-bad" : ""}` : "";
  $("message-close").hidden = !text;
  $("message-action").hidden = !action;
  if (action) $("message-action").textContent = action.label;
  $("message-action").onclick = () => {
    say("");
    action.act();
  };
  $("message-close").onclick = () => say("");
  if (text && !isBad && !action) timer = setTimeout(() => say(""), SHOWN_SECONDS * 1000);
}
