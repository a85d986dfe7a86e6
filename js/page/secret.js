// Keep the secret: for this tab and the other tabs of this page, or on this computer if the user wants that.
//
// Only pages of the same origin (scheme, host and port) can read it: browsers separate storage and broadcasts by origin.

const KEY = "sisock-secret";
const CHANNEL = "sisock";
const KEEP_SECONDS = 30 * 86_400;
// Milliseconds to wait for another tab's answer; a later one is used, too.
const ANSWER_MILLISECONDS = 300;

/** Keep the consumer's secret, and share it with the other tabs of this origin. */
export class Secret {
  #key;
  #tab;
  #computer;
  #now;
  #channel;
  #callbacks = { found: () => {}, forgotten: () => {} };

  /**
   * @param {object} [places] tab and computer, like sessionStorage and localStorage; `of`, which distinguishes the secrets of
   *   several routers; channel, a BroadcastChannel; now, which returns the present in UNIX seconds
   */
  constructor({ tab = sessionStorage, computer = localStorage, of = "", channel = new BroadcastChannel(CHANNEL + of), now = () => Date.now() / 1000 } = {}) {
    [this.#tab, this.#computer, this.#channel, this.#now] = [tab, computer, channel, now];
    this.#key = KEY + of;
    channel.addEventListener("message", ({ data }) => this.#hear(data));
  }

  /** Set what to do when another tab sends the secret, and when the secret has to be forgotten. */
  listen({ found, forgotten }) {
    this.#callbacks = { found, forgotten };
  }

  /** Return until when it is kept on this computer, in UNIX seconds; null if it is not. */
  get keptUntil() {
    return this.#stored()?.until ?? null;
  }

  /** Return the secret of this tab, of this computer or of another tab; null if none has it. */
  async find() {
    const stored = this.#stored();
    // Each use keeps it longer.
    if (stored) this.keep(stored.secret, true);
    const own = this.#tab.getItem(this.#key);
    if (own) return own;
    this.#channel.postMessage({ kind: "ask" });
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(null), ANSWER_MILLISECONDS);
      this.#channel.addEventListener("message", ({ data }) => {
        if (data?.kind !== "tell") return;
        clearTimeout(timer);
        resolve(data.secret);
      });
    });
  }

  /** Keep it for this tab, and also on this computer if wanted. */
  keep(secret, isForComputer = false) {
    this.#tab.setItem(this.#key, secret);
    if (isForComputer) this.#computer.setItem(this.#key, JSON.stringify({ secret, until: this.#now() + KEEP_SECONDS }));
  }

  /** Forget the wrong secret of this tab; this computer may have another one that is right. */
  drop() {
    if (this.#stored()?.secret === this.#tab.getItem(this.#key)) this.#computer.removeItem(this.#key);
    this.#tab.removeItem(this.#key);
  }

  /** Forget it everywhere in this browser. */
  forget() {
    this.#remove();
    this.#channel.postMessage({ kind: "forget" });
  }

  #remove() {
    this.#tab.removeItem(this.#key);
    this.#computer.removeItem(this.#key);
  }

  #hear(data) {
    const own = this.#tab.getItem(this.#key);
    if (data?.kind === "ask" && own) this.#channel.postMessage({ kind: "tell", secret: own });
    else if (data?.kind === "tell" && !own) {
      this.keep(data.secret);
      this.#callbacks.found();
    } else if (data?.kind === "forget") {
      this.#remove();
      this.#callbacks.forgotten();
    }
  }

  #stored() {
    try {
      const stored = JSON.parse(this.#computer.getItem(this.#key));
      if (stored?.until > this.#now()) return stored;
    } catch {
      // Another program wrote it.
    }
    this.#computer.removeItem(this.#key);
    return null;
  }
}

/** Return the secret after the # of the address, and remove it from the address. */
export function takeFromAddress() {
  const given = new URLSearchParams(location.hash.slice(1)).get("secret");
  if (given) history.replaceState(null, "", location.pathname + location.search);
  return given;
}
