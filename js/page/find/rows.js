// The rows of the tree in one list, so that only visible ones have to be drawn.

import { matcher, textOf } from "./search.js";

/**
 * @typedef {object} Row
 * @property {string} id the same for the same thing, also after a change
 * @property {"selected"|"site"|"sign-in"|"node"|"timeline"|"field"|"note"} kind
 * @property {number} level 1 at the top
 * @property {number} place among its siblings, from 1
 * @property {number} siblings how many there are
 */

export const SELECTED = "selected";
// Fields of a node beyond which its timelines are closed at first.
const MANY = 100;

/** Cache of data derived from a node's fields, computed once per answer of the node. */
const indexes = new WeakMap();

/**
 * Return the rows to show.
 * @param {object[]} nodes { name, description, features, goneSince, fields (name → about), error }, fields null while unknown
 * @param {string[]} shown keys of the shown fields
 * @param {string} query
 * @param {(id: string, byDefault: boolean) => boolean} isOpen
 * @param {object[]|null} [sites] { name, state, isAway, isAsked, reason, since }, with their nodes below them; null if there are none
 * @returns {Row[]}
 */
export function rowsOf(nodes, shown, query, isOpen, sites = null) {
  const rows = shown.length ? selectedRows(nodes, shown, isOpen, sites ?? []) : [];
  if (!sites) return withPlaces([...rows, ...nodeRows(nodes, shown, query, isOpen)]);
  for (const site of sites) {
    const own = nodes.filter(({ name }) => name.startsWith(`${site.name}/`));
    const below = nodeRows(own, shown, query, isOpen).map((row) => ({ ...row, level: row.level + 1, site }));
    // Nodes that cannot be searched show why.
    if (query.trim() && !below.length && !site.isAway) continue;
    const id = `site ${site.name}`;
    const isSiteOpen = isOpen(id, true);
    rows.push({ id, kind: "site", level: 1, site, isOpen: isSiteOpen, count: below.filter(({ kind }) => kind === "node").length });
    if (isSiteOpen && ["secret", "refused"].includes(site.kind)) rows.push({ id: `sign-in ${site.name}`, kind: "sign-in", level: 2, site });
    if (isSiteOpen) rows.push(...below);
  }
  return withPlaces(rows);
}

function nodeRows(nodes, shown, query, isOpen) {
  const isSearch = query.trim() !== "";
  const matches = matcher(query);
  const ticked = new Set(shown);
  const rows = [];
  for (const node of nodes) {
    const index = indexOf(node);
    const found = isSearch ? index.entries.filter((entry) => matches(entry.text)) : index.entries;
    if (isSearch && !found.length && !matches(textOf(node))) continue;
    const id = `node ${node.name}`;
    const isNodeOpen = isOpen(id, isSearch && found.length > 0);
    rows.push({ id, kind: "node", level: 1, node, isOpen: isNodeOpen, count: index.entries.length, found: found.length, isSearch });
    if (isNodeOpen) rows.push(...childrenOf(node, index, found, ticked, isOpen, isSearch || found.length <= MANY));
  }
  return rows;
}

/** Return how many known fields match. */
export function countMatches(rows) {
  return rows.reduce((sum, row) => sum + (row.kind === "node" ? row.found : 0), 0);
}

function selectedRows(nodes, shown, isOpen, sites) {
  const byName = new Map(nodes.map((node) => [node.name, node]));
  const isSectionOpen = isOpen(SELECTED, true);
  const head = { id: SELECTED, kind: "selected", level: 1, count: shown.length, isOpen: isSectionOpen };
  if (!isSectionOpen) return [head];
  return [
    head,
    ...shown.map((key) => {
      const at = key.indexOf("::");
      const [name, field] = [key.slice(0, at), key.slice(at + 2)];
      const node = byName.get(name);
      const site = sites.find((each) => name.startsWith(`${each.name}/`));
      return { id: `${SELECTED} ${key}`, kind: "field", level: 2, key, field, node, name, site, about: node?.fields?.[field], isTicked: true, isWhole: true };
    }),
  ];
}

function childrenOf(node, index, found, ticked, isOpen, isEachOpen) {
  if (!node.fields && node.error) return [note(node, node.error, true)];
  if (!node.fields) return [note(node, node.goneSince === undefined ? "asking for its fields" : "its fields are not known")];
  if (!index.entries.length) return [note(node, "it has no field")];
  const rows = [];
  const row = ({ field, about, key }, level) => ({ id: `field ${key}`, kind: "field", level, key, field, node, name: node.name, about, isTicked: ticked.has(key) });
  const groups = new Map();
  for (const entry of found) {
    const line = index.shared.has(entry.about.timeline) ? entry.about.timeline : null;
    if (!groups.has(line)) groups.set(line, []);
    groups.get(line).push(entry);
  }
  for (const [line, entries] of groups) {
    if (line === null) {
      rows.push(...entries.map((entry) => row(entry, 2)));
      continue;
    }
    const id = `timeline ${node.name} ${line}`;
    const isLineOpen = isOpen(id, isEachOpen);
    rows.push({ id, kind: "timeline", level: 2, node, line, about: entries[0].about, count: entries.length, isOpen: isLineOpen });
    if (isLineOpen) rows.push(...entries.map((entry) => row(entry, 3)));
  }
  return rows;
}

function note(node, text, isBad = false) {
  return { id: `note ${node.name}`, kind: "note", level: 2, node, text, isBad };
}

/** Return a node's fields with their searchable text, and the timelines that get their own row. */
function indexOf(node) {
  if (!node.fields) return { entries: [], shared: new Set() };
  if (!indexes.has(node.fields)) {
    const entries = Object.entries(node.fields).map(([field, about]) => {
      return { field, about, key: `${node.name}::${field}`, text: textOf(node, field, about) };
    });
    const counts = new Map();
    for (const { about } of entries) counts.set(about.timeline, (counts.get(about.timeline) ?? 0) + 1);
    // No row for a timeline that has all fields of the node, or only one.
    const isShared = ([, count]) => count > 1 && counts.size > 1;
    indexes.set(node.fields, { entries, shared: new Set([...counts].filter(isShared).map(([line]) => line)) });
  }
  return indexes.get(node.fields);
}

/** Number the rows among their siblings. */
function withPlaces(rows) {
  const open = [];
  for (const row of rows) {
    open.length = row.level;
    const siblings = (open[row.level - 1] ??= []);
    siblings.push(row);
    row.place = siblings.length;
    row.ofSiblings = siblings;
  }
  for (const row of rows) {
    row.siblings = row.ofSiblings.length;
    delete row.ofSiblings;
  }
  return rows;
}
