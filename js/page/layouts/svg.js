// A canvas that makes an SVG: what is drawn on it becomes elements.

const FONT = "system-ui, sans-serif";

/** Implement the part of CanvasRenderingContext2D that pictures are drawn with. */
export class SvgContext {
  fillStyle = "#000";
  strokeStyle = "#000";
  globalAlpha = 1;
  lineWidth = 1;
  lineJoin = "miter";
  font = "";
  textAlign = "left";
  textBaseline = "alphabetic";
  #dash = [];
  #clips = [];
  #saved = [];
  #path = [];
  #parts = [];
  #rulers = 0;
  #ruler;

  /** @param {CanvasRenderingContext2D} ruler measures texts */
  constructor(ruler) {
    this.#ruler = ruler;
  }

  /** Return the SVG as text. */
  finish(width, height, title) {
    const size = `width="${width}" height="${height}" viewBox="0 0 ${width} ${height}"`;
    const head = `<svg xmlns="http://www.w3.org/2000/svg" ${size} role="img" font-family="${FONT}">`;
    return `${head}\n<title>${escape(title)}</title>\n${this.#parts.join("\n")}\n</svg>\n`;
  }

  save() {
    const { fillStyle, strokeStyle, globalAlpha, lineWidth, lineJoin, font, textAlign, textBaseline } = this;
    const style = { fillStyle, strokeStyle, globalAlpha, lineWidth, lineJoin, font, textAlign, textBaseline };
    this.#saved.push([style, this.#dash, this.#clips]);
  }

  restore() {
    const [style, dash, clips] = this.#saved.pop();
    Object.assign(this, style);
    [this.#dash, this.#clips] = [dash, clips];
  }

  setLineDash(dash) {
    this.#dash = dash;
  }

  beginPath() {
    this.#path = [];
  }

  moveTo(x, y) {
    this.#path.push(`M${round(x)} ${round(y)}`);
  }

  lineTo(x, y) {
    this.#path.push(`L${round(x)} ${round(y)}`);
  }

  rect(x, y, width, height) {
    this.#path.push(`M${round(x)} ${round(y)}h${round(width)}v${round(height)}h${round(-width)}z`);
  }

  /** Draw a whole circle, the only arc that is used. */
  arc(x, y, radius) {
    const half = `a${round(radius)} ${round(radius)} 0 1 0`;
    this.#path.push(`M${round(x + radius)} ${round(y)}${half} ${round(-2 * radius)} 0${half} ${round(2 * radius)} 0`);
  }

  clip() {
    const id = `clip${(this.#rulers += 1)}`;
    this.#put(`<clipPath id="${id}"${this.#clipped()}><path d="${this.#path.join("")}"/></clipPath>`);
    this.#clips = [id];
  }

  stroke() {
    const dash = this.#dash.length ? ` stroke-dasharray="${this.#dash.map(round).join(" ")}"` : "";
    const line = `stroke="${colour(this.strokeStyle)}" stroke-width="${round(this.lineWidth)}" stroke-linejoin="${this.lineJoin}"`;
    this.#put(`<path d="${this.#path.join("")}" fill="none" ${line}${dash}${this.#alpha()}${this.#clipped()}/>`);
  }

  fillRect(x, y, width, height) {
    const box = `x="${round(x)}" y="${round(y)}" width="${round(width)}" height="${round(height)}"`;
    this.#put(`<rect ${box} fill="${colour(this.fillStyle)}"${this.#alpha()}${this.#clipped()}/>`);
  }

  fillText(text, x, y) {
    const anchor = { left: "start", center: "middle", right: "end" }[this.textAlign];
    const baseline = this.textBaseline === "middle" ? ' dominant-baseline="central"' : "";
    const place = `x="${round(x)}" y="${round(y)}" font-size="${parseFloat(/[\d.]+px/.exec(this.font)?.[0] ?? "11")}"`;
    const weight = /\b600\b/.test(this.font) ? ' font-weight="600"' : "";
    this.#put(`<text ${place} text-anchor="${anchor}"${baseline}${weight} fill="${colour(this.fillStyle)}"${this.#alpha()}${this.#clipped()}>${escape(text)}</text>`);
  }

  measureText(text) {
    this.#ruler.font = this.font;
    return this.#ruler.measureText(text);
  }

  #put(part) {
    this.#parts.push(part);
  }

  #alpha() {
    return this.globalAlpha < 1 ? ` opacity="${round(this.globalAlpha)}"` : "";
  }

  #clipped() {
    return this.#clips.length ? ` clip-path="url(#${this.#clips.at(-1)})"` : "";
  }
}

function escape(text) {
  return String(text).replace(/[&<>"]/g, (each) => `&#${each.charCodeAt(0)};`);
}

function colour(style) {
  return escape(style);
}

function round(number) {
  return Math.round(number * 100) / 100;
}
