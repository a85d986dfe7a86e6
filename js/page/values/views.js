// The switch between the page's two views.

import { make } from "../dom.js";

const TITLES = { panels: "Curves of the samples in a range", values: "Latest values, as a table" };
const VIEWS = { panels: "Panels", values: "Values" };

/**
 * Fill an element with a button for each view.
 * @param {HTMLElement} element
 * @param {import("../state.js").Model} model
 */
export function showViews(element, model) {
  const buttons = Object.entries(VIEWS).map(([view, text]) => {
    const button = make("button", { type: "button", id: `view-${view}`, title: TITLES[view] }, text);
    button.addEventListener("click", () => model.state.view !== view && model.change({ view }));
    return [view, button];
  });
  const update = () => {
    document.body.dataset.view = model.state.view;
    for (const [view, button] of buttons) button.ariaPressed = String(model.state.view === view);
  };
  Object.assign(element, { role: "group", ariaLabel: "View" });
  element.append(...buttons.map(([, button]) => button));
  model.listen(update);
  update();
}
