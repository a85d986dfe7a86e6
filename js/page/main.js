// The page: puts state, nodes, samples and charts together.

import { connect } from "../sisock.js";
import { timeText } from "./axes.js";
import { Charts } from "./charts.js";
import { Legend } from "./legend.js";
import { formatState, intervalOf, parseState, parseTime } from "./state.js";
import { Store } from "./store.js";
import { downloadCsv, showTable } from "./table.js";
import { Tree, duration, make } from "./tree.js";

const SECRET = "sisock-secret";
const REFRESH_SECONDS = 60;
const REST_MILLISECONDS = 150;
// Between two pictures of new samples, and between two tables.
const [MIN_PICTURE_MILLISECONDS, MAX_PICTURE_MILLISECONDS] = [100, 1000];
const TABLE_MILLISECONDS = 500;
const $ = (id) => document.getElementById(id);

const state = parseState(location.search);
const nodes = new Map();
let sisock, store, tree, charts, legend;
let drawing = false;
let cursor = null;
let loadTimer = null;

/** The consumer's secret: from behind the # of the address, or from this tab's memory. */
function takeSecret() {
  const given = new URLSearchParams(location.hash.slice(1)).get("secret");
  if (given) {
    sessionStorage.setItem(SECRET, given);
    history.replaceState(null, "", location.pathname + location.search);
  }
  return sessionStorage.getItem(SECRET);
}

/** What the router says of itself beside the page: its realm. One of 2018 says nothing. */
async function findSettings() {
  const answer = await fetch("settings", { cache: "no-store" }).catch(() => null);
  return answer?.ok ? answer.json() : {};
}

function say(text, isBad = false) {
  $("message").textContent = text;
  $("message").className = isBad ? "error" : "";
}

function showConnection({ state: name, seconds, reason }) {
  $("connection").dataset.state = name;
  $("connection").textContent =
    name === "joined" ? "connected" : name === "waiting" ? `${reason}; trying again in ${Math.ceil(seconds)} s` : reason;
  if (name === "joined" && sisock) refresh();
}

async function start() {
  const secret = takeSecret();
  $("sign-in").hidden = Boolean(secret);
  if (!secret) {
    $("connection").textContent = "not connected";
    $("secret").focus();
    return;
  }
  try {
    const joined = await connect({ secret, onState: showConnection, ...(await findSettings()) });
    await work(joined);
  } catch (error) {
    say(error.message, true);
    if (error.kind !== "refused") return;
    sessionStorage.removeItem(SECRET);
    $("sign-in").hidden = false;
    $("secret").focus();
  }
}

async function work(joined) {
  sisock = joined;
  store = new Store(sisock, atMostEvery(pictureMilliseconds, draw));
  legend = new Legend($("legend"));
  charts = new Charts($("charts"), (from, to) => choose({ last: null, from, to }), pointAt);
  tree = new Tree($("nodes"), sisock, (key, ticked) =>
    choose({ series: ticked ? [...state.series, key] : state.series.filter((each) => each !== key) }),
  );
  await sisock.onNodes(nodeChanged);
  showControls();
  await refresh();
  setInterval(() => state.last !== null && load(), REFRESH_SECONDS * 1000);
  setInterval(() => state.last !== null && draw(), 1000);
}

async function refresh() {
  try {
    const listed = await sisock.nodes();
    nodes.clear();
    for (const node of listed) nodes.set(node.name, node);
    await tree.show(nodes, state.series);
    store.expire();
    await load();
  } catch (error) {
    say(error.message, true);
  }
}

function nodeChanged(node, isPresent) {
  const hasChanged = isPresent && nodes.has(node.name);
  if (isPresent) nodes.set(node.name, node);
  else nodes.delete(node.name);
  tree.show(nodes, state.series);
  store.mark(node.name, !isPresent);
  say(`${node.name} ${hasChanged ? "has changed" : isPresent ? "is there" : "is gone"}`, !isPresent);
  if (isPresent) load();
}

/** Change what is shown, and put it into the address. */
function choose(changes) {
  Object.assign(state, changes);
  if (state.last !== null) state.from = state.to = null;
  history.replaceState(null, "", formatState(state));
  showControls();
  if ("series" in changes) tree.show(nodes, state.series);
  if ("series" in changes || "live" in changes) load();
  else if ("last" in changes) {
    store.show(viewOf(state));
    loadSoon();
  }
  draw();
}

/** What the store is to hold. */
function viewOf({ live, last }) {
  return { ...intervalOf(state), points: charts.points, isLive: live && last !== null };
}

/** Load when the range has come to rest: a drag or a held key changes it many times a second. */
function loadSoon() {
  clearTimeout(loadTimer);
  loadTimer = setTimeout(load, REST_MILLISECONDS);
}

async function load() {
  clearTimeout(loadTimer);
  $("charts").ariaBusy = "true";
  if (await store.load(state.series, viewOf(state))) $("charts").ariaBusy = "false";
}

/** Every sample of the interval, not only those that are drawn, as a file. */
async function saveCsv() {
  const whole = new Store(sisock, () => {});
  $("csv").disabled = true;
  await whole.load(state.series, { ...intervalOf(state), points: null, isLive: false });
  $("csv").disabled = false;
  downloadCsv(whole.series);
}

/** Show the values at a time, or the last ones. */
function pointAt(time) {
  if (time === cursor) return;
  cursor = time;
  draw();
}

/** Return how long the curves take to move by a pixel, within limits. */
function pictureMilliseconds() {
  const { start, end, points } = viewOf(state);
  return Math.min(Math.max((2000 * (end - start)) / points, MIN_PICTURE_MILLISECONDS), MAX_PICTURE_MILLISECONDS);
}

/** Return a function that acts at most so often, and at last after its last call. */
function atMostEvery(milliseconds, action) {
  let timer = null;
  let last = -Infinity;
  return () => {
    timer ??= setTimeout(() => {
      [timer, last] = [null, performance.now()];
      action();
    }, Math.max(last + milliseconds() - performance.now(), 0));
  };
}

/** Draw once a frame, however often samples come. */
function draw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    const interval = intervalOf(state);
    charts.draw(store.series, interval, state.stack);
    legend.show(store.series, interval, state.last !== null, cursor);
    $("cursor").textContent = cursor === null ? "last values" : `${timeText(cursor, digitsFor(interval))} UTC`;
    showTimes(interval);
    $("table").hidden = !state.table;
    if (state.table) writeTable();
    $("hint").hidden = store.series.length > 0;
  });
}

const writeTable = atMostEvery(() => TABLE_MILLISECONDS, () => showTable($("table"), store.series, intervalOf(state)));

function showControls() {
  const { last, live, stack, table } = state;
  const value = last === null ? "fixed" : String(last);
  if (![...$("range").options].some((option) => option.value === value)) {
    $("range").prepend(make("option", { value }, `last ${duration(last)}`));
  }
  $("range").value = value;
  showTimes(intervalOf(state));
  $("live").checked = live;
  $("live").disabled = last === null;
  $("stack").checked = stack;
  $("show-table").checked = table;
}

/** Show the interval as text, but not into one that somebody writes. */
function showTimes(interval) {
  for (const [id, t] of [["from", interval.start], ["to", interval.end]]) {
    if (document.activeElement !== $(id)) $(id).value = timeText(t, digitsFor(interval));
  }
}

/** Digits after the second that tell times of an interval apart. */
function digitsFor({ start, end }) {
  return end - start < 30 ? 3 : 0;
}

function move(part, zoom = 1) {
  const { start, end } = intervalOf(state);
  const [middle, half] = [(start + end) / 2 + part * (end - start), ((end - start) / 2) * zoom];
  choose({ last: null, from: middle - half, to: middle + half });
}

function listen() {
  $("sign-in").addEventListener("submit", (event) => {
    event.preventDefault();
    sessionStorage.setItem(SECRET, $("secret").value.trim());
    $("secret").value = "";
    say("");
    start();
  });
  $("range").addEventListener("change", () => {
    const value = $("range").value;
    const { start, end } = intervalOf(state);
    choose(value === "fixed" ? { last: null, from: start, to: end } : { last: Number(value) });
  });
  for (const id of ["from", "to"]) {
    $(id).addEventListener("change", () => {
      const [from, to] = [parseTime($("from").value), parseTime($("to").value)];
      if (from < to) choose({ last: null, from, to });
      const isTime = Number.isFinite(from) && Number.isFinite(to);
      const problem = isTime ? "the time from must be before the time to" : "times are written 2017-07-14 12:00:00";
      say(from < to ? "" : problem, !(from < to));
    });
  }
  $("live").addEventListener("change", () => choose({ live: $("live").checked }));
  $("stack").addEventListener("change", () => choose({ stack: $("stack").checked }));
  $("show-table").addEventListener("change", () => choose({ table: $("show-table").checked }));
  $("csv").addEventListener("click", saveCsv);
  $("earlier").addEventListener("click", () => move(-0.5));
  $("later").addEventListener("click", () => move(0.5));
  $("closer").addEventListener("click", () => move(0, 0.5));
  $("wider").addEventListener("click", () => move(0, 2));
  const keys = { ArrowLeft: [-0.1], ArrowRight: [0.1], "+": [0, 0.5], "-": [0, 2] };
  $("charts").addEventListener("keydown", (event) => {
    if (event.key in keys) {
      event.preventDefault();
      move(...keys[event.key]);
    }
  });
}

// A wider chart has room for more samples.
addEventListener("resize", () => store && loadSoon());
// After a sleep the connection may be dead without anybody having noticed.
addEventListener("online", () => sisock?.check());
document.addEventListener("visibilitychange", () => document.hidden || sisock?.check());
listen();
start();
