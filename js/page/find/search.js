// Search over nodes and fields: words that all must occur, and globs that a whole name must match.

/**
 * Return a function that tells whether a field matches a query.
 *
 * All words must occur, in any order, anywhere in the text from `textOf`. A word with * or ? must match a whole part of
 * that text. Quotes enclose a phrase. Case and accents do not matter.
 * @param {string} query
 * @returns {(text: string) => boolean} takes a text from `textOf`
 */
export function matcher(query) {
  const terms = Array.from(fold(query).matchAll(/"([^"]+)"?|(\S+)/g), ([, phrase, word]) => (phrase ? includes(phrase) : test(word)));
  return (text) => terms.every((term) => term(text));
}

/** Join the searchable parts of a field. */
export function textOf(node, field = "", about = null) {
  const { description, units, timeline } = about ?? {};
  const parts = [`${node.name}::${field}`, node.name, field, node.description, description, units, timeline];
  return `\n${fold(parts.filter(Boolean).join("\n"))}\n`;
}

/**
 * Return where the words of a query occur in a text, as ascending, separate pairs of start and end.
 * @param {string} query
 * @param {string} text as shown
 */
export function marksIn(query, text) {
  const folded = text.toLowerCase();
  const words = query.toLowerCase().split(/[\s"*?]+/).filter(Boolean);
  const found = words
    .map((word) => [folded.indexOf(word), word.length])
    .filter(([at]) => at >= 0)
    .map(([at, length]) => [at, at + length])
    .sort(([a], [b]) => a - b);
  return found.filter(([start], i) => i === 0 || start >= found[i - 1][1]);
}

function includes(phrase) {
  return (text) => text.includes(phrase);
}

function test(word) {
  if (!/[*?]/.test(word)) return includes(word.replaceAll('"', ""));
  const escaped = word.replace(/[.+^${}()|[\]\\]/g, "\\$&");
  const glob = new RegExp(`\n${escaped.replaceAll("*", ".*").replaceAll("?", ".")}\n`);
  return (text) => glob.test(text);
}

function fold(text) {
  return text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
}
