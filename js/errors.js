// Errors, with sentences for users.

/** An error whose message is a sentence; `kind` is one word for programs. */
export class SisockError extends Error {
  /** The unreachable site, if that is the reason. */
  site = undefined;

  constructor(kind, message) {
    super(message);
    this.name = "SisockError";
    this.kind = kind;
  }
}

/** Convert the error of a call to `tail`, a URI without its prefix, for the caller. */
export function translate(error, tail) {
  if (error instanceof SisockError || error.name === "AbortError") return error;
  const uri = String(error.errorUri ?? "");
  const text = (error.argsList ?? []).join(" ");
  const node = tail.split(".")[1];
  if (uri.endsWith("no_such_procedure")) {
    return tail === "consumer.get_data_node"
      ? new SisockError("hub", "no hub is on the router")
      : new SisockError("node", `the data node ${node} is not there`);
  }
  if (uri.endsWith("invalid_argument")) return new SisockError("argument", text);
  if (uri.endsWith("node_failed")) return new SisockError("node_failed", `${node} failed: ${text}`);
  if (uri.endsWith("canceled")) return new SisockError("node", `${node} went away`);
  if (!uri) return new SisockError("unreachable", "the connection to the router was lost");
  return new SisockError("other", `${uri} ${text}`);
}
