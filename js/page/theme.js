// Light or dark: like the system, or as chosen in this browser; always light on paper.

const KEY = "sisock-theme";
const NAMES = "paper raised ink soft line accent warning alarm good stale".split(" ");
const CURVES = 8;
const isSystemDark = matchMedia("(prefers-color-scheme: dark)");
const callbacks = new Set();

// Registered as colours, so that their computed value is a single colour for a canvas, not a light-dark pair.
for (const name of [...NAMES, ...Array.from({ length: CURVES }, (_, i) => `curve-${i + 1}`)]) {
  CSS.registerProperty({ name: `--${name}`, syntax: "<color>", inherits: true, initialValue: "gray" });
}

/** Call back when the colours have changed, so that canvases can be redrawn. */
export function onThemeChange(callback) {
  callbacks.add(callback);
}

/** Apply the chosen theme, and let a button switch it. */
export function startTheme(button) {
  const apply = (theme) => {
    if (theme) document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
    const isDark = (theme ?? systemTheme()) === "dark";
    button.ariaPressed = String(isDark);
    for (const callback of callbacks) callback();
  };
  button.addEventListener("click", () => {
    const next = (chosen() ?? systemTheme()) === "dark" ? "light" : "dark";
    // Choosing the system's current theme means following the system again.
    if (next === systemTheme()) localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, next);
    apply(chosen());
  });
  isSystemDark.addEventListener("change", () => apply(chosen()));
  addEventListener("beforeprint", () => apply("light"));
  addEventListener("afterprint", () => apply(chosen()));
  apply(chosen());
}

function chosen() {
  const theme = localStorage.getItem(KEY);
  return ["light", "dark"].includes(theme) ? theme : null;
}

function systemTheme() {
  return isSystemDark.matches ? "dark" : "light";
}
