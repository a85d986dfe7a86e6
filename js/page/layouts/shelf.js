// Layouts by name: those that this browser keeps, and those that the router offers.

import { formatLayout, parseLayout } from "./layout.js";

const KEY = "sisock-layouts";

/** Keep layouts in the browser. */
export class Shelf {
  #storage;

  /** @param {Storage} storage */
  constructor(storage) {
    this.#storage = storage;
  }

  /** @returns {string[]} in alphabetical order */
  get names() {
    return Object.keys(this.#read()).sort((a, b) => a.localeCompare(b));
  }

  /** Return the state kept under a name; an Error says what is wrong with it. */
  get(name) {
    return parseLayout(this.#read()[name]).state;
  }

  /** Keep a state; replace the one of the same name. */
  put(name, state) {
    this.#write({ ...this.#read(), [name]: formatLayout(name, state) });
  }

  /** Rename a layout. */
  rename(from, to) {
    const { [from]: text, ...others } = this.#read();
    this.#write({ ...others, [to]: formatLayout(to, parseLayout(text).state) });
  }

  /** Remove a layout; return its state. */
  remove(name) {
    const state = this.get(name);
    const { [name]: _, ...others } = this.#read();
    this.#write(others);
    return state;
  }

  #read() {
    try {
      return JSON.parse(this.#storage.getItem(KEY)) ?? {};
    } catch {
      return {};
    }
  }

  #write(layouts) {
    this.#storage.setItem(KEY, JSON.stringify(layouts));
  }
}

/** Return the names of the layouts that the router offers; routers of 2018 offer none. */
export async function offeredNames() {
  const answer = await fetch("layouts", { cache: "no-store" }).catch(() => null);
  const names = answer?.ok ? await answer.json().catch(() => []) : [];
  return Array.isArray(names) ? names : [];
}

/** Return the state of a layout that the router offers; an Error says what is wrong with it. */
export async function offeredState(name) {
  const answer = await fetch(`layouts/${encodeURIComponent(name)}.json`, { cache: "no-store" });
  if (!answer.ok) throw new Error(`the router has no layout ${name}`);
  return parseLayout(await answer.text()).state;
}
