// The menu of layouts: from this browser, from the router, and from files.

import { button, make } from "../dom.js";
import { say } from "../notice.js";
import { parseState } from "../state.js";
import { choose, save } from "./files.js";
import { formatLayout, nameOf, parseLayout } from "./layout.js";
import { Shelf, offeredNames, offeredState } from "./shelf.js";

// Parts of an address that override those of the layout that it names.
const OWN = { last: "time", from: "time", zone: "zone", view: "view", order: "order" };
// Pixels between the menu and the window's edge.
const EDGE = 10;

/** Fill an element with the menu. */
export class LayoutMenu {
  #model;
  #shelf = new Shelf(localStorage);
  #name = make("input", { id: "layout-name", placeholder: "Name", ariaLabel: "Name of the layout", autocomplete: "off", maxLength: 100 });
  #kept = make("ul", { ariaLabel: "Layouts in this browser" });
  #offered = make("ul", { ariaLabel: "Layouts of the router" });

  /**
   * @param {HTMLElement} element
   * @param {import("../state.js").Model} model
   */
  constructor(element, model) {
    this.#model = model;
    const form = make("form", {}, this.#name, make("button", {}, "Save"));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#keep();
    });
    const menu = make(
      "div",
      { id: "layouts-menu", popover: "auto" },
      form,
      make("h2", {}, "In this browser"),
      this.#kept,
      make("h2", {}, "From the router"),
      this.#offered,
      make("p", { className: "files" }, button("Save as a file", "Save as a file", () => this.#download()), button("Open a file …", "Open a file …", () => this.#upload())),
    );
    const toggle = make("button", { type: "button", id: "layouts-open", popoverTargetElement: menu }, "Layouts");
    menu.addEventListener("beforetoggle", ({ newState }) => newState === "open" && this.#show());
    // Below its button, moved left if there is no room.
    menu.addEventListener("toggle", () => {
      menu.style.left = `${Math.max(Math.min(toggle.offsetLeft, innerWidth - menu.offsetWidth - EDGE), EDGE)}px`;
    });
    element.append(toggle, menu);
    this.#openNamed();
  }

  /** Open the router's layout that the address names. */
  async #openNamed() {
    const given = new URLSearchParams(location.search);
    if (!given.has("layout")) return;
    const own = Object.keys(OWN).filter((name) => given.has(name)).map((name) => OWN[name]);
    const state = parseState(location.search);
    const changes = Object.fromEntries(own.map((part) => [part, state[part]]));
    await this.#open(given.get("layout"), async (name) => ({ ...(await offeredState(name)), ...changes }), { isStep: false });
  }

  async #open(name, stateOf, options) {
    try {
      this.#model.change(await stateOf(name), options);
      this.#name.value = name;
    } catch (error) {
      say(`The layout ${name} cannot be opened: ${error.message}`, true);
    }
  }

  #keep() {
    const name = nameOf(this.#name.value);
    try {
      this.#shelf.put(name, this.#model.state);
      say(`The layout ${name} is kept in this browser.`);
    } catch (error) {
      say(`The browser does not keep it: ${error.message}`, true);
    }
    this.#show();
  }

  #download() {
    const name = nameOf(this.#name.value);
    save(`${name}.json`, new Blob([formatLayout(name, this.#model.state)], { type: "application/json" }));
  }

  async #upload() {
    const file = await choose(".json,application/json");
    if (!file) return;
    await this.#open(file.name, () => {
      const { name, state } = parseLayout(file.text);
      file.name = name;
      return state;
    });
    this.#name.value = file.name;
  }

  async #show() {
    this.#kept.replaceChildren(...this.#shelf.names.map((name) => this.#item(name)), ...none(this.#shelf.names));
    const names = await offeredNames();
    const items = names.map((name) => make("li", {}, this.#opener(name, offeredState)));
    this.#offered.replaceChildren(...items, ...none(names));
  }

  #opener(name, stateOf) {
    const open = make("button", { type: "button", className: "open" }, name);
    open.addEventListener("click", () => this.#open(name, stateOf));
    return open;
  }

  #item(name) {
    const item = make("li", {}, this.#opener(name, (each) => this.#shelf.get(each)));
    item.append(button("✎", `rename ${name}`, () => this.#rename(item, name)), button("✕", `delete ${name}`, () => this.#remove(name)));
    return item;
  }

  #remove(name) {
    try {
      const state = this.#shelf.remove(name);
      const restore = () => this.#shelf.put(name, state);
      say(`The layout ${name} is deleted.`, false, { label: "Undo", act: restore });
    } catch (error) {
      say(`The layout ${name} cannot be deleted: ${error.message}`, true);
    }
    this.#show();
  }

  /** Let the user edit the name in place. */
  #rename(item, name) {
    const input = make("input", { value: name, ariaLabel: `New name of ${name}`, maxLength: 100 });
    input.addEventListener("keydown", (event) => {
      if (event.key === "Escape") event.preventDefault();
      if (event.key === "Enter") this.#shelf.rename(name, nameOf(input.value));
      if (["Enter", "Escape"].includes(event.key)) this.#show();
    });
    item.replaceChildren(input);
    input.select();
  }
}

function none(names) {
  return names.length ? [] : [make("li", { className: "none" }, "none")];
}
