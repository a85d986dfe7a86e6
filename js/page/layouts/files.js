// Let the browser save and open files.

import { make } from "../dom.js";

// Milliseconds within which a browser begins to save a file.
const KEPT_MILLISECONDS = 60_000;

/** Let the browser save a file. */
export function save(name, blob) {
  const link = make("a", { href: URL.createObjectURL(blob), download: fileName(name) });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), KEPT_MILLISECONDS);
}

/** Let the user choose a file; return its name and text, or null. */
export function choose(accept) {
  const input = make("input", { type: "file", accept });
  return new Promise((done) => {
    input.addEventListener("change", async () => done({ name: input.files[0].name, text: await input.files[0].text() }));
    input.addEventListener("cancel", () => done(null));
    input.click();
  });
}

/** Return a name without the characters that some systems reject. */
export function fileName(text) {
  return text.replace(/[\\/:*?"<>|\p{Cc}]+/gu, "-");
}

/** Shorten a text to whole words, if the first one is not too long. */
export function shorten(text, length) {
  if (text.length <= length) return text;
  return text.slice(0, length + 1).replace(/[\s,]+[^\s,]*$/, "").slice(0, length);
}
