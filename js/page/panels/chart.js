// One chart: uPlot for scales, axes and grid; lanes, bands and curves are drawn on its canvas.

import uPlot from "uplot";

import { STEPS, ticksOf } from "../time/ticks.js";
import { timeLabels } from "../time/text.js";
import { widthOf } from "./axes.js";
import { LANE_HEIGHT, drawLane } from "./lanes.js";
import { drawBands, drawMarks, limitsOf } from "./limits.js";
import { lineStyle, trace } from "./lines.js";
import { axisLabels, decadeLabels, isDecade } from "./units.js";

// Pixels of the time axis, and of the room above the plot for units and half a digit.
export const TIME_AXIS = 36;
const UNIT_ROOM = 18;
const FONT_SIZE = 11;
// Pixels from one label of the time axis to the next, without seconds and with them.
const LABEL_DISTANCES = [62, 84];
const SECONDS_SPAN = 600;
const MIN_PLOT = 2;
const HATCH = 7;

/** Draw curves and lanes into an element; a new uPlot is made only if the axes are others than before. */
export class Chart {
  #element;
  #colours;
  #plot = null;
  #shape = "";
  #frame = null;

  /** @param {Inks} colours */
  constructor(element, colours) {
    this.#element = element;
    this.#colours = colours;
  }

  /** The pixels that its axes of values need: [left, right]. */
  needed = [0, 0];

  /** The canvas that it is drawn on, for pictures. */
  get canvas() {
    return this.#element.querySelector("canvas");
  }

  /**
   * Draw.
   * @param {object} frame range; now; zone; width and height in pixels; scale of all letters; gutters [left, right];
   *   units, of each axis { unit, text, factor, range: [low, high], isLog }; lines and lanes, of each { curve, name,
   *   colour, unit }
   */
  draw(frame) {
    const { units, lanes, width, height, range, scale } = frame;
    this.#frame = frame;
    const shape = JSON.stringify([units.map(({ unit, isLog }) => [unit, isLog]), lanes.length, scale]);
    if (shape !== this.#shape) this.#rebuild(shape);
    const plot = this.#plot;
    if (plot.width !== width || plot.height !== height) plot.setSize({ width, height });
    this.needed = [0, 0];
    plot.batch(() => {
      units.forEach(({ range: [min, max] }, i) => plot.setScale(`y${i}`, { min, max }));
      plot.setScale("x", { min: range.start, max: range.end });
      plot.redraw(false, true);
    });
  }

  /** Take it off the page. */
  destroy() {
    this.#plot?.destroy();
  }

  #rebuild(shape) {
    this.#plot?.destroy();
    this.#shape = shape;
    const { units, lanes, width, height } = this.#frame;
    const above = (lanes.length * LANE_HEIGHT + (units.length ? UNIT_ROOM : 4)) * this.#frame.scale;
    const scaleOf = (isLog) => ({ distr: isLog ? 3 : 1, range: (plot, min, max) => [min, max] });
    const options = {
      width,
      height,
      pxAlign: 1,
      cursor: { show: false },
      legend: { show: false },
      padding: [above, () => (units.length > 1 ? 0 : this.#frame.gutters[1]), 0, () => (units.length ? 0 : this.#frame.gutters[0])],
      scales: { x: { time: true, ...scaleOf(false) }, ...Object.fromEntries(units.map(({ isLog }, i) => [`y${i}`, scaleOf(isLog)])) },
      axes: [this.#timeAxis(), ...units.map((unit, i) => this.#valueAxis(i))],
      series: [{}],
      hooks: { drawClear: [() => this.#own(() => this.#drawBehind())], draw: [() => this.#own(() => this.#drawCurves())] },
    };
    this.#plot = new uPlot(options, [[]], this.#element);
  }

  /** Draw something of our own; uPlot relies on the canvas being as it left it. */
  #own(draw) {
    this.#plot.ctx.save();
    draw();
    this.#plot.ctx.restore();
  }

  #axis(more) {
    const lines = { stroke: () => this.#colours.get("line"), width: 1 };
    return { stroke: () => this.#colours.get("soft"), font: this.#font(1), gap: 4, grid: lines, ticks: { ...lines, size: 4 }, ...more };
  }

  #font(ratio) {
    return `${Math.round(FONT_SIZE * this.#frame.scale * ratio)}px system-ui, sans-serif`;
  }

  #timeAxis() {
    return this.#axis({
      size: TIME_AXIS * this.#frame.scale,
      incrs: STEPS,
      space: () => LABEL_DISTANCES[this.#frame.range.end - this.#frame.range.start < SECONDS_SPAN ? 1 : 0] * this.#frame.scale,
      splits: (plot, axis, start, end, step) => ticksOf(start, end, step, this.#frame.zone),
      values: (plot, times, axis, space, step) => timeLabels(times, step, this.#frame.zone),
    });
  }

  #valueAxis(i) {
    const side = i ? 1 : 3;
    return this.#axis({
      scale: `y${i}`,
      side,
      size: (plot, labels) => {
        const needed = widthOf([...(labels ?? []), this.#frame.units[i]?.text ?? ""], FONT_SIZE * this.#frame.scale);
        this.needed[i] = Math.max(this.needed[i], needed);
        return Math.max(this.#frame.gutters[i], MIN_PLOT);
      },
      space: 28 * this.#frame.scale,
      values: (plot, values, axis, space, step) => {
        const { factor, isLog } = this.#frame.units[i];
        return isLog ? decadeLabels(values, factor) : axisLabels(values, step, factor);
      },
      grid: {
        stroke: () => this.#colours.get("line"),
        width: 1,
        show: i === 0,
        filter: (plot, values) => (this.#frame.units[i].isLog ? values.map((value) => (isDecade(value) ? value : null)) : values),
      },
    });
  }

  #box() {
    const { left, top, width, height } = this.#plot.bbox;
    return { left, top, width, height };
  }

  /** Return the function that places a value of an axis on the canvas. */
  #toY(i) {
    const { top, height } = this.#box();
    const { range: [low, high], isLog } = this.#frame.units[i];
    if (!isLog) return (value) => top + (height * (high - value)) / (high - low);
    const [from, to] = [Math.log10(low), Math.log10(high)];
    return (value) => (value > 0 ? top + (height * (to - Math.log10(value))) / (to - from) : NaN);
  }

  #toX() {
    const { left, width } = this.#box();
    const { start, end } = this.#frame.range;
    return (t) => left + (width * (t - start)) / (end - start);
  }

  #drawBehind() {
    const { units, lines } = this.#frame;
    const box = this.#box();
    const { ctx } = this.#plot;
    // Bands of two axes over each other would tell nothing.
    const limits = units.map(({ unit }) => limitsOf(lines.filter((line) => line.unit === unit).map(({ curve }) => curve)));
    const first = limits.findIndex(Boolean);
    if (first >= 0) drawBands(ctx, limits[first], this.#toY(first), box, this.#colours);
    for (const { curve } of lines) if (curve.gone) this.#hatch(curve, box);
  }

  #drawCurves() {
    const { units, lines, lanes } = this.#frame;
    const box = this.#box();
    const { ctx } = this.#plot;
    const ratio = devicePixelRatio;
    this.#writeUnits(ctx, box, ratio);
    ctx.save();
    ctx.beginPath();
    ctx.rect(box.left, box.top, box.width, box.height);
    ctx.clip();
    for (const line of lines) this.#drawLine(ctx, line, units.findIndex(({ unit }) => unit === line.unit), box, ratio);
    ctx.restore();
    const size = ratio * this.#frame.scale;
    const frame = { ...this.#frame, toX: this.#toX(), box, ratio: size, colours: this.#colours, font: this.#font(ratio) };
    lanes.forEach((lane, i) => {
      const band = drawLane(ctx, lane, { ...frame, top: (i * LANE_HEIGHT + 2) * size });
      if (lane.curve.gone) this.#hatch(lane.curve, { ...box, ...band });
    });
  }

  #drawLine(ctx, { curve, colour }, axis, box, ratio) {
    if (axis < 0) return;
    const toY = this.#toY(axis);
    const path = new Path2D();
    const width = trace(path, curve, this.#frame.range, this.#toX(), toY, box.width / ratio);
    const stroke = (style, wide) => {
      lineStyle(ctx, style, wide, curve.gone, ratio * this.#frame.scale);
      ctx.stroke(path);
    };
    ctx.save();
    stroke(this.#colours.get(colour), width);
    const { limits } = curve.about;
    if (limits && !curve.gone) drawMarks(ctx, limits, toY, box, this.#colours, stroke, ratio);
    ctx.restore();
  }

  #writeUnits(ctx, { left, top, width }, ratio) {
    ctx.font = this.#font(ratio);
    ctx.fillStyle = this.#colours.get("soft");
    ctx.textBaseline = "middle";
    this.#frame.units.forEach(({ text }, i) => {
      ctx.textAlign = i ? "left" : "right";
      ctx.fillText(text, i ? left + width + 8 * ratio : left - 8 * ratio, top - 10 * ratio * this.#frame.scale);
    });
  }

  /** Hatch the time since a node's last sample. */
  #hatch(curve, { left, top, width, height }) {
    const { ctx } = this.#plot;
    const from = Math.min(Math.max(Number.isFinite(curve.last) ? this.#toX()(curve.last) : left, left), left + width);
    const ratio = devicePixelRatio;
    ctx.save();
    ctx.beginPath();
    ctx.rect(from, top, left + width - from, height);
    ctx.clip();
    ctx.beginPath();
    for (let x = from - height; x < left + width; x += HATCH * ratio) {
      ctx.moveTo(x, top + height);
      ctx.lineTo(x + height, top);
    }
    ctx.strokeStyle = this.#colours.get("stale");
    ctx.globalAlpha = 0.45;
    ctx.lineWidth = ratio;
    ctx.setLineDash([]);
    ctx.stroke();
    ctx.restore();
  }
}
