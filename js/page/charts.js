// The charts: one for all fields, or one a field, with a common cursor; drag to zoom.

import uPlot from "uplot";

import { align, visible } from "./curves.js";
import { show } from "./table.js";

const COLOURS = ["#1f77b4", "#d95f02", "#2a9d5c", "#c2185b", "#7b5fc9", "#a07000", "#008b8b", "#6d6d6d"];
// Parts of the window's height, and pixels at least.
const HEIGHT_ONE = [0.5, 380];
const HEIGHT_STACKED = [0.2, 170];
const GREY = "#8a8a8a";
// A column of pixels shows a smallest and a largest sample.
const POINTS_PER_COLUMN = 2;
const MIN_WIDTH = 100;

/** Return the colour of the n-th field. */
export function colourOf(index) {
  return COLOURS[index % COLOURS.length];
}

/** Draw the store's curves into an element. */
export class Charts {
  #element;
  #onZoom;
  #plots = [];
  #shape = "";

  /** @param {Function} onZoom called with start and end in UNIX seconds */
  constructor(element, onZoom) {
    this.#element = element;
    this.#onZoom = onZoom;
    new ResizeObserver(() => this.#resize()).observe(element);
  }

  /** Return how many samples of each curve there is room for. */
  get points() {
    const columns = Math.max(this.#element.clientWidth, MIN_WIDTH) * devicePixelRatio;
    return Math.ceil(columns) * POINTS_PER_COLUMN;
  }

  /** Draw; charts are only rebuilt if there are others than before. */
  draw(series, { start, end }, isStacked) {
    const drawn = series.filter(({ about }) => about && about.type !== "string");
    const groups = isStacked ? drawn.map((each) => [each]) : drawn.length ? [drawn] : [];
    const shape = JSON.stringify(groups.map((group) => group.map(({ key, about, gone }) => [key, about.units, gone])));
    if (shape !== this.#shape) this.#rebuild(groups, series, shape);
    groups.forEach((group, i) => this.#fill(this.#plots[i], group, start, end));
  }

  #fill(plot, group, start, end) {
    const pixels = Math.max(plot.width, MIN_WIDTH);
    const curves = group.map(({ t, values, longest, gaps }) =>
      visible(t.array, values.array, start, end, pixels, longest, gaps),
    );
    plot.batch(() => {
      plot.setData(align(curves), false);
      plot.setScale("x", { min: start, max: end });
    });
  }

  #rebuild(groups, series, shape) {
    for (const plot of this.#plots) plot.destroy();
    this.#element.replaceChildren();
    this.#plots = groups.map((group) => this.#make(group, series, groups.length > 1));
    this.#shape = shape;
  }

  #make(group, series, isOneOfMany) {
    const style = getComputedStyle(this.#element);
    const [ink, grid] = [style.color, style.getPropertyValue("--line")];
    const units = [...new Set(group.map(({ about }) => about.units ?? ""))];
    const font = `${Math.round(parseFloat(style.fontSize) * 0.8)}px system-ui, sans-serif`;
    const axis = { stroke: ink, font, labelFont: font, grid: { stroke: grid }, ticks: { stroke: grid } };
    const [part, least] = isOneOfMany ? HEIGHT_STACKED : HEIGHT_ONE;
    const options = {
      width: this.#element.clientWidth,
      height: Math.max(window.innerHeight * part, least),
      // All times of the page are UTC, as those of an observatory.
      tzDate: (t) => uPlot.tzDate(new Date(t * 1000), "Etc/UTC"),
      cursor: { sync: { key: "sisock" }, drag: { x: true, y: false, setScale: false } },
      scales: { x: { time: true }, ...Object.fromEntries(units.map((unit) => [unit || "none", {}])) },
      axes: [
        axis,
        ...units.map((unit, i) => ({
          ...axis,
          scale: unit || "none",
          side: i % 2 ? 1 : 3,
          label: unit || undefined,
          size: parseFloat(style.fontSize) * 4,
          grid: { show: i === 0, stroke: grid },
        })),
      ],
      series: [
        { label: "UTC" },
        ...group.map((each) => ({
          label: `${each.node} ${each.field}`,
          scale: each.about.units || "none",
          stroke: each.gone ? GREY : colourOf(series.indexOf(each)),
          dash: each.gone ? [4, 4] : undefined,
          value: (_, value) => (value == null ? "--" : show(each.about.type === "bool" ? Boolean(value) : value, each.about)),
          width: 1.5,
          points: { show: false },
        })),
      ],
      hooks: { setSelect: [(plot) => this.#zoomed(plot)] },
    };
    return new uPlot(options, [[], ...group.map(() => [])], this.#element);
  }

  #zoomed(plot) {
    const { left, width } = plot.select;
    if (width < 4) return;
    const [start, end] = [plot.posToVal(left, "x"), plot.posToVal(left + width, "x")];
    plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
    this.#onZoom(start, end);
  }

  #resize() {
    for (const plot of this.#plots) {
      plot.setSize({ width: this.#element.clientWidth, height: plot.height });
    }
  }
}
