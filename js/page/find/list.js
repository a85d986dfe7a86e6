// Draw only the visible rows of a long list.

// Pixels above and below that are drawn as well, so that scrolling shows no blanks.
const MARGIN = 300;

/** Return the running sums of heights: the place of each row, and finally of the end. */
export function placesOf(heights) {
  const places = new Float64Array(heights.length + 1);
  for (let i = 0; i < heights.length; i += 1) places[i + 1] = places[i] + heights[i];
  return places;
}

/** Return the rows between two places: [from, to). */
export function rowsBetween(places, top, bottom) {
  const count = places.length - 1;
  const from = Math.max(lastAtOrBefore(places, top), 0);
  let to = from;
  while (to < count && places[to] < bottom) to += 1;
  return [Math.min(from, count), to];
}

function lastAtOrBefore(places, place) {
  let [low, high] = [0, places.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (places[middle] <= place) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** Draw the visible rows in an element that scrolls. */
export class List {
  #scroller;
  #content;
  #heightOf;
  #make;
  #rows = [];
  #places = placesOf([]);
  #drawn = new Map();
  #kept = null;

  /**
   * @param {HTMLElement} scroller with one child, which gets the rows
   * @param {(row: object) => number} heightOf in pixels
   * @param {(row: object) => HTMLElement} make
   */
  constructor(scroller, heightOf, make) {
    this.#scroller = scroller;
    this.#content = scroller.firstElementChild;
    [this.#heightOf, this.#make] = [heightOf, make];
    scroller.addEventListener("scroll", () => this.#draw(), { passive: true });
    new ResizeObserver(() => this.#draw()).observe(scroller);
  }

  /**
   * Show these rows. Unchanged elements stay: one that is replaced while a mouse button is down gets no click.
   * @param {object[]} rows each with an `id`
   * @param {string|null} kept id of a row to draw even out of sight
   */
  show(rows, kept) {
    this.#rows = rows;
    this.#kept = kept;
    this.#places = placesOf(rows.map(this.#heightOf));
    this.#content.style.height = `${this.#places.at(-1)}px`;
    const before = this.#drawn;
    this.#drawn = new Map();
    this.#draw(before);
  }

  /** Scroll until a row is visible. */
  reveal(id) {
    const index = this.#rows.findIndex((row) => row.id === id);
    if (index < 0) return;
    const [top, bottom] = [this.#places[index], this.#places[index + 1]];
    const { scrollTop, clientHeight } = this.#scroller;
    if (top < scrollTop) this.#scroller.scrollTop = top;
    else if (bottom > scrollTop + clientHeight) this.#scroller.scrollTop = bottom - clientHeight;
    this.#draw();
  }

  /** Return how many rows fit into the element. */
  get page() {
    const { scrollTop, clientHeight } = this.#scroller;
    const [from, to] = rowsBetween(this.#places, scrollTop, scrollTop + clientHeight);
    return Math.max(to - from - 1, 1);
  }

  #draw(before = new Map()) {
    const { scrollTop, clientHeight } = this.#scroller;
    const [from, to] = rowsBetween(this.#places, scrollTop - MARGIN, scrollTop + clientHeight + MARGIN);
    const wanted = new Map();
    for (let i = from; i < to; i += 1) wanted.set(this.#rows[i].id, i);
    const kept = this.#rows.findIndex(({ id }) => id === this.#kept);
    if (kept >= 0) wanted.set(this.#kept, kept);
    // Keep the elements in the order of the list, for screen readers.
    const places = [...wanted].sort(([, a], [, b]) => a - b);
    this.#drawn = new Map(places.map(([id, index]) => [id, this.#drawn.get(id) ?? this.#place(index, before.get(id))]));
    const elements = [...this.#drawn.values()];
    const { children } = this.#content;
    for (const child of [...children].filter((each) => !elements.includes(each))) child.remove();
    elements.forEach((element, i) => children[i] === element || this.#content.insertBefore(element, children[i] ?? null));
  }

  #place(index, before) {
    const element = this.#make(this.#rows[index]);
    element.style.top = `${this.#places[index]}px`;
    element.style.height = `${this.#places[index + 1] - this.#places[index]}px`;
    return before?.isEqualNode(element) ? before : element;
  }
}
