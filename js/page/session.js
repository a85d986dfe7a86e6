// The session with the router: sign-in, connection, and its problems.

import { wait } from "../follow.js";
import { connect } from "../sisock.js";
import { $, make, write } from "./dom.js";
import { Secret, takeFromAddress } from "./secret.js";
import { openSites } from "./sites.js";
import { explain } from "./trouble.js";

const page = new URL("/", location.href).href;
const RETRY_SECONDS = 1;

/**
 * Join the router, or the sites that it names, with the secret from the address, this browser or the sign-in form.
 * @param {object} calls
 * @param {function(Sisock|Sites, function(string)=)} calls.work called once with the connection, joined or not yet, and
 *   with a function that asks for the secret of a site
 * @param {function(string=)} calls.onJoined called after rejoining, or with the site that was joined
 * @param {function(string, string)} calls.onAway called with a site and the reason why it is unreachable
 * @param {function(number): string} calls.timeText writes a UNIX time
 */
export async function openSession(calls) {
  const { sites, ...settings } = await findJson("settings");
  if (sites) openSites({ ...settings, ...(await findJson("sites.json")) }, calls);
  else openOne(settings, calls);
}

function openOne(settings, { work, onJoined, timeText }) {
  const secrets = new Secret();
  let sisock = null;
  let lostAt = null;

  async function start() {
    const given = takeFromAddress();
    if (given) secrets.keep(given);
    const secret = given ?? (await secrets.find());
    if (!secret) return askForSecret();
    $("sign-in").hidden = true;
    try {
      sisock = await connect({ secret, onState: show, ...settings });
      // After sleep the connection may be dead, unnoticed so far.
      addEventListener("online", () => sisock.check());
      document.addEventListener("visibilitychange", () => document.hidden || sisock.check());
      document.body.dataset.session = "working";
      await work(sisock);
    } catch (error) {
      if (error.kind === "refused") askForSecret(error.message);
      else if (error.kind !== "realm") throw error;
    }
  }

  function show({ state, kind, seconds, reason }) {
    $("connection").dataset.state = state;
    if (state === "joined") {
      write($("connection"), "connected");
      // Let screen readers announce it once, not at each try.
      if (lostAt !== null) write($("announcement"), "The router is back");
      lostAt = null;
      showTrouble(null);
      showAccount();
      if (sisock) onJoined();
    } else if (state === "waiting") {
      if (sisock && lostAt === null) write($("announcement"), `Lost: ${reason}`);
      lostAt ??= Date.now() / 1000;
      const since = sisock ? `router away since ${timeText(lostAt)}` : "no connection";
      write($("connection"), `${since}; trying again in ${Math.ceil(seconds)} s`);
      if (!sisock) showSilence();
      else showAway();
    } else {
      write($("connection"), reason.split(":")[0]);
      if (kind === "realm") showTrouble(explain({ kind, page, reason }));
      else if (sisock) askForSecret(reason);
    }
  }

  async function showSilence() {
    const isThere = await fetch(page, { mode: "no-cors", cache: "no-store" }).then(() => true, () => false);
    if (lostAt !== null) showTrouble(explain({ kind: isThere ? "closed" : "silent", page }));
  }

  function askForSecret(reason = "") {
    if (reason) secrets.drop();
    write($("connection"), "not connected");
    const { title, steps } = explain({ kind: "refused" });
    write($("sign-in-reason"), reason && `${title}. ${steps.join(" ")}`);
    $("sign-in").hidden = false;
    $("secret").focus();
  }

  $("sign-in").addEventListener("submit", (event) => {
    event.preventDefault();
    secrets.keep($("secret").value.trim(), $("keep-secret").checked);
    $("secret").value = "";
    // After a refusal the page may still use the old connection: reload it; the address keeps the view.
    if (sisock) location.reload();
    else start();
  });
  $("forget").addEventListener("click", () => {
    secrets.forget();
    location.reload();
  });
  secrets.listen({
    found: () => !$("sign-in").hidden && start(),
    forgotten: () => location.reload(),
  });

  function showAway() {
    const { steps, link } = explain({ kind: "away", page });
    write($("account-text"), steps.join(" "));
    showLink($("account-link"), link);
  }

  function showAccount() {
    showLink($("account-link"), null);
    const until = secrets.keptUntil;
    const kept = until === null ? "until the last tab of this page is closed" : `on this computer until ${timeText(until)}`;
    write($("account-text"), `Connected to ${location.host} as the user simonsobs. The secret is kept ${kept}.`);
  }

  start();
}

/** Show what is wrong and what to do, or that nothing is. */
function showTrouble(trouble) {
  const isSame = trouble && !$("trouble").hidden && $("trouble-title").textContent === trouble.title;
  $("trouble").hidden = !trouble;
  // Let screen readers announce changes, not each try.
  if (!trouble || isSame) return;
  const { title, steps, link } = trouble;
  write($("trouble-title"), title);
  $("trouble-steps").replaceChildren(...steps.map((step) => make("li", {}, step)));
  showLink($("trouble-link"), link);
}

/** Show a link to an address, or none. */
function showLink(element, address) {
  element.hidden = address === null;
  if (address !== null) element.href = address;
  write(element, address === null ? "" : `Open ${address}`);
}

/** Return the router's settings for the page: its realm and its sites. Routers of 2018 have none. */
async function findJson(name) {
  for (;;) {
    const answer = await fetch(name, { cache: "no-store" }).catch(() => null);
    if (answer) return answer.ok ? answer.json() : {};
    // No answer is no router of 2018: without its settings, the page would join another realm.
    await wait(RETRY_SECONDS);
  }
}
