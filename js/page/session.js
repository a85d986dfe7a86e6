// The session with the router: secret, connection, and what is wrong with it.

import { connect } from "../sisock.js";
import { $ } from "./dom.js";

const SECRET = "sisock-secret";

/** Say something to the user. */
export function say(text, isBad = false) {
  $("message").textContent = text;
  $("message").className = isBad ? "error" : "";
}

/**
 * Join the router, with the secret of the address or of this tab; ask for it if there is none or it is wrong.
 * @param {function(Sisock)} work called once with what is joined
 * @param {function()} onJoined called when it is joined again
 */
export function openSession(work, onJoined) {
  let isWorking = false;

  function showConnection({ state, seconds, reason }) {
    $("connection").dataset.state = state;
    $("connection").textContent =
      state === "joined" ? "connected" : state === "waiting" ? `${reason}; trying again in ${Math.ceil(seconds)} s` : reason;
    if (state === "joined" && isWorking) onJoined();
  }

  async function start() {
    const secret = takeSecret();
    $("sign-in").hidden = Boolean(secret);
    if (!secret) {
      $("connection").textContent = "not connected";
      $("secret").focus();
      return;
    }
    try {
      const sisock = await connect({ secret, onState: showConnection, ...(await findSettings()) });
      // After a sleep the connection may be dead without anybody having noticed.
      addEventListener("online", () => sisock.check());
      document.addEventListener("visibilitychange", () => document.hidden || sisock.check());
      isWorking = true;
      await work(sisock);
    } catch (error) {
      say(error.message, true);
      if (error.kind !== "refused") return;
      sessionStorage.removeItem(SECRET);
      $("sign-in").hidden = false;
      $("secret").focus();
    }
  }

  $("sign-in").addEventListener("submit", (event) => {
    event.preventDefault();
    sessionStorage.setItem(SECRET, $("secret").value.trim());
    $("secret").value = "";
    say("");
    start();
  });
  start();
}

/** Return the consumer's secret: from behind the # of the address, or from this tab's memory. */
function takeSecret() {
  const given = new URLSearchParams(location.hash.slice(1)).get("secret");
  if (given) {
    sessionStorage.setItem(SECRET, given);
    history.replaceState(null, "", location.pathname + location.search);
  }
  return sessionStorage.getItem(SECRET);
}

/** Return what the router says of itself beside the page: its realm. One of 2018 says nothing. */
async function findSettings() {
  const answer = await fetch("settings", { cache: "no-store" }).catch(() => null);
  return answer?.ok ? answer.json() : {};
}
