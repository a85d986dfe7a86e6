// Small helpers for all parts of the page.

/** Return the element with an id. */
export function $(id) {
  return document.getElementById(id);
}

/** Make an element. */
export function make(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** Make a button that shows a symbol and has a name in words. */
export function button(sign, name, action) {
  const element = make("button", { type: "button", title: name, ariaLabel: name }, sign);
  element.addEventListener("click", action);
  return element;
}

/**
 * Make a button with a menu below it, or above it where there is more room.
 * @param {string} name of the button
 * @param {[string, function(), function(): boolean][]} items text, action, and whether it is possible now
 * @returns {HTMLElement[]} the button and the menu
 */
export function menuButton(name, items) {
  const menu = make("div", { className: "menu", popover: "auto" });
  const toggle = make("button", { type: "button", title: name, ariaLabel: name, popoverTargetElement: menu }, "⋯");
  menu.addEventListener("beforetoggle", () => {
    const { top, bottom, right } = toggle.getBoundingClientRect();
    const place = bottom > innerHeight / 2 ? { top: "auto", bottom: `${innerHeight - top}px` } : { top: `${bottom}px`, bottom: "auto" };
    Object.assign(menu.style, { ...place, right: `${document.documentElement.clientWidth - right}px` });
    items.forEach(([, , isPossible], i) => (menu.children[i].disabled = !isPossible()));
  });
  menu.append(
    ...items.map(([text, act]) => {
      const item = make("button", { type: "button" }, text);
      item.addEventListener("click", () => {
        menu.hidePopover();
        act();
      });
      return item;
    }),
  );
  return [toggle, menu];
}

/** Write a text into an element, if it has changed. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Split a name into parts between which a line may break. */
export function breakable(name) {
  return name.split(/(?<=::|[/_.-])/).flatMap((part) => [part, make("wbr")]);
}

/** Return a function that acts once in the next frame, however often it is called before. */
export function onceAFrame(action) {
  let isWaiting = false;
  return () => {
    if (isWaiting) return;
    isWaiting = true;
    requestAnimationFrame(() => {
      isWaiting = false;
      action();
    });
  };
}

/**
 * Return a function that acts at most this often, and always once after its last call.
 * @param {function(): number} milliseconds returns how long to wait
 */
export function atMostEvery(milliseconds, action) {
  let timer = null;
  let last = -Infinity;
  return () => {
    timer ??= setTimeout(() => {
      [timer, last] = [null, performance.now()];
      action();
    }, Math.max(last + milliseconds() - performance.now(), 0));
  };
}

/** Return a function that acts once it has not been called for a while. */
export function afterRest(milliseconds, action) {
  let timer = null;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(action, milliseconds);
  };
}
