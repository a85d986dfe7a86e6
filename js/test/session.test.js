import assert from "node:assert/strict";
import test from "node:test";

import { Secret } from "../page/secret.js";
import { explain } from "../page/trouble.js";

/** Storage of one tab or one computer. */
class Storage {
  #items = new Map();
  getItem = (key) => this.#items.get(key) ?? null;
  setItem = (key, value) => this.#items.set(key, value);
  removeItem = (key) => this.#items.delete(key);
  get text() {
    return JSON.stringify([...this.#items]);
  }
}

/** A browser whose tabs hear each other. */
class Browser {
  computer = new Storage();
  now = 1_800_000_000;
  #channels = [];

  open() {
    const channel = new EventTarget();
    channel.postMessage = (data) => {
      for (const other of this.#channels) {
        if (other !== channel) queueMicrotask(() => other.dispatchEvent(Object.assign(new Event("message"), { data })));
      }
    };
    this.#channels.push(channel);
    const tab = new Storage();
    return { tab, secret: new Secret({ tab, computer: this.computer, channel, now: () => this.now }) };
  }
}

test("a second tab gets the secret of the first one, and it is stored for neither", async () => {
  const browser = new Browser();
  const first = browser.open();
  assert.equal(await first.secret.find(), null);
  first.secret.keep("hush");
  const second = browser.open();
  assert.equal(await second.secret.find(), "hush");
  assert.equal(browser.computer.text, "[]");
  assert.equal(second.secret.keptUntil, null);
  assert.match(second.tab.text, /hush/);
});

test("a tab that asked in vain takes the secret when another one has it", async () => {
  const browser = new Browser();
  const [waiting, other] = [browser.open(), browser.open()];
  let found = 0;
  waiting.secret.listen({ found: () => (found += 1), forgotten: () => {} });
  assert.equal(await waiting.secret.find(), null);
  other.secret.keep("hush");
  const third = browser.open();
  assert.equal(await third.secret.find(), "hush");
  assert.equal(found, 1);
  assert.equal(await waiting.secret.find(), "hush");
});

test("what is kept on the computer is there for thirty days since it was used", async () => {
  const browser = new Browser();
  const DAY = 86_400;
  browser.open().secret.keep("hush", true);
  for (let i = 0; i < 3; i += 1) {
    browser.now += 20 * DAY;
    const { secret } = new Browser().open();
    assert.equal(await secret.find(), null);
    assert.equal(await browser.open().secret.find(), "hush");
  }
  assert.equal(browser.open().secret.keptUntil, browser.now + 30 * DAY);
  browser.now += 31 * DAY;
  const fresh = new Browser();
  fresh.computer = browser.computer;
  fresh.now = browser.now;
  assert.equal(await fresh.open().secret.find(), null);
  assert.equal(browser.computer.text, "[]");
});

test("to forget it means everywhere in this browser", async () => {
  const browser = new Browser();
  const [first, second] = [browser.open(), browser.open()];
  first.secret.keep("hush", true);
  await second.secret.find();
  let forgotten = 0;
  second.secret.listen({ found: () => {}, forgotten: () => (forgotten += 1) });
  first.secret.forget();
  await new Promise((resolve) => setTimeout(resolve));
  assert.equal(forgotten, 1);
  assert.equal(first.tab.text + second.tab.text + browser.computer.text, "[][][]");
});

test("a wrong secret of a link does not cost the right one that is kept", async () => {
  const browser = new Browser();
  browser.open().secret.keep("right", true);
  const { secret } = browser.open();
  secret.keep("wrong");
  secret.drop();
  assert.equal(await secret.find(), "right");
  secret.drop();
  assert.equal(browser.computer.text, "[]");
});

test("what is no secret of ours in the storage is no secret", async () => {
  const browser = new Browser();
  for (const odd of ["", "null", "{", "[]", '{"secret":"x"}', '"x"']) {
    browser.computer.setItem("sisock-secret", odd);
    assert.equal(browser.open().secret.keptUntil, null);
  }
});

test("each trouble says what to do about it", () => {
  const page = "https://router:8080/";
  const reason = "the router has no realm other";
  for (const kind of ["away", "silent", "closed", "realm", "refused", "hub"]) {
    const { title, steps } = explain({ kind, page, reason });
    assert.ok(title && steps.length && steps.every((step) => step.endsWith(".")), kind);
  }
  for (const kind of ["silent", "closed"]) {
    const { steps, link } = explain({ kind, page });
    assert.equal(link, page);
    assert.match(steps.join(), /accept the certificate.*tls\/ca_cert.pem/);
  }
  assert.equal(explain({ kind: "away", page }).link, page);
  assert.equal(explain({ kind: "realm", reason: `${reason}: see` }).title, "The router has no realm other");
  assert.doesNotMatch(JSON.stringify(explain({ kind: "refused", reason: "refused (wamp.error.not_authorized)" })), /wamp/);
});
