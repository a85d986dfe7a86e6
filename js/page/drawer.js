// The region "find" beside the panels; on a phone a drawer over them.

import { $ } from "./dom.js";

const KEY = "sisock-find";
const isNarrow = matchMedia("(max-width: 50rem)");

/** Let a button open and close the region. */
export function startDrawer() {
  const set = (isOpen) => {
    document.body.dataset.find = isOpen ? "open" : "closed";
    $("find-toggle").ariaExpanded = String(isOpen);
    $("find").inert = !isOpen;
    // The page under the drawer cannot be used.
    $("content").inert = isOpen && isNarrow.matches;
  };
  const isOpen = () => document.body.dataset.find === "open";
  const close = () => {
    set(false);
    $("find-toggle").focus();
  };
  $("find-toggle").addEventListener("click", () => {
    set(!isOpen());
    if (!isNarrow.matches) localStorage.setItem(KEY, document.body.dataset.find);
    if (isOpen()) $("search").focus();
  });
  $("find-close").addEventListener("click", close);
  addEventListener("keydown", (event) => {
    if (event.key === "Escape" && isNarrow.matches && isOpen()) close();
  });
  $("shade").addEventListener("click", close);
  const fit = () => set(!isNarrow.matches && localStorage.getItem(KEY) !== "closed");
  isNarrow.addEventListener("change", fit);
  fit();
}
