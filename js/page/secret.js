// Where the secret is kept: for this tab and those opened beside it, or, if somebody wants it, on this computer.
//
// Only pages of the same origin (scheme, host and port) get at it: the browser keeps storage and broadcasts apart by it.

const KEY = "sisock-secret";
const CHANNEL = "sisock";
const KEEP_SECONDS = 30 * 86_400;
// For an answer of another tab; one that comes later is taken, too.
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
   * @param {object} [places] tab and computer, of the kind of sessionStorage and localStorage; `of`, which tells secrets of
   *   several routers apart; channel, a BroadcastChannel; now, which returns the present in UNIX seconds
   */
  constructor({ tab = sessionStorage, computer = localStorage, of = "", channel = new BroadcastChannel(CHANNEL + of), now = () => Date.now() / 1000 } = {}) {
    [this.#tab, this.#computer, this.#channel, this.#now] = [tab, computer, channel, now];
    this.#key = KEY + of;
    channel.addEventListener("message", ({ data }) => this.#hear(data));
  }

  /** Say what to do when another tab tells the secret, and when it is to be forgotten. */
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
    // Who uses it keeps it.
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

  /** Keep it for this tab, and on this computer as well if that is wanted. */
  keep(secret, isForComputer = false) {
    this.#tab.setItem(this.#key, secret);
    if (isForComputer) this.#computer.setItem(this.#key, JSON.stringify({ secret, until: this.#now() + KEEP_SECONDS }));
  }

  /** Forget that of this tab, as it is wrong; another one on this computer may be right. */
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
      // Somebody else wrote it.
    }
    this.#computer.removeItem(this.#key);
    return null;
  }
}

/** Return the secret behind the # of the address, and take it away from there. */
export function takeFromAddress() {
  const given = new URLSearchParams(location.hash.slice(1)).get("secret");
  if (given) history.replaceState(null, "", location.pathname + location.search);
  return given;
}
