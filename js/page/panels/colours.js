// The colours of the curves.

const CURVES = 8;

/** Numbers of the curves' colours, as used in the state. */
export const PALETTE = Array.from({ length: CURVES }, (_, i) => String(i + 1));

/** Return the CSS colour of a field: its own, or that of its place in the panel. */
export function colourOf(shown, index) {
  const { colour = String((index % CURVES) + 1) } = shown;
  return PALETTE.includes(colour) ? `var(--curve-${colour})` : colour;
}
