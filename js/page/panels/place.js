// Add, remove, move, resize and maximise panels.

import { button, make, menuButton } from "../dom.js";

export const MIN_HEIGHT = 60;
const KEY_STEP = 20;

/** Return the change that adds an empty panel. */
export function addPanel({ panels }) {
  return { panels: [...panels, { fields: [] }], maximised: null };
}

/** Return the change that removes a panel. */
export function removePanel({ panels }, index) {
  return { panels: panels.toSpliced(index, 1), maximised: null };
}

/** Return the change that moves a panel to another place; no change beyond the ends. */
export function movePanel({ panels }, index, to) {
  if (!(to in panels)) return {};
  return { panels: panels.toSpliced(index, 1).toSpliced(to, 0, panels[index]) };
}

/** Return the change of some properties of a panel; `undefined` removes one. */
export function changePanel({ panels }, index, changes) {
  const changed = Object.entries({ ...panels[index], ...changes }).filter(([, value]) => value !== undefined);
  return { panels: panels.with(index, Object.fromEntries(changed)) };
}

/** Return the change of some properties of a field of a panel. */
export function changeField(state, index, key, changes) {
  const fields = state.panels[index].fields.map((field) => {
    if (field.key !== key) return field;
    const changed = Object.entries({ ...field, ...changes }).filter(([, value]) => value !== undefined && value !== false);
    return Object.fromEntries(changed);
  });
  return changePanel(state, index, { fields });
}

/** Return the change that shows one field alone, or all again if it already was. */
export function isolateField(state, index, key) {
  const { fields } = state.panels[index];
  const isAlone = fields.every((field) => Boolean(field.isHidden) === (field.key !== key));
  const shown = fields.map(({ isHidden, ...field }) => (isAlone || field.key === key ? field : { ...field, isHidden: true }));
  return changePanel(state, index, { fields: shown });
}

/**
 * Make the menu of a panel.
 * @param {Model} model
 * @param {function(): number} indexOf returns the panel's index
 * @param {Function} onSettings
 * @param {Function} onPicture
 * @param {function(): boolean} isDrawn whether the panel shows anything
 */
export function placeMenu(model, indexOf, onSettings, onPicture, isDrawn) {
  const move = (by) => () => model.change(movePanel(model.state, indexOf(), indexOf() + by));
  const canMove = (by) => () => model.state.maximised === null && indexOf() + by in model.state.panels;
  const always = () => true;
  const maximise = () => model.change({ maximised: model.state.maximised === null ? indexOf() : null });
  const large = button("⤢", "maximise the panel, or show all", maximise);
  large.className = "large";
  return make(
    "div",
    { className: "panel-menu" },
    large,
    ...menuButton("menu of the panel", [
      ["Maximise", maximise, () => model.state.maximised === null && model.state.panels.length > 1],
      ["Move up", move(-1), canMove(-1)],
      ["Move down", move(1), canMove(1)],
      ["Settings …", onSettings, isDrawn],
      ["Save as a picture …", onPicture, isDrawn],
      ["Remove", () => model.change(removePanel(model.state, indexOf())), always],
    ]),
  );
}

/**
 * Make the handle below a panel that changes its height, by drag and by arrow keys; a double click makes it automatic.
 * @param {function(): number} heightOf returns the current height of the chart
 * @param {function(number|undefined, boolean)} onHeight called with a height, and whether it begins a step
 */
export function resizeHandle(heightOf, onHeight) {
  const handle = make("div", { className: "resize", tabIndex: 0, role: "separator", ariaLabel: "height of the panel" });
  handle.ariaOrientation = "horizontal";
  let began = null;
  const tell = (height) => (handle.ariaValueNow = String(Math.round(height)));
  const set = (height, isStep) => {
    tell(Math.max(height, MIN_HEIGHT));
    onHeight(Math.max(Math.round(height), MIN_HEIGHT), isStep);
  };
  tell(MIN_HEIGHT);
  handle.ariaValueMin = String(MIN_HEIGHT);
  handle.ariaValueMax = String(Math.max(screen.height, MIN_HEIGHT));
  handle.addEventListener("focus", () => tell(heightOf()));
  handle.addEventListener("pointerdown", (event) => {
    handle.setPointerCapture(event.pointerId);
    began = { y: event.clientY, height: heightOf(), isStep: true };
  });
  handle.addEventListener("pointermove", (event) => {
    if (!began || event.clientY === began.y) return;
    set(began.height + event.clientY - began.y, began.isStep);
    began.isStep = false;
  });
  for (const end of ["pointerup", "pointercancel"]) handle.addEventListener(end, () => (began = null));
  handle.addEventListener("dblclick", () => onHeight(undefined, true));
  handle.addEventListener("keydown", ({ key }) => {
    const by = { ArrowUp: -KEY_STEP, ArrowDown: KEY_STEP }[key];
    if (by) set(heightOf() + by, true);
  });
  return handle;
}
