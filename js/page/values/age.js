// What the age of a latest value means: fresh or stale.

// Without a word from the node, so many intervals without a sample mean trouble, and at least so many seconds.
const STALE_INTERVALS = 5;
const MIN_STALE_SECONDS = 5;

/**
 * Return after how many seconds without a sample a field is stale: as the node says, or after five intervals;
 * null if nothing tells.
 * @param {object|null} about what the node says of the field
 */
export function staleSeconds(about) {
  if (about?.staleAfter) return about.staleAfter;
  return about?.interval ? Math.max(STALE_INTERVALS * about.interval, MIN_STALE_SECONDS) : null;
}

// Of fields with a sample a second, the age would only flicker between 0 and 1.
const NOW_SECONDS = 2;

/** Write an age in few letters: now, 12 s, 3 min, 5 h, 8 d, 3 y; a time to come with a sign before it. */
export function ageText(seconds) {
  if (Math.abs(seconds) < NOW_SECONDS) return "now";
  if (seconds < 0) return `−${ageText(-seconds)}`;
  const units = [["y", 365 * 86400], ["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const [unit, length] = units.find(([, each]) => seconds >= each) ?? units.at(-1);
  return `${Math.floor(seconds / length)} ${unit}`;
}
