// The settings of a panel, in a dialog: colours and labels of its fields, the ranges of its axes.

import { button, make } from "../dom.js";
import { PALETTE } from "./colours.js";
import { figureOf } from "./figure.js";
import { changeField, changePanel } from "./place.js";

/**
 * Let the user change the settings of a panel; each change shows immediately.
 * @param {Model} model
 * @param {number} index of the panel
 * @param {Map<string, Curve>} curves by key
 * @param {string|null} [key] of the field to focus first
 */
export function openSettings(model, index, curves, key = null) {
  const panel = model.state.panels[index];
  const { fields, units } = figureOf(panel, curves, { start: 0, end: 0 });
  const dialog = make("dialog", { className: "settings", tabIndex: -1, ariaLabel: "Settings of the panel" });
  const close = button("✕", "close", () => dialog.close());
  dialog.append(
    make("header", {}, make("h2", {}, `Panel ${index + 1}`), close),
    ...fields.map((field, i) => fieldRow(model, index, field, i)),
    ...units.map(({ unit }) => axisRow(model, index, unit)),
    tableRow(model, index),
  );
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  document.body.append(dialog);
  dialog.showModal();
  const first = key && dialog.querySelector(`[data-key="${CSS.escape(key)}"] [name=label]`);
  (first ?? dialog).focus();
}

function fieldRow(model, index, { shown, curve }, place) {
  const { key } = shown;
  const change = (changes) => model.change(changeField(model.state, index, key, changes));
  const label = make("input", { name: "label", value: shown.label ?? "", placeholder: key, ariaLabel: `label of ${key}` });
  label.addEventListener("change", () => change({ label: label.value.trim() || undefined }));
  const chosen = shown.colour ?? String((place % PALETTE.length) + 1);
  const colours = PALETTE.map((number) => {
    const choice = make("input", { type: "radio", name: `colour of ${key}`, checked: number === chosen, ariaLabel: `colour ${number}` });
    choice.style.setProperty("--colour", `var(--curve-${number})`);
    choice.addEventListener("change", () => change({ colour: number }));
    return choice;
  });
  const row = make("fieldset", {}, make("legend", {}, key), label, make("span", { className: "palette" }, ...colours));
  const { description } = curve.about ?? {};
  if (description) row.append(make("small", {}, description));
  row.dataset.key = key;
  return row;
}

function axisRow(model, index, unit) {
  const axisOf = () => model.state.panels[index].axes?.[unit] ?? {};
  const change = (changes) => {
    const axis = Object.fromEntries(Object.entries({ ...axisOf(), ...changes }).filter(([, value]) => value !== undefined && value !== false));
    const { [unit]: _, ...others } = model.state.panels[index].axes ?? {};
    const axes = Object.keys(axis).length ? { ...others, [unit]: axis } : others;
    model.change(changePanel(model.state, index, { axes: Object.keys(axes).length ? axes : undefined }));
  };
  const end = (name, text) => {
    const input = make("input", { type: "number", step: "any", name, placeholder: "auto", value: axisOf()[name] ?? "" });
    input.addEventListener("change", () => change({ [name]: input.value === "" ? undefined : Number(input.value) }));
    return make("label", {}, text, " ", input);
  };
  const log = make("input", { type: "checkbox", name: "log", checked: Boolean(axisOf().isLog) });
  log.addEventListener("change", () => change({ isLog: log.checked }));
  const row = make("fieldset", {}, make("legend", {}, `Axis ${unit ? `in ${unit}` : "without a unit"}`), end("low", "from"), end("high", "to"), make("label", {}, log, " logarithmic"));
  row.dataset.unit = unit;
  return row;
}

function tableRow(model, index) {
  const box = make("input", { type: "checkbox", name: "table", checked: Boolean(model.state.panels[index].isTable) });
  box.addEventListener("change", () => model.change(changePanel(model.state, index, { isTable: box.checked || undefined })));
  return make("label", {}, box, " list the samples in a table, too");
}
