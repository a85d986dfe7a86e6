// The nodes and their fields, as boxes to tick.

import { make } from "../dom.js";
import { durationText } from "../time/text.js";

/** Show the nodes that are there, and those that are chosen and gone. */
export class Tree {
  #element;
  #sisock;
  #onToggle;
  #fields = new Map();
  #open = new Set();

  /** @param {Function} onToggle called with a key "node::field" and whether it is ticked */
  constructor(element, sisock, onToggle) {
    this.#element = element;
    this.#sisock = sisock;
    this.#onToggle = onToggle;
  }

  /** Show these nodes. */
  async show(nodes, chosen) {
    const ofChosen = chosen.map((key) => key.slice(0, key.indexOf("::")));
    for (const node of ofChosen) this.#open.add(node);
    const names = [...new Set([...nodes.keys(), ...ofChosen])].sort();
    await Promise.all(
      [...this.#open].filter((name) => nodes.has(name)).map((name) => this.#load(name)),
    );
    const focused = document.activeElement?.dataset?.key;
    this.#element.replaceChildren(...names.map((name) => this.#node(name, nodes.get(name), nodes, chosen)));
    if (focused) this.#element.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
    if (!names.length) this.#element.textContent = "No data node is there yet.";
  }

  async #load(name) {
    try {
      this.#fields.set(name, await this.#sisock.fields(name));
    } catch (error) {
      this.#fields.set(name, { error: error.message });
    }
  }

  #node(name, node, nodes, chosen) {
    const details = make("details", { className: node ? "node" : "node gone", open: this.#open.has(name) });
    details.dataset.node = name;
    const note = node ? node.description : "not there";
    details.append(make("summary", {}, make("b", {}, name), " ", make("small", {}, note)));
    details.append(...this.#boxes(name, chosen));
    details.addEventListener("toggle", () => {
      if (details.open === this.#open.has(name)) return;
      if (details.open) this.#open.add(name);
      else this.#open.delete(name);
      if (details.open) this.show(nodes, chosen);
    });
    return details;
  }

  #boxes(name, chosen) {
    const fields = this.#fields.get(name) ?? {};
    if (typeof fields.error === "string") return [make("p", { className: "error" }, fields.error)];
    const keys = new Set([
      ...Object.keys(fields).map((field) => `${name}::${field}`),
      ...chosen.filter((key) => key.startsWith(`${name}::`)),
    ]);
    return [...keys].map((key) => {
      const field = key.slice(name.length + 2);
      const box = make("input", { type: "checkbox", checked: chosen.includes(key) });
      box.dataset.key = key;
      box.addEventListener("change", () => this.#onToggle(key, box.checked));
      const about = fields[field];
      return make("label", {}, box, " ", field, " ", make("small", {}, short(about)), make("small", { className: "about" }, tell(about, name)));
    });
  }
}

function short(about) {
  if (!about) return "";
  return [about.units, about.interval && `every ${durationText(about.interval)}`].filter(Boolean).join(", ");
}

function tell(about, node) {
  if (!about) return "";
  const kind = about.type !== "number" && about.type;
  const timeline = about.timeline !== node && `timeline ${about.timeline}`;
  return [about.description, kind, timeline].filter(Boolean).join("; ");
}
