// The charts: one for all fields of one or two units, or one a field, aligned and with a common cursor; drag to zoom.

import uPlot from "uplot";

import { align, visible } from "../data/curves.js";
import { timeLabels } from "../time/text.js";
import { widthOf } from "./axes.js";

const COLOURS = ["#1f77b4", "#d95f02", "#2a9d5c", "#c2185b", "#7b5fc9", "#a07000", "#008b8b", "#6d6d6d"];
// Parts of the window's height, and pixels at least.
const HEIGHT_ONE = [0.5, 380];
const HEIGHT_STACKED = [0.2, 170];
const GREY = "#8a8a8a";
// A column of pixels shows a smallest and a largest sample.
const POINTS_PER_COLUMN = 2;
const MIN_WIDTH = 100;
// Pixels from one label of the time axis to the next, without seconds and with them.
const LABEL_DISTANCES = [56, 76];
const SECONDS_SPAN = 600;
const UNIT_WIDTH = 20;
// Room for half a label beyond the chart's edge.
const EDGE = 20;
// Below this width a chart has room for one axis of values only.
const TWO_AXES_WIDTH = 600;

/** Return the colour of the n-th field. */
export function colourOf(index) {
  return COLOURS[index % COLOURS.length];
}

/** Draw the store's curves into an element. */
export class Charts {
  #element;
  #onZoom;
  #onCursor;
  #plots = [];
  #shape = "";
  // All axes of values have the width that the widest needs, so that charts above each other are aligned.
  #axisWidth = 0;
  #widthNeeded = 0;

  /**
   * @param {Function} onZoom called with start and end in UNIX seconds
   * @param {Function} onCursor called with the time at the cursor, null if there is none
   */
  constructor(element, onZoom, onCursor) {
    this.#element = element;
    this.#onZoom = onZoom;
    this.#onCursor = onCursor;
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
    const groups = isStacked ? drawn.map((each) => [each]) : byUnits(drawn, this.#element.clientWidth < TWO_AXES_WIDTH ? 1 : 2);
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
    this.#axisWidth = this.#widthNeeded = 0;
    const axes = Math.max(...groups.map((group) => unitsOf(group).length));
    this.#plots = groups.map((group) => this.#make(group, series, groups.length > 1, axes));
    this.#shape = shape;
  }

  /** Make the chart of a group, with room for as many axes as another has. */
  #make(group, series, isOneOfMany, axes) {
    const style = getComputedStyle(this.#element);
    const [ink, grid] = [style.color, style.getPropertyValue("--line")];
    const units = unitsOf(group);
    const fontSize = Math.round(parseFloat(style.fontSize) * 0.8);
    const font = `${fontSize}px system-ui, sans-serif`;
    const lines = { stroke: grid, width: 1 };
    const axis = { stroke: ink, font, labelFont: font, labelSize: UNIT_WIDTH, grid: lines, ticks: lines };
    const [part, least] = isOneOfMany ? HEIGHT_STACKED : HEIGHT_ONE;
    const options = {
      width: this.#element.clientWidth,
      height: Math.max(window.innerHeight * part, least),
      // All times of the page are UTC, as those of an observatory.
      tzDate: (t) => uPlot.tzDate(new Date(t * 1000), "Etc/UTC"),
      cursor: { sync: { key: "sisock" }, drag: { x: true, y: false, setScale: false } },
      scales: { x: { time: true }, ...Object.fromEntries(units.map((unit) => [unit || "none", {}])) },
      legend: { show: false },
      padding: [EDGE, () => (units.length < axes ? this.#axisWidth + UNIT_WIDTH : units.length > 1 ? 0 : EDGE), 0, 0],
      axes: [
        { ...axis, space: labelDistance, values: (plot, times, index, space, step) => timeLabels(times, step) },
        ...units.map((unit, i) => ({
          ...axis,
          scale: unit || "none",
          side: i % 2 ? 1 : 3,
          label: unit || (isOneOfMany ? " " : undefined),
          size: (plot, labels) => this.#widthFor(widthOf(labels, fontSize)),
          grid: { ...lines, show: i === 0 },
        })),
      ],
      series: [
        {},
        ...group.map((each) => ({
          scale: each.about.units || "none",
          stroke: each.gone ? GREY : colourOf(series.indexOf(each)),
          dash: each.gone ? [4, 4] : undefined,
          width: 1.5,
          points: { show: false },
        })),
      ],
      hooks: {
        setSelect: [(plot) => this.#zoomed(plot)],
        setCursor: [(plot) => this.#onCursor(plot.cursor.left >= 0 ? plot.posToVal(plot.cursor.left, "x") : null)],
        draw: [() => this.#widenAxes()],
      },
    };
    return new uPlot(options, [[], ...group.map(() => [])], this.#element);
  }

  #widthFor(needed) {
    this.#widthNeeded = Math.max(this.#widthNeeded, needed);
    return this.#axisWidth;
  }

  /** Give all axes more room if one of them turned out to need it. */
  #widenAxes() {
    if (this.#axisWidth === this.#widthNeeded) return;
    this.#axisWidth = this.#widthNeeded;
    queueMicrotask(() => this.#resize());
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

/** Put curves into groups of so many units at most. */
function byUnits(series, most) {
  const units = unitsOf(series);
  const groups = Array.from({ length: Math.ceil(units.length / most) }, () => []);
  for (const curve of series) groups[Math.floor(units.indexOf(unitOf(curve)) / most)].push(curve);
  return groups;
}

function unitsOf(series) {
  return [...new Set(series.map(unitOf))];
}

function unitOf({ about }) {
  return about.units ?? "";
}

function labelDistance(plot, axis, start, end) {
  return LABEL_DISTANCES[end - start < SECONDS_SPAN ? 1 : 0];
}
