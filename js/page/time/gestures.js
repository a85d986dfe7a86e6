// Gestures on a chart: drag, wheel, pinch and keys change the range; each is one step to undo.

import { pan, within, zoom } from "./ranges.js";

const [KEY_PAN, KEY_ZOOM] = [0.1, 2];
const KEY_CURSOR = 0.01;
const WHEEL_ZOOM = 1.0015;
// Turns of the wheel and key presses that follow each other within this time are one step.
const STEP_MILLISECONDS = 800;
const MIN_DRAG = 4;
const MIDDLE = 1;
// Pixels per line and per page, for wheels that report these.
const WHEEL_UNITS = [1, 16, 400];

/**
 * Let gestures on a panel's chart change the range.
 * @param {{ reach: HTMLElement, area: HTMLElement, select: Function }} panel
 * @param {Model} model
 * @param {function(): { start: number, end: number }} rangeNow returns the drawn range
 * @param {function(number|null)} onCursor
 */
export function movable(panel, model, rangeNow, onCursor) {
  const change = stepwise(model);
  const partAt = (event, { left, width } = panel.reach.getBoundingClientRect()) => {
    return Math.min(Math.max((event.clientX - left) / width, 0), 1);
  };
  const timeAt = (part) => {
    const { start, end } = rangeNow();
    return start + part * (end - start);
  };
  const tools = { panel, model, change, partAt, timeAt, rangeNow, onCursor };
  listenToPointers(tools);
  panel.reach.addEventListener("wheel", (event) => turn(event, tools), { passive: false });
  panel.reach.addEventListener("dblclick", () => model.change({ time: model.home }));
  panel.area.addEventListener("keydown", keyboard(tools));
  panel.area.addEventListener("blur", () => onCursor(null));
}

/** Return a function that changes the range; changes in quick succession are one step. */
function stepwise(model) {
  let last = -Infinity;
  return (time, isStep = performance.now() - last > STEP_MILLISECONDS) => {
    last = performance.now();
    model.change({ time }, { isStep, isGesture: true });
  };
}

function turn(event, { change, model, partAt, timeAt }) {
  event.preventDefault();
  const [x, y] = [event.deltaX, event.deltaY].map((delta) => delta * WHEEL_UNITS[event.deltaMode]);
  if (event.shiftKey || Math.abs(x) > Math.abs(y)) {
    change(pan(model.state.time, (Math.abs(x) > Math.abs(y) ? x : y) / event.currentTarget.clientWidth));
  } else if (y) change(zoom(model.state.time, WHEEL_ZOOM ** y, timeAt(partAt(event))));
}

/** Zoom by dragging; move by dragging with Shift, the middle button or a finger; pinch with two fingers. */
function listenToPointers({ panel, model, change, partAt, timeAt, rangeNow, onCursor }) {
  const { reach } = panel;
  const pointers = new Map();
  let drag = null;

  const begin = () => {
    const parts = [...pointers.values()];
    drag = { ...drag, times: parts.map(timeAt), parts, isStep: drag?.isStep ?? true };
  };
  /** Move the grabbed times to the positions of the pointers. */
  const hold = (parts) => {
    const { start, end } = rangeNow();
    const [first, second] = parts.length > 1 && Math.abs(parts[1] - parts[0]) > 0.01 ? parts : [parts[0], null];
    const span = second === null ? end - start : Math.abs((drag.times[1] - drag.times[0]) / (second - first));
    const from = drag.times[0] - first * span;
    change(within({ from, to: from + span }), drag.isStep);
    drag.isStep = false;
  };

  reach.addEventListener("pointerdown", (event) => {
    if (event.button > MIDDLE) return;
    if (event.button === MIDDLE) event.preventDefault();
    reach.setPointerCapture(event.pointerId);
    panel.area.focus({ preventScroll: true });
    pointers.set(event.pointerId, partAt(event));
    const isMove = event.shiftKey || event.button === MIDDLE || event.pointerType === "touch";
    drag = drag ?? { isMove, x: event.clientX, box: reach.getBoundingClientRect() };
    begin();
  });
  reach.addEventListener("pointermove", (event) => {
    // Measuring in each step of a drag would force two layouts per frame.
    const part = partAt(event, drag?.box);
    if (event.pointerType !== "touch" || !drag) onCursor(timeAt(part));
    if (!pointers.has(event.pointerId)) return;
    pointers.set(event.pointerId, part);
    if (drag.isMove) hold([...pointers.values()]);
    else panel.select(Math.abs(event.clientX - drag.x) < MIN_DRAG ? null : sorted(drag.parts[0], part));
  });
  const end = (event) => {
    if (!pointers.has(event.pointerId)) return;
    const part = partAt(event);
    pointers.delete(event.pointerId);
    const isSelected = event.type === "pointerup" && !drag.isMove && Math.abs(event.clientX - drag.x) >= MIN_DRAG;
    if (isSelected) {
      const [from, to] = sorted(drag.times[0], timeAt(part));
      model.change({ time: within({ from, to }) }, { isGesture: true });
    }
    panel.select(null);
    if (pointers.size) begin();
    else drag = null;
  };
  for (const type of ["pointerup", "pointercancel"]) reach.addEventListener(type, end);
  reach.addEventListener("pointerleave", () => drag || onCursor(null));
}

function sorted(a, b) {
  return a < b ? [a, b] : [b, a];
}

/** Return the actions of keys in a chart. */
function keyboard({ panel, model, change, rangeNow, onCursor }) {
  let cursor = null;
  const move = (part) => change(pan(model.state.time, part));
  const scale = (factor) => change(zoom(model.state.time, factor));
  const point = (by) => {
    const { start, end } = rangeNow();
    const from = cursor === null || cursor < start || cursor > end ? (start + end) / 2 : cursor;
    cursor = Math.min(Math.max(from + by * KEY_CURSOR * (end - start), start), end);
    onCursor(cursor);
  };
  const keys = {
    ArrowLeft: ({ shiftKey }) => (shiftKey ? point(-1) : move(-KEY_PAN)),
    ArrowRight: ({ shiftKey }) => (shiftKey ? point(1) : move(KEY_PAN)),
    "+": () => scale(1 / KEY_ZOOM),
    "=": () => scale(1 / KEY_ZOOM),
    "-": () => scale(KEY_ZOOM),
    0: () => model.change({ time: model.home }),
    Escape: () => {
      cursor = null;
      onCursor(null);
      if (model.state.maximised !== null) model.change({ maximised: null });
    },
  };
  return (event) => {
    const isOther = event.ctrlKey || event.altKey || event.metaKey || event.target !== panel.area;
    if (isOther || !(event.key in keys)) return;
    event.preventDefault();
    keys[event.key](event);
  };
}
