// The page: puts state, nodes, samples and panels together.

import { Store } from "./data/store.js";
import { $, afterRest, atMostEvery, onceAFrame } from "./dom.js";
import { startDrawer } from "./drawer.js";
import { Find } from "./find/find.js";
import { Export } from "./layouts/export.js";
import { LayoutMenu } from "./layouts/menu.js";
import { say, withdrawOffer } from "./notice.js";
import { unitOf } from "./panels/figure.js";
import { Panels } from "./panels/panels.js";
import { openSession } from "./session.js";
import { Model, faultsOf, keysOf, rangeOf, splitByUnits, splitKey } from "./state.js";
import { startTheme } from "./theme.js";
import { Conductor } from "./time/conductor.js";
import { timeText, zoneText } from "./time/text.js";
import { Values } from "./values/values.js";
import { showViews } from "./values/views.js";

const REFRESH_SECONDS = 60;
const POLL_MILLISECONDS = 2000;
const REST_MILLISECONDS = 150;
// Milliseconds between two redraws for new samples: minimum, maximum, and per field; below, between two new layouts.
const [MIN_PICTURE, MAX_PICTURE, PICTURE_OF_FIELD] = [100, 1000, 2];
const ARRANGE_MILLISECONDS = 100;
const NAMES_OF_TAB = 3;

const model = new Model(location.search);
let sisock, store, find, panels, conductor, values;

const curves = () => new Map((store?.series ?? []).map((curve) => [curve.key, curve]));
const units = (key) => unitOf(curves().get(key));
const isFollowing = () => "span" in model.state.time;
const keysInPanels = (state) => (state.view === "panels" ? keysOf(state) : []);

async function work(joined, signIn) {
  sisock = joined;
  store = new Store(sisock, sisock.sites ? drawSplit : draw, atMostEvery(pictureMilliseconds, draw));
  find = new Find(model, sisock, signIn);
  values = new Values($("values"), sisock, model, (key) => find.unitOf(key));
  // Each site is listed once it is joined.
  const listening = sisock.onNodes(nodeChanged);
  if (!sisock.sites) await listening;
  await Promise.all([sisock.sites ? find.draw() : find.begin(), load()]);
  setInterval(() => isFollowing() && load(), REFRESH_SECONDS * 1000);
  setInterval(() => isFollowing() && draw(), 1000);
  setTimeout(poll, POLL_MILLISECONDS);
}

/** Show what is added to archives, while anybody can see it. */
async function poll() {
  try {
    if (!document.hidden) await store.poll();
  } finally {
    setTimeout(poll, POLL_MILLISECONDS);
  }
}

async function refresh(site) {
  if (site) {
    values.refresh(site);
    await Promise.all([find.begin(site), store.reload(`${site}/`)]);
    return;
  }
  await find.refresh();
  values.refresh();
  store.expire();
  await load();
}

/** Show what is wrong with a site in place of its data. */
function lose(site, reason) {
  for (const each of [store, values]) each.lose(`${site}/`, `the site '${site}' cannot be reached: ${reason}`);
  find.draw();
}

function nodeChanged(node, isPresent) {
  const { goneSince, trouble = null } = find.node(node.name);
  const hasChanged = isPresent && goneSince === undefined;
  find.change(node, isPresent);
  store.mark(node.name, !isPresent);
  // A trouble whose text changes, as with each attempt to connect, is announced once.
  if (isPresent && node.trouble !== trouble) {
    if (trouble === null || node.trouble === null) say(node.trouble === null ? `${node.name} works again` : `${node.name}: ${node.trouble}`, node.trouble !== null);
  } else say(`${node.name} ${hasChanged ? "has changed" : isPresent ? "is there" : `is gone since ${timeText(Date.now() / 1000, model.state.zone).slice(11)}`}`, !isPresent);
  if (isPresent) load();
}

/** Name the tab, and thus its bookmarks, after the shown fields. */
function nameTab(state) {
  const names = keysOf(state).map(splitKey).map(({ node, field }) => (field === "*" ? node : field));
  const some = names.slice(0, NAMES_OF_TAB).join(", ") + (names.length > NAMES_OF_TAB ? " …" : "");
  document.title = some ? `${some} · sisock` : "sisock";
}

function changed(state, previous) {
  if (state.time !== previous.time) withdrawOffer();
  nameTab(state);
  conductor.update();
  if (store) {
    if (String(keysInPanels(state)) !== String(keysInPanels(previous))) load();
    else if (state.time !== previous.time) {
      arrange();
      loadSoon();
    }
  }
  draw();
}

/** Return what the store has to hold: the range, and a margin of samples that it already has. */
function viewOf() {
  const { start, end } = rangeOf(model.state.time);
  return { start, end, margin: (end - start) / 2, points: panels.points, isLive: isFollowing() };
}

// A drag or a held key changes the range many times a second.
const arrange = atMostEvery(() => ARRANGE_MILLISECONDS, () => store.show(viewOf()));
const loadSoon = afterRest(REST_MILLISECONDS, load);

async function load() {
  $("panels").ariaBusy = "true";
  // Panels that are shown since a moment ago have had no frame yet to notice their width.
  panels.measure();
  const isNewest = await store.load(keysInPanels(model.state), viewOf());
  if (!isNewest) return;
  $("panels").ariaBusy = "false";
  splitPanels();
}

/** Split panels with too many units, which are known only once the fields of a link are. */
function splitPanels() {
  const split = splitByUnits(model.state.panels, units);
  if (split.length > model.state.panels.length) model.change({ panels: split, maximised: null }, { isStep: false });
}

function drawSplit() {
  splitPanels();
  draw();
}

/** Return the time in which curves move by one pixel, within limits. */
function pictureMilliseconds() {
  const { start, end } = rangeOf(model.state.time);
  const pixel = (2000 * (end - start)) / panels.points;
  return Math.min(Math.max(pixel, MIN_PICTURE, PICTURE_OF_FIELD * store.series.length), MAX_PICTURE);
}

const draw = onceAFrame(() => {
  const now = Date.now() / 1000;
  const { time, zone } = model.state;
  const range = rangeOf(time, now);
  conductor.update(range);
  if (model.state.view === "panels") panels.draw({ range, now, zone, isFollowing: isFollowing() });
});

conductor = new Conductor($("time"), $("zone"), model);
const faults = faultsOf(location.search);
if (faults.length) say(`Not understood in the address: ${faults.join("; ")}`, true);
panels = new Panels($("panels"), model, curves, () => {
  draw();
  if (store?.points && store.points !== panels.points) loadSoon();
});
model.listen(changed);
nameTab(model.state);
$("export-open").addEventListener("click", () => new Export(sisock, keysOf(model.state), rangeOf(model.state.time), model.state.zone).open());
$("time").addEventListener("submit", (event) => event.preventDefault());
showViews($("views"), model);
new LayoutMenu($("layouts"), model);
startTheme($("theme"));
startDrawer();
openSession({
  work,
  onJoined: refresh,
  onAway: lose,
  timeText: (t) => `${timeText(t, model.state.zone)} ${zoneText(model.state.zone, t)}`,
});
