// A layout: the page's state with a name, as a file that people can read, edit and share.

import { formatState, parseState } from "../state.js";

const KIND = "layout";
const VERSION = 1;
const MAX_NAME = 100;

/**
 * Write a layout as the text of a file.
 * @param {string} name
 * @param {import("../state.js").State} state
 */
export function formatLayout(name, state) {
  return `${JSON.stringify({ sisock: KIND, version: VERSION, name, state }, null, 2)}\n`;
}

/**
 * Read the text of a file.
 * @param {string} text
 * @returns {{ name: string, state: import("../state.js").State }}
 * @throws {Error} with a sentence about what is wrong
 */
export function parseLayout(text) {
  let read;
  try {
    read = JSON.parse(text);
  } catch (error) {
    throw new Error(`it is not JSON (${error.message})`);
  }
  if (read?.sisock !== KIND) throw new Error('it is no layout of sisock, which has "sisock": "layout"');
  if (read.version !== VERSION) throw new Error(`it is of version ${read.version}, and this page reads version ${VERSION}`);
  const fault = faultOf(read.state);
  if (fault) throw new Error(fault);
  // A round trip through the address drops what is unknown.
  return { name: nameOf(read.name), state: parseState(formatState({ ...parseState(""), ...read.state })) };
}

/** Clean up a layout's name: not empty, not too long, on one line. */
export function nameOf(text) {
  return String(text ?? "").replace(/\s+/g, " ").trim().slice(0, MAX_NAME) || "layout";
}

/** Return what is wrong with a state; null if it is valid. */
function faultOf(state) {
  if (!isObject(state)) return "it has no state";
  const { panels = [], values = [], time = { span: 1, offset: 0 } } = state;
  if (!Array.isArray(panels)) return "its panels are no list";
  for (const [i, panel] of panels.entries()) {
    if (!Array.isArray(panel?.fields)) return `its panel ${i + 1} has no list of fields`;
    const wrong = panel.fields.findIndex((field) => !isKey(field?.key));
    if (wrong >= 0) return `field ${wrong + 1} of its panel ${i + 1} has no key like "node::field"`;
    if (panel.axes !== undefined && !isObject(panel.axes)) return `the axes of its panel ${i + 1} are no object`;
  }
  if (!Array.isArray(values) || !values.every(isKey)) return 'its values are no list of keys like "node::field"';
  const isFollowing = time?.span > 0 && time.offset >= 0;
  const isFixed = Number.isFinite(time?.from) && time.from < time.to;
  return isFollowing || isFixed ? null : "its time has neither span and offset nor from and to, in seconds";
}

function isKey(key) {
  return typeof key === "string" && key.indexOf("::") > 0 && !key.endsWith("::");
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
