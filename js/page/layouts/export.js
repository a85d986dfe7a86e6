// The dialog that saves all samples of the view as CSV or JSON; shows size and progress, and can be cancelled.

import { button, make, write } from "../dom.js";
import { rangeText } from "../time/text.js";
import { save } from "./files.js";
import { CsvWriter, JsonWriter, isoText } from "./formats.js";
import { describe, estimate, windowsOf } from "./samples.js";

const WRITERS = { csv: CsvWriter, json: JsonWriter };
const MEGABYTE = 1e6;

/** Save samples of the shown fields. */
export class Export {
  #sisock;
  #keys;
  #range;
  #zone;
  #abort = new AbortController();
  #fields = null;
  #format = "csv";
  #about = make("p", {}, "Asking how many samples there are …");
  #progress = make("progress", { max: 1, value: 0, hidden: true, ariaLabel: "Part that is fetched" });
  #save = make("button", { type: "button", className: "main", disabled: true }, "Save");
  #dialog = make("dialog", { id: "export", className: "settings", tabIndex: -1, ariaLabel: "Save the samples" });

  /**
   * @param {Sisock} sisock
   * @param {string[]} keys of the fields
   * @param {{ start: number, end: number }} range
   * @param {"utc"|"local"} zone
   */
  constructor(sisock, keys, range, zone) {
    [this.#sisock, this.#keys, this.#range, this.#zone] = [sisock, keys, range, zone];
  }

  /** Open the dialog. */
  open() {
    const choices = Object.keys(WRITERS).map((format) => {
      const input = make("input", { type: "radio", name: "format", value: format, checked: format === this.#format });
      input.addEventListener("change", () => {
        this.#format = format;
        this.#tell();
      });
      return make("label", {}, input, ` ${format.toUpperCase()}`);
    });
    const cancel = make("button", { type: "button" }, "Cancel");
    cancel.addEventListener("click", () => this.#dialog.close());
    this.#save.addEventListener("click", () => this.#run());
    const { start, end } = this.#range;
    this.#dialog.append(
      make("header", {}, make("h2", {}, "Save the samples"), button("✕", "close", () => this.#dialog.close())),
      make("p", {}, `All samples of ${count(this.#keys.length, "field")}, ${rangeText(start, end, this.#zone)}; times are written as ISO in UTC, and as UNIX times.`),
      make("p", { className: "choices" }, ...choices),
      this.#about,
      this.#progress,
      make("p", { className: "buttons" }, cancel, this.#save),
    );
    this.#about.role = "status";
    this.#dialog.addEventListener("close", () => {
      this.#abort.abort();
      this.#dialog.remove();
    });
    document.body.append(this.#dialog);
    this.#dialog.showModal();
    this.#dialog.focus();
    this.#ask();
  }

  async #ask() {
    if (!this.#keys.length) return write(this.#about, "There is no field whose samples could be saved.");
    try {
      this.#fields = await describe(this.#sisock, this.#keys);
      this.#save.disabled = false;
      this.#tell();
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Show the size of the file, as far as it is known. */
  #tell() {
    if (!this.#fields) return;
    const { samples, bytes, isWhole } = estimate(this.#fields, this.#range, this.#format);
    const size = `about ${count(Number(samples.toPrecision(3)), "sample")}, ${sizeText(bytes)}`;
    const unknown = samples ? `more than ${size.slice(6)}: some nodes do not say` : "how many samples, the nodes do not say";
    write(this.#about, isWhole ? size : unknown);
  }

  async #run() {
    this.#save.disabled = true;
    for (const input of this.#dialog.querySelectorAll("input")) input.disabled = true;
    this.#progress.hidden = false;
    const { start, end } = this.#range;
    const writer = new WRITERS[this.#format](this.#fields, this.#range);
    let samples = 0;
    let reason = null;
    const show = () => {
      const part = `${count(samples, "sample")}, ${sizeText(writer.size)}`;
      write(this.#about, reason ? `${part}; waiting: ${reason}` : part);
    };
    const onWait = (why) => {
      reason = why;
      show();
    };
    try {
      for await (const window of windowsOf(this.#sisock, this.#fields, this.#range, { signal: this.#abort.signal, onWait })) {
        writer.add(window.series);
        samples += window.series.reduce((sum, { t }) => sum + t.length, 0);
        this.#progress.value = (window.end - start) / (end - start);
        show();
      }
      save(`sisock ${isoText(start).slice(0, 19)} ${isoText(end).slice(0, 19)}.${this.#format}`, writer.finish());
      this.#dialog.close();
    } catch (error) {
      if (error.name !== "AbortError") this.#fail(error);
    }
  }

  #fail(error) {
    this.#progress.hidden = true;
    this.#about.className = "error";
    write(this.#about, `Nothing is saved: ${error.message}`);
  }
}

/** Write a count: 1 sample, 12,000 samples, 3.4 million samples. */
function count(number, name) {
  const text = number < MEGABYTE ? number.toLocaleString("en") : `${Number((number / MEGABYTE).toPrecision(3))} million`;
  return `${text} ${name}${number === 1 ? "" : "s"}`;
}

function sizeText(bytes) {
  if (bytes < MEGABYTE) return `${Math.ceil(bytes / 1000)} kB`;
  return `${Number((bytes / MEGABYTE).toPrecision(3)).toLocaleString("en")} MB`;
}
