// The colours of the page, as a canvas takes them.

import { onThemeChange } from "../theme.js";
import { PALETTE } from "./colours.js";

const NAMES = ["paper", "ink", "soft", "line", "accent", "warning", "alarm", "good", "stale"];

/** Return the colours of the page as they are now; `get` takes a name of base.css, or `var(--name)`. */
export function coloursNow() {
  const style = getComputedStyle(document.documentElement);
  const names = [...NAMES, ...PALETTE.map((number) => `curve-${number}`)];
  const values = new Map(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  return { get: (colour) => values.get(/^(?:var\(--)?([\w-]+)\)?$/.exec(colour)?.[1]) ?? colour };
}

/** Know the colours of the page, for canvases. */
export class Inks {
  #now = null;

  /** @param {Function} onChange called when they are others: dark, light, or on paper */
  constructor(onChange) {
    onThemeChange(() => {
      this.#now = null;
      onChange();
    });
  }

  /** Return a colour as of `coloursNow`. */
  get(colour) {
    this.#now ??= coloursNow();
    return this.#now.get(colour);
  }
}
