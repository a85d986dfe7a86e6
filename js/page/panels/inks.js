// The colours of the page, for canvases.

import { onThemeChange } from "../theme.js";
import { PALETTE } from "./colours.js";

const NAMES = ["paper", "ink", "soft", "line", "accent", "warning", "alarm", "good", "stale"];

/** Return the current colours of the page; `get` takes a name from base.css, or `var(--name)`. */
export function coloursNow() {
  const style = getComputedStyle(document.documentElement);
  const names = [...NAMES, ...PALETTE.map((number) => `curve-${number}`)];
  const values = new Map(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  return { get: (colour) => values.get(/^(?:var\(--)?([\w-]+)\)?$/.exec(colour)?.[1]) ?? colour };
}

/** Keep the colours of the page. */
export class Inks {
  #now = null;

  /** @param {Function} onChange called when they change: to dark, light, or for paper */
  constructor(onChange) {
    onThemeChange(() => {
      this.#now = null;
      onChange();
    });
  }

  /** Return a colour, like `get` of `coloursNow`. */
  get(colour) {
    this.#now ??= coloursNow();
    return this.#now.get(colour);
  }
}
