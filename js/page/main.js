// The page: puts state, nodes, samples and panels together.

import { Store } from "./data/store.js";
import { $, afterRest, atMostEvery, onceAFrame } from "./dom.js";
import { Tree } from "./find/tree.js";
import { unitOf } from "./panels/figure.js";
import { Panels } from "./panels/panels.js";
import { downloadCsv } from "./panels/table.js";
import { openSession, say } from "./session.js";
import { Model, addField, keysOf, rangeOf, removeField, splitByUnits } from "./state.js";
import { Conductor } from "./time/conductor.js";

const REFRESH_SECONDS = 60;
const REST_MILLISECONDS = 150;
// Between two pictures of new samples, one of many fields takes longer; and between two arrangements while one moves.
const [MIN_PICTURE, MAX_PICTURE, PICTURE_OF_FIELD] = [100, 1000, 2];
const ARRANGE_MILLISECONDS = 100;

const model = new Model(location.search);
const nodes = new Map();
let sisock, store, tree, panels, conductor;

const curves = () => new Map((store?.series ?? []).map((curve) => [curve.key, curve]));
const units = (key) => unitOf(curves().get(key));
const isFollowing = () => "span" in model.state.time;

async function work(joined) {
  sisock = joined;
  store = new Store(sisock, draw, atMostEvery(pictureMilliseconds, draw));
  tree = new Tree($("nodes"), sisock, (key, isTicked) =>
    model.change(isTicked ? addField(model.state, key, units) : removeField(model.state, key)),
  );
  await sisock.onNodes(nodeChanged);
  await refresh();
  setInterval(() => isFollowing() && load(), REFRESH_SECONDS * 1000);
  setInterval(() => isFollowing() && draw(), 1000);
}

async function refresh() {
  try {
    const listed = await sisock.nodes();
    nodes.clear();
    for (const node of listed) nodes.set(node.name, node);
    await tree.show(nodes, keysOf(model.state));
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
  tree.show(nodes, keysOf(model.state));
  store.mark(node.name, !isPresent);
  say(`${node.name} ${hasChanged ? "has changed" : isPresent ? "is there" : "is gone"}`, !isPresent);
  if (isPresent) load();
}

function changed(state, previous) {
  conductor.update();
  if (store) {
    if (String(keysOf(state)) !== String(keysOf(previous))) {
      tree.show(nodes, keysOf(state));
      load();
    } else if (state.time !== previous.time) {
      arrange();
      loadSoon();
    }
  }
  draw();
}

/** Return what the store is to hold: the range, and as far beyond as is there already. */
function viewOf() {
  const { start, end } = rangeOf(model.state.time);
  return { start, end, margin: (end - start) / 2, points: panels.points, isLive: isFollowing() };
}

// A drag or a held key changes the range many times a second.
const arrange = atMostEvery(() => ARRANGE_MILLISECONDS, () => store.show(viewOf()));
const loadSoon = afterRest(REST_MILLISECONDS, load);

async function load() {
  $("panels").ariaBusy = "true";
  const isNewest = await store.load(keysOf(model.state), viewOf());
  if (!isNewest) return;
  $("panels").ariaBusy = "false";
  // Of a link the units are only known now.
  const split = splitByUnits(model.state.panels, units);
  if (split.length > model.state.panels.length) model.change({ panels: split, maximised: null }, { isStep: false });
}

/** Every sample of the interval, not only those that are drawn, as a file. */
async function saveCsv() {
  const whole = new Store(sisock, () => {});
  $("csv").disabled = true;
  await whole.load(keysOf(model.state), { ...rangeOf(model.state.time), points: null, isLive: false });
  $("csv").disabled = false;
  downloadCsv(whole.series);
}

/** Return how long the curves take to move by a pixel, within limits. */
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
  panels.draw({ range, now, zone, isFollowing: isFollowing() });
});

conductor = new Conductor($("time"), $("zone"), model, say);
panels = new Panels($("panels"), model, curves, () => {
  draw();
  if (store) loadSoon();
});
model.listen(changed);
$("csv").addEventListener("click", saveCsv);
openSession(work, refresh);
