// The sessions with several sites: the secret of each, and its problems.

import { joinSites } from "../sisock.js";
import { $, make, write } from "./dom.js";
import { Secret, takeFromAddress } from "./secret.js";
import { explain } from "./trouble.js";

const OWN = `${location.protocol.replace("http", "ws")}//${location.host}/ws`;

/**
 * Join all sites, independently of each other.
 * @param {{ sites: { name: string, url: string }[], realm: string }} settings the url "unix:" means the router of this page
 * @param {object} page the calls of `openSession`
 */
export function openSites({ sites, realm }, { work, onJoined, onAway, timeText }) {
  const isOwn = (url) => url.startsWith("unix:") || new URL(url).host === location.host;
  const all = sites.map(({ name, url }) => (isOwn(url) ? { name, url: OWN, realm } : { name, url }));
  const secrets = new Map(all.map(({ name, url }) => [name, new Secret({ of: url === OWN ? "" : ` ${url}` })]));
  const sisock = joinSites({ sites: all, onState: changed });
  const list = make("ul", { id: "account-sites" });
  const put = new Set();
  let asked = null;

  // Let screen readers announce it once, not at each try.
  const [there, lost] = [new Set(), new Set()];

  function changed({ site, state, kind, reason }) {
    if (state === "joined") {
      if (lost.delete(site)) write($("announcement"), `${site} is back`);
      there.add(site);
      onJoined(site);
    } else {
      if (there.delete(site)) write($("announcement"), `Lost: ${site}: ${reason}`), lost.add(site);
      if (kind === "refused") {
        secrets.get(site).drop();
        ask(site, reason);
      }
      onAway(site, reason);
    }
    show();
  }

  function show() {
    const states = sisock.sites;
    const joined = states.filter(({ state }) => state === "joined").length;
    const isAll = joined === states.length;
    $("connection").dataset.state = isAll ? "joined" : states.every(({ state }) => ["joined", "connecting"].includes(state)) ? "new" : "waiting";
    write($("connection"), `${isAll ? "" : `${joined} of `}${states.length} site${states.length === 1 ? "" : "s"} connected`);
    list.replaceChildren(...states.map(itemOf));
  }

  function itemOf({ name, url, state, reason }) {
    const address = new URL("/", url.replace(/^ws/, "http")).href;
    const until = secrets.get(name).keptUntil;
    const kept = until === null ? "" : `; its secret is kept on this computer until ${timeText(until)}`;
    const isJoined = state === "joined";
    const item = make("li", { className: isJoined ? "" : "error" }, make("b", {}, name), ` ${isJoined ? `connected${kept}` : reason}`);
    item.dataset.url = url;
    if (state === "waiting") {
      const { steps } = explain({ kind: "site", page: address, reason: location.origin });
      item.append(make("small", {}, ...steps, " ", make("a", { href: address, target: "_blank", rel: "noopener" }, `Open ${address}`)));
    }
    return item;
  }

  /** Ask for the secret of a site, or of the next one that needs it. */
  function ask(site, reason = "") {
    // A refused site comes first, unless the user is already typing.
    if (asked !== null && asked !== site && (!reason || $("secret").value)) return;
    asked = site;
    $("sign-in").hidden = false;
    write($("sign-in").firstElementChild, `Sign in to ${site}`);
    write($("sign-in-reason"), reason && `${explain({ kind: "refused", reason }).title}.`);
    // Do not move the focus while the user works elsewhere.
    if (document.activeElement === document.body) $("secret").focus();
  }

  function askNext() {
    asked = null;
    $("sign-in").hidden = true;
    $("secret").value = "";
    const next = sisock.sites.find(({ name, kind }) => ["secret", "refused"].includes(kind) && !put.has(name));
    if (next) ask(next.name, next.kind === "refused" ? next.reason : "");
  }

  function signIn(site, secret) {
    put.delete(site);
    sisock.signIn(site, secret);
    if (asked === site) askNext();
    changed({ site, ...sisock.sites.find(({ name }) => name === site) });
  }

  async function begin({ name }) {
    const secret = await secrets.get(name).find();
    if (secret) signIn(name, secret);
    else ask(name);
  }

  $("sign-in").addEventListener("submit", (event) => {
    event.preventDefault();
    const secret = $("secret").value.trim();
    secrets.get(asked).keep(secret, $("keep-secret").checked);
    signIn(asked, secret);
  });
  $("later").hidden = false;
  $("later").addEventListener("click", () => {
    put.add(asked);
    askNext();
  });
  $("forget").addEventListener("click", () => {
    for (const secret of secrets.values()) secret.forget();
    location.reload();
  });
  for (const [name, secret] of secrets) {
    secret.listen({ found: async () => signIn(name, await secret.find()), forgotten: () => location.reload() });
  }
  addEventListener("online", () => sisock.check());
  document.addEventListener("visibilitychange", () => document.hidden || sisock.check());

  write($("forget"), "Forget the secrets");
  write($("account-text"), "Each site has a secret of its own, of the user simonsobs.");
  $("forget").before(list);
  const own = all.find(({ url }) => url === OWN);
  const given = takeFromAddress();
  if (given && own) secrets.get(own.name).keep(given);
  document.body.dataset.session = "working";
  show();
  work(sisock, (site) => {
    put.delete(site);
    asked = null;
    // On a phone the tree covers it.
    if (getComputedStyle($("shade")).display !== "none") $("shade").click();
    ask(site);
    $("sign-in").scrollIntoView();
    $("secret").focus();
  });
  all.forEach(begin);
}
