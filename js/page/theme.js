// Light and dark: as the system says, or as the switch was set in this browser; and on paper light.

const KEY = "sisock-theme";
const NAMES = "paper raised ink soft line accent warning alarm good stale".split(" ");
const CURVES = 8;
const isSystemDark = matchMedia("(prefers-color-scheme: dark)");
const callbacks = new Set();

// As colours their computed value is one that a canvas takes, not the pair for light and dark.
for (const name of [...NAMES, ...Array.from({ length: CURVES }, (_, i) => `curve-${i + 1}`)]) {
  CSS.registerProperty({ name: `--${name}`, syntax: "<color>", inherits: true, initialValue: "gray" });
}

/** Call back when all colours have become others, as those of a canvas have to be drawn again. */
export function onThemeChange(callback) {
  callbacks.add(callback);
}

/** Apply what was chosen, and have a button switch. */
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
    // Who goes back to what the system says follows it again.
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
