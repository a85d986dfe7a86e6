// Explain problems of the connection: what is wrong, possible causes, and what to do.

const CA = "the file tls/ca_cert.pem in the router's SISOCK_HOME";

/**
 * Explain why there is no connection.
 * @param {object} trouble
 * @param {"away"|"silent"|"closed"|"site"|"realm"|"refused"|"hub"} trouble.kind away: a lost connection; silent: nothing
 *   answers; closed: the page's server accepts no connection; site: another router does not, and `reason` is this
 *   page's origin; realm, refused and hub: as in SisockError
 * @param {string} [trouble.page] address that should answer, https://host:port/
 * @param {string} [trouble.reason] what the router said
 * @returns {{ title: string, steps: string[], link: string|null }} steps to try, and an address that helps
 */
export function explain({ kind, page = "", reason = "" }) {
  const certificate =
    `If this browser does not trust the router's certificate, it says nothing here. Open ${page} in a tab of its own: ` +
    `accept the certificate there, or add the router's authority, ${CA}, to those of the browser.`;
  if (kind === "away") {
    const stays = "What is on the screen stays. What was missed meanwhile is fetched when the router is back.";
    const other = "If it runs, its certificate may be another one, which this browser does not trust yet: open its address in a tab, and accept it there.";
    return { title: "The router is away", steps: [stays, other], link: page };
  }
  if (kind === "silent") {
    const start = "Does the router run? On its computer, sisock doctor says what is wrong.";
    return { title: `Nothing answers at ${page}`, steps: [start, certificate], link: page };
  }
  if (kind === "closed") {
    const proxy = "If there is a proxy in between, it has to pass on WebSockets, at the path /ws, and the header Host.";
    return { title: `${page} answers, but takes no connection`, steps: [proxy, certificate], link: page };
  }
  if (kind === "site") {
    const steps = [`Does its router run? Does this browser trust its certificate? Does it take pages of ${reason}: its setting SISOCK_PAGE_ORIGINS?`];
    return { title: `Nothing answers at ${page}`, steps, link: page };
  }
  if (kind === "realm") {
    const steps = ["The router was started with another realm, its setting WAMP_REALM. Reload the page: it asks for the realm."];
    return { title: capital(reason.split(":")[0]), steps, link: null };
  }
  if (kind === "hub") {
    const steps = ["The router is there, but nothing that knows its data nodes. Start hub.py; it is part of the router that sisock starts."];
    return { title: "No hub is on the router", steps, link: null };
  }
  const again = "It may be an old one, or not all of it was copied: enter the one that the router has now.";
  return { title: "The router refuses this secret", steps: [again], link: null };
}

function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
