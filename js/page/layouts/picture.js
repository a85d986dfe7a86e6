// Save a panel as a picture: title, axes, curves, legend and times, in light colours, as PNG or SVG.

import { make } from "../dom.js";
import { drawChart, guttersOf, heightBeside } from "../panels/chart.js";
import { coloursNow } from "../panels/inks.js";
import { valueIn, writerOf } from "../panels/legend.js";
import { timeText, zoneText } from "../time/text.js";
import { save, shorten } from "./files.js";
import { SvgContext } from "./svg.js";

const [MIN_WIDTH, PLOT_HEIGHT] = [900, 380];
const FONT = 12;
const [TITLE, ROW, MARGIN, GAP] = [34, 18, 16, 8];
const SWATCH = 10;
const SHARPNESS = 2;
// Maximum letters of a file name; file systems allow 255 bytes.
const MAX_FILE_NAME = 60;

/**
 * Draw a panel.
 * @param {CanvasRenderingContext2D|SvgContext} ctx
 * @param {object} frame with which the panel was drawn
 * @param {object} colours `get` returns a colour by its name
 * @param {string} title
 * @returns {{ width: number, height: number }}
 */
export function drawPicture(ctx, frame, colours, title) {
  const size = sizeOf(frame);
  ctx.fillStyle = colours.get("paper");
  ctx.fillRect(0, 0, size.width, size.height);
  ctx.textBaseline = "middle";
  const { range: { start, end }, zone } = frame;
  const where = `${timeText(start, zone)} – ${timeText(end, zone)} ${zoneText(zone, end)}`;
  text(ctx, colours.get("soft"), font(), where, size.width - MARGIN, TITLE / 2, "right");
  const room = size.width - 2 * MARGIN - ctx.measureText(where).width - 2 * GAP;
  ctx.font = `600 ${FONT + 3}px system-ui, sans-serif`;
  let shown = title;
  for (let { length } = title; length > 1 && ctx.measureText(shown).width > room; length -= 1) shown = `${title.slice(0, length - 2)}…`;
  text(ctx, colours.get("ink"), ctx.font, shown, MARGIN, TITLE / 2);
  drawLegend(ctx, frame, colours);
  const chart = { ...frame, ...size, scale: 1, height: size.height - size.above };
  drawChart(ctx, { ...chart, gutters: guttersOf(chart).map((each) => Math.max(each, MARGIN)) }, colours, size.above, 1);
  return size;
}

/** Let the user save a panel as a picture. */
export function openPicture(frame, title) {
  const dialog = make("dialog", { id: "picture", className: "settings", ariaLabel: "Save the panel as a picture" });
  const name = make("input", { value: title, ariaLabel: "Title", name: "title" });
  const choice = (format, write) => {
    const made = make("button", { type: "button", name: format }, format.toUpperCase());
    made.addEventListener("click", async () => {
      save(`${shorten(name.value, MAX_FILE_NAME)}.${format}`, await write(frame, lightColours(), name.value));
      dialog.close();
    });
    return made;
  };
  const cancel = make("button", { type: "button" }, "Cancel");
  cancel.addEventListener("click", () => dialog.close());
  dialog.append(
    make("header", {}, make("h2", {}, "Save the panel as a picture")),
    make("p", {}, make("label", {}, "Title ", name)),
    make("p", { className: "buttons" }, cancel, choice("png", pngOf), choice("svg", svgOf)),
  );
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  // Select the whole title, to be replaced, with its beginning in sight.
  name.setSelectionRange(0, name.value.length, "backward");
  name.scrollLeft = 0;
}

async function pngOf(frame, colours, title) {
  const { width, height } = sizeOf(frame);
  const canvas = make("canvas", { width: width * SHARPNESS, height: height * SHARPNESS });
  const ctx = canvas.getContext("2d");
  ctx.scale(SHARPNESS, SHARPNESS);
  drawPicture(ctx, frame, colours, title);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

async function svgOf(frame, colours, title) {
  const ctx = new SvgContext(make("canvas", {}).getContext("2d"));
  const { width, height } = drawPicture(ctx, frame, colours, title);
  return new Blob([ctx.finish(width, height, title)], { type: "image/svg+xml" });
}

/** Return the size of the picture and the position of its chart. */
function sizeOf({ units, lanes, fields, width }) {
  const above = TITLE + fields.length * ROW + GAP;
  const height = above + heightBeside({ units, lanes, scale: 1 }) + (units.length ? PLOT_HEIGHT : 0);
  return { width: Math.max(Math.round(width), MIN_WIDTH), height, above };
}

function drawLegend(ctx, frame, colours) {
  frame.fields.forEach((field, i) => {
    const y = TITLE + (i + 0.5) * ROW;
    ctx.fillStyle = colours.get(field.colour);
    ctx.fillRect(MARGIN, y - SWATCH / 2, SWATCH, SWATCH);
    const value = field.curve.about ? valueIn(field.curve, { range: frame.range, cursor: null }) : undefined;
    const last = value === undefined ? "" : `${writerOf(field)(value)} ${field.text}`.trim();
    text(ctx, colours.get("ink"), font(), last ? `${field.name}, last ${last}` : field.name, MARGIN + SWATCH + 8, y);
  });
}

function text(ctx, colour, style, words, x, y, align = "left") {
  [ctx.fillStyle, ctx.font, ctx.textAlign] = [colour, style, align];
  ctx.fillText(words, x, y);
}

function font() {
  return `${FONT}px system-ui, sans-serif`;
}

/** Return the page's colours of the light theme. */
function lightColours() {
  const root = document.documentElement;
  root.style.colorScheme = "light";
  const colours = coloursNow();
  root.style.colorScheme = "";
  return colours;
}
