// Colours: those of the curves, and those of the page as a canvas takes them.

import { make } from "../dom.js";

const CURVES = 8;
const NAMES = ["paper", "ink", "soft", "line", "accent", "warning", "alarm", "good", "stale"];

/** Numbers of the curves' colours, as they stand in the state. */
export const PALETTE = Array.from({ length: CURVES }, (_, i) => String(i + 1));

/** Return the colour of a field as CSS writes it: its own, or that of its place in the panel. */
export function colourOf(shown, index) {
  const { colour = String((index % CURVES) + 1) } = shown;
  return PALETTE.includes(colour) ? `var(--curve-${colour})` : colour;
}

/** Know the colours of the page as they are now, for canvases. */
export class Colours {
  #values = null;

  /** @param {Function} onChange called when they are others: dark, light, or on paper */
  constructor(onChange) {
    const changed = () => {
      this.#values = null;
      onChange();
    };
    for (const query of ["(prefers-color-scheme: dark)", "print"]) matchMedia(query).addEventListener("change", changed);
    new MutationObserver(changed).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  }

  /** Return a colour by its name in base.css, or by `var(--name)`. */
  get(colour) {
    this.#values ??= this.#read();
    const name = /^(?:var\(--)?([\w-]+)\)?$/.exec(colour)?.[1];
    return this.#values.get(name) ?? colour;
  }

  /** Have the browser work out each colour: a custom property may be a function of the theme. */
  #read() {
    const probe = document.body.appendChild(make("span", { hidden: true }));
    const values = [...NAMES, ...PALETTE.map((number) => `curve-${number}`)].map((name) => {
      probe.style.color = `var(--${name})`;
      return [name, getComputedStyle(probe).color];
    });
    probe.remove();
    return new Map(values);
  }
}
