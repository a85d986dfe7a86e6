// The page: puts state, nodes, samples and charts together.

import { Store } from "./data/store.js";
import { $, afterRest, atMostEvery, make, onceAFrame } from "./dom.js";
import { startDrawer } from "./drawer.js";
import { Find } from "./find/find.js";
import { say } from "./notice.js";
import { Charts } from "./panels/charts.js";
import { Legend } from "./panels/legend.js";
import { downloadCsv, showTable } from "./panels/table.js";
import { openSession } from "./session.js";
import { Model, keysOf, rangeOf } from "./state.js";
import { onThemeChange, startTheme } from "./theme.js";
import { pan, parseRange, zoom } from "./time/ranges.js";
import { digitsFor, durationText, timeText, zoneText } from "./time/text.js";
import { Values } from "./values/values.js";
import { showViews } from "./values/views.js";

const REFRESH_SECONDS = 60;
const REST_MILLISECONDS = 150;
// Between two pictures of new samples, and between two tables.
const [MIN_PICTURE_MILLISECONDS, MAX_PICTURE_MILLISECONDS] = [100, 1000];
const TABLE_MILLISECONDS = 500;

const model = new Model(location.search);
let sisock, store, find, charts, legend, values;
let cursor = null;

async function work(joined) {
  sisock = joined;
  store = new Store(sisock, draw, atMostEvery(pictureMilliseconds, draw));
  legend = new Legend($("legend"));
  charts = new Charts($("charts"), (from, to) => model.change({ time: { from, to } }), pointAt);
  find = new Find(model, sisock);
  model.listen(changed);
  values = new Values($("values"), sisock, model, unitOf);
  await sisock.onNodes(nodeChanged);
  showControls();
  await Promise.all([find.begin(), load()]);
  setInterval(() => isFollowing() && load(), REFRESH_SECONDS * 1000);
  setInterval(() => isFollowing() && draw(), 1000);
}

async function refresh() {
  await find.refresh();
  values.refresh();
  store.expire();
  await load();
}

function nodeChanged(node, isPresent) {
  const hasChanged = isPresent && find.node(node.name).goneSince === undefined;
  find.change(node, isPresent);
  store.mark(node.name, !isPresent);
  say(`${node.name} ${hasChanged ? "has changed" : isPresent ? "is there" : "is gone"}`, !isPresent);
  if (isPresent) load();
}

function changed(state, previous) {
  showControls();
  if (state.panels !== previous.panels || state.view !== previous.view) load();
  else if (state.time !== previous.time) {
    store.show(viewOf());
    loadSoon();
  }
  draw();
}

function isFollowing() {
  return "span" in model.state.time;
}

/** Return what the store is to hold. */
function viewOf() {
  return { ...rangeOf(model.state.time), points: charts.points, isLive: isFollowing() };
}

// A drag or a held key changes the range many times a second.
const loadSoon = afterRest(REST_MILLISECONDS, load);

async function load() {
  $("charts").ariaBusy = "true";
  if (await store.load(model.state.view === "panels" ? keysOf(model.state) : [], viewOf())) $("charts").ariaBusy = "false";
}

/** Every sample of the interval, not only those that are drawn, as a file. */
async function saveCsv() {
  const whole = new Store(sisock, () => {});
  $("csv").disabled = true;
  await whole.load(keysOf(model.state), { ...rangeOf(model.state.time), points: null, isLive: false });
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
  const { start, end, points } = viewOf();
  return Math.min(Math.max((2000 * (end - start)) / points, MIN_PICTURE_MILLISECONDS), MAX_PICTURE_MILLISECONDS);
}

const draw = onceAFrame(() => {
  const { panels, time } = model.state;
  const range = rangeOf(time);
  charts.draw(store.series, range, panels.length > 1);
  legend.show(store.series, range, isFollowing(), cursor);
  $("cursor").textContent = cursor === null ? "last values" : `${timeText(cursor, "utc", digitsFor(range))} UTC`;
  showTimes(range);
  const isTable = panels.some((panel) => panel.isTable);
  $("table").hidden = !isTable;
  if (isTable) writeTable();
});

const writeTable = atMostEvery(
  () => TABLE_MILLISECONDS,
  () => showTable($("table"), store.series, rangeOf(model.state.time)),
);

function showControls() {
  const { time } = model.state;
  const value = isFollowing() ? String(time.span) : "fixed";
  if (![...$("range").options].some((option) => option.value === value)) {
    $("range").prepend(make("option", { value }, `last ${durationText(time.span)}`));
  }
  $("range").value = value;
  showTimes(rangeOf(time));
}

/** Show the interval as text, but not into one that somebody writes. */
function showTimes(range) {
  for (const [id, t] of [["from", range.start], ["to", range.end]]) {
    if (document.activeElement !== $(id)) $(id).value = timeText(t, "utc", digitsFor(range));
  }
}

function listen() {
  $("time").addEventListener("submit", (event) => event.preventDefault());
  $("range").addEventListener("change", () => {
    const value = $("range").value;
    const { start, end } = rangeOf(model.state.time);
    model.change({ time: value === "fixed" ? { from: start, to: end } : { span: Number(value), offset: 0 } });
  });
  for (const id of ["from", "to"]) {
    $(id).addEventListener("change", () => {
      try {
        model.change({ time: parseRange($("from").value, $("to").value) });
        say("");
      } catch (error) {
        say(error.message, true);
      }
    });
  }
  $("csv").addEventListener("click", saveCsv);
  const move = (part) => model.change({ time: pan(model.state.time, part) });
  const scale = (factor) => model.change({ time: zoom(model.state.time, factor) });
  $("earlier").addEventListener("click", () => move(-0.5));
  $("later").addEventListener("click", () => move(0.5));
  $("closer").addEventListener("click", () => scale(0.5));
  $("wider").addEventListener("click", () => scale(2));
  const keys = {
    ArrowLeft: () => move(-0.1),
    ArrowRight: () => move(0.1),
    "+": () => scale(0.5),
    "-": () => scale(2),
  };
  $("charts").addEventListener("keydown", (event) => {
    if (!(event.key in keys)) return;
    event.preventDefault();
    keys[event.key]();
  });
}

// A wider chart has room for more samples.
addEventListener("resize", () => store && loadSoon());
listen();
showViews($("views"), model);
startTheme($("theme"));
startDrawer();
onThemeChange(() => store && draw());
openSession(work, refresh, (t) => `${timeText(t, model.state.zone)} ${zoneText(model.state.zone, t)}`);
