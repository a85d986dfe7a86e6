// The colours of the page, as a canvas takes them.

import { onThemeChange } from "../theme.js";
import { PALETTE } from "./colours.js";

const NAMES = ["paper", "ink", "soft", "line", "accent", "warning", "alarm", "good", "stale"];

/** Know the colours of the page as they are now, for canvases. */
export class Inks {
  #values = null;

  /** @param {Function} onChange called when they are others: dark, light, or on paper */
  constructor(onChange) {
    onThemeChange(() => {
      this.#values = null;
      onChange();
    });
  }

  /** Return a colour by its name in base.css, or by `var(--name)`. */
  get(colour) {
    this.#values ??= this.#read();
    const name = /^(?:var\(--)?([\w-]+)\)?$/.exec(colour)?.[1];
    return this.#values.get(name) ?? colour;
  }

  #read() {
    const style = getComputedStyle(document.documentElement);
    const names = [...NAMES, ...PALETTE.map((number) => `curve-${number}`)];
    return new Map(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  }
}
