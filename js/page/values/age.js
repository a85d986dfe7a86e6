// Judge the age of a latest value: fresh or stale.

// If the node sets no limit: intervals without a sample that mean trouble, and minimum seconds.
const STALE_INTERVALS = 5;
const MIN_STALE_SECONDS = 5;

/**
 * Return the seconds without a sample after which a field is stale: the node's limit, or five intervals; null if
 * neither is known. While a node has a trouble its limit may be too long, and five seconds are enough without an interval.
 * @param {object|null} about the node's description of the field
 * @param {string|null} [trouble] of the node
 */
export function staleSeconds(about, trouble = null) {
  const ofIntervals = about?.interval ? Math.max(STALE_INTERVALS * about.interval, MIN_STALE_SECONDS) : null;
  const ofNode = about?.staleAfter || null;
  return trouble === null ? (ofNode ?? ofIntervals) : Math.min(ofNode ?? Infinity, ofIntervals ?? MIN_STALE_SECONDS);
}

// With a sample per second, an age would only flicker between 0 and 1.
const NOW_SECONDS = 2;

/** Write an age in few letters: now, 12 s, 3 min, 5 h, 8 d, 3 y; with a sign for times in the future. */
export function ageText(seconds) {
  if (Math.abs(seconds) < NOW_SECONDS) return "now";
  if (seconds < 0) return `−${ageText(-seconds)}`;
  const units = [["y", 365 * 86400], ["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const [unit, length] = units.find(([, each]) => seconds >= each) ?? units.at(-1);
  return `${Math.floor(seconds / length)} ${unit}`;
}
