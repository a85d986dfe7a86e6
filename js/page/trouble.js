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
    `If this browser does not trust the router's certificate, it does not tell this page. Open ${page} in a separate tab ` +
    `and accept the certificate there, or add the router's authority, ${CA}, to the browser's authorities.`;
  if (kind === "away") {
    const stays = "The page keeps what it shows. Missed samples are fetched once the router is back.";
    const other = "If it runs, it may have a new certificate that this browser does not trust yet: open its address in a tab, and accept it there.";
    return { title: "The router is away", steps: [stays, other], link: page };
  }
  if (kind === "silent") {
    const start = "Is the router running? On its computer, sisock doctor tells what is wrong.";
    return { title: `Nothing answers at ${page}`, steps: [start, certificate], link: page };
  }
  if (kind === "closed") {
    const proxy = "If there is a proxy in between, it must forward WebSockets at the path /ws, and the header Host.";
    return { title: `${page} answers, but takes no connection`, steps: [proxy, certificate], link: page };
  }
  if (kind === "site") {
    const steps = [`Is its router running? Does this browser trust its certificate? Does its setting SISOCK_PAGE_ORIGINS include ${reason}?`];
    return { title: `Nothing answers at ${page}`, steps, link: page };
  }
  if (kind === "realm") {
    const steps = ["The router was started with another realm, its setting WAMP_REALM. Reload the page: it asks for the realm."];
    return { title: capital(reason.split(":")[0]), steps, link: null };
  }
  if (kind === "hub") {
    const steps = ["The router runs, but without a hub, which lists its data nodes. Start hub.py, or start the router with sisock, which includes it."];
    return { title: "No hub is on the router", steps, link: null };
  }
  const again = "It may be outdated, or incompletely copied: enter the router's present secret.";
  return { title: "The router refuses this secret", steps: [again], link: null };
}

function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
