// Counts what a follower of numbered samples got; the same as tests/faults/tally.py.

/** Return a callback for `follow` that counts in `lines`, by timeline, samples of one value each. */
export function tally(lines) {
  return ({ timeline, t, values, gap }) => {
    const line = (lines[timeline] ??= { count: 0, first: null, last: null, missing: 0, disordered: 0, gaps: [] });
    if (gap) return line.gaps.push(gap);
    Object.values(values)[0].forEach((number, i) => {
      line.count += 1;
      line.first ??= number;
      // Missing numbers are no fault where the samples are said to be lost.
      const isAfterGap = line.gaps.at(-1)?.end === t[i];
      if (line.last !== null && number > line.last + 1 && !isAfterGap) line.missing += number - line.last - 1;
      if (line.last !== null && number <= line.last) line.disordered += 1;
      line.last = number;
    });
  };
}
