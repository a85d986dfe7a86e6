"""Say how busy each part of a site is, and what is full first.

``python -m benchmarks.scale`` reads the costs that the last ``python -m benchmarks --scale``
measured. Flags change the layouts. Without arguments the tables go into the document as well.

A load of 1 is a whole core, 1 Gbit/s, or all the connections allowed. A part with one thread is
full at 0.7: above it, delays grow fast.

``--check`` compares the model with real runs of few nodes and watchers, and fails if the router's
CPU time is not as predicted, within a factor of two.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import signal
import sys
from collections.abc import Mapping

from benchmarks import real_runs
from benchmarks.costs import Costs, read_costs
from benchmarks.model import Site, event_delay, full_at, loads, login_seconds, panel_delay
from benchmarks.report import publish

LAYOUTS = {
    "lab": Site(nodes=20, fields=100, hertz=1, pages=10, grafana=5),
    "site": Site(nodes=2000, fields=100, hertz=1, pages=250, grafana=250, proxies=2, bridges=2),
    "ten": Site(
        nodes=2000, fields=100, hertz=1, pages=2000, grafana=1000, tiles=7000, proxies=2,
        bridges=8, sites=10,
    ),
}  # fmt: skip
LOGINS = "until all are back after a restart of the router"
WAIT = "99 % at most:"
TITLES = {"lab": "One lab", "site": "One site", "ten": "Ten sites"}

KINDS = {"pages": "the page", "grafana": "Grafana", "tiles": "tiles"}


def describe(site: Site) -> str:
    """Describe a layout in a line."""
    counts = {name: getattr(site, kind) for kind, name in KINDS.items()}
    viewers = ", ".join(f"{count:,.0f} with {name}" for name, count in counts.items() if count)
    each = f"{site.nodes:,} nodes with {site.fields} fields at {site.hertz:g} Hz"
    sites = f"{site.sites} sites of " if site.sites > 1 else ""
    return f"{sites}{each}; viewers: {viewers}; proxies: {site.proxies}, bridges: {site.bridges}"


def cells(site: Site, costs: Costs) -> dict[str, str]:
    """Return what is said about a layout, by the names of the rows."""
    found, full = loads(site, costs), full_parts(site, costs)
    nodes = {part: full_at(site, costs, part, "nodes") for part in full}
    rows = {part: f"{found[part]:.2g}; {_size(full[part], nodes[part])}" for part in full}
    first = next(iter(full))
    rows["full first"] = f"{first}, at {_size(full[first], nodes[first])}"
    rows[f"{WAIT} an event in the router"] = _wait(event_delay(site, costs))
    if site.proxies:
        rows[f"{WAIT} an event in each of two proxies"] = _wait(event_delay(site, costs, 1))
    if site.grafana:
        rows[f"{WAIT} a panel in its bridge"] = _wait(panel_delay(site, costs))
    rows[LOGINS] = f"{login_seconds(site, costs):.2g} s"
    for kind, name in KINDS.items():
        alone = dataclasses.replace(site, **dict.fromkeys(KINDS, 0.0) | {kind: site.viewers})
        part, viewers = next(iter(full_parts(alone, costs).items()))
        end = f"; then full: {part}" if math.isfinite(viewers) else ""
        rows[f"viewers, if all use {name}"] = f"{_count(viewers)}{end}"
    return rows


def report(sites: Mapping[str, Site], costs: Costs) -> str:
    """Return a list of layouts, and a table of what is said about each."""
    columns = {title: cells(site, costs) for title, site in sites.items()}
    names = sorted({name for rows in columns.values() for name in rows}, key=_place)
    lines = [f"- **{title}**: {describe(site)}." for title, site in sites.items()]
    lines += ["", f"| load; full at | {' | '.join(columns)} |", f"| --- |{' --- |' * len(columns)}"]
    for name in names:
        shown = [rows.get(name, "") for rows in columns.values()]
        lines.append(f"| {name} | {' | '.join(shown)} |")
    return "\n".join(lines)


def full_parts(site: Site, costs: Costs) -> dict[str, float]:
    """Return at how many viewers each part is full, the first one first."""
    full = {part: full_at(site, costs, part, "viewers") for part in loads(site, costs)}
    return dict(sorted(full.items(), key=lambda item: item[1]))


def _place(row: str) -> tuple[int, str]:
    """Sort parts first, then the first that is full, delays and viewers."""
    kinds = "full first", WAIT, LOGINS, "viewers"
    return next((i for i, kind in enumerate(kinds, 1) if row.startswith(kind)), 0), row


def _size(viewers: float, nodes: float) -> str:
    """Say at how many viewers or nodes something is full."""
    sizes = {"viewers": viewers, "nodes": nodes}
    known = [f"{_count(size)} {what}" for what, size in sizes.items() if math.isfinite(size)]
    return " or ".join(known) or "no size tried"


def _count(number: float) -> str:
    return f"{float(f'{number:.2g}'):,.0f}" if math.isfinite(number) else "any"


def _wait(seconds: float) -> str:
    return f"{1e3 * seconds:.2g} ms" if math.isfinite(seconds) else "ever longer"


def check(costs: Costs) -> bool:
    """Compare the model with real runs; return whether it is near enough in all."""
    lines, are_near = real_runs.header(), []
    print("\n".join(lines))
    for size in real_runs.SIZES:
        line, is_near = real_runs.compare(size, costs)
        print(line, flush=True)
        lines.append(line)
        are_near.append(is_near)
    publish("check", "\n".join(lines))
    return all(are_near)


def main() -> None:
    """Print the tables, or check the model."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("layouts", nargs="*", help=f"of {', '.join(LAYOUTS)}; all if none is given")
    parser.add_argument("--check", action="store_true", help="compare with real runs")
    numbers = [field for field in dataclasses.fields(Site) if field.type != "bool"]
    for field in numbers:
        kind = int if field.type == "int" else float
        parser.add_argument(f"--{field.name}", type=kind, metavar="N")
    given = vars(parser.parse_args())
    names = given["layouts"] or list(LAYOUTS)
    if unknown := set(names) - set(LAYOUTS):
        parser.error(f"no such layout: {', '.join(unknown)}")
    costs = read_costs()
    if given["check"]:
        sys.exit(not check(costs))
    each = {field.name: given[field.name] for field in numbers}
    changes = {name: number for name, number in each.items() if number is not None}
    sites = {TITLES[name]: dataclasses.replace(LAYOUTS[name], **changes) for name in names}
    text = report(sites, costs)
    print(text)
    if len(sys.argv) == 1:
        publish("layouts", text)


if __name__ == "__main__":
    # A shell that starts this in the background has SIGINT ignored, and the router would, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    main()
