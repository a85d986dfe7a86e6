"""Rows bridges and cache: panels by one and two bridges, tiles with and without nginx.

Haproxy and nginx run with the files that the documents recommend. What limits is said with each
row: on two cores, bridges, router and clients share these. A further panel and tile, each with a
call of the node, give the model of sites its costs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil

from benchmarks.costs import write_costs
from benchmarks.counts import CountedStack, Work, cpu_seconds
from benchmarks.nodes import START
from benchmarks.panels import POINTS, view
from benchmarks.report import Figure
from benchmarks.stack import Bridge, Connection, panel
from tests.bridge.balancer import Balancer
from tests.bridge.nginx import NAME, Nginx
from tests.bridge.tile_node import TILE, tile_path

CLIENTS, REQUESTS = 8, 100
"""Clients, and requests of each."""

Request = Callable[[Connection, int], Any]


class Load:
    """Clients that all make the same kind of request at the same time."""

    def __init__(self, stack: CountedStack, pool: ThreadPoolExecutor) -> None:
        self._stack, self._pool = stack, pool

    def run(self, port: int, request: Request, *pids: int) -> tuple[Work, float]:
        """Return what processes do for all requests, and the clients' CPU seconds."""

        def client(number: int) -> None:
            connection = Connection(port)
            for i in range(REQUESTS):
                request(connection, number * REQUESTS + i)

        before = cpu_seconds(os.getpid())
        with self._stack.counted(*pids) as work:
            list(self._pool.map(client, range(CLIENTS)))
        return work, cpu_seconds(os.getpid()) - before

    def row(self, name: str, what: str, port: int, request: Request, *pids: int) -> Figure:
        """Measure, and say who took how much of a core."""
        work, clients = self.run(port, request, *pids)
        rate = CLIENTS * REQUESTS / work.seconds
        served, router, asked = (n / work.seconds for n in (work.cpu[2], work.cpu[0], clients))
        each = 1e3 * work.cpu[2] / CLIENTS / REQUESTS
        shown = (
            f"{rate:,.0f} requests/s; cores: {served:.2g} servers, {router:.2g} router,"
            f" {asked:.2g} clients; {each:.2g} ms of the servers' CPU each"
        )
        return Figure(name, what, shown, rate)


def programs(name: str) -> list[int]:
    """Return the ids of this process's programs of a name."""
    children = psutil.Process().children(recursive=True)
    return [child.pid for child in children if child.name() == name]


def pid(bridge: Bridge) -> int:
    """Return the id of a bridge's process."""
    return bridge.program.process.pid


def figures(_rounds: int) -> Iterator[Figure]:
    """Measure panels and tiles."""
    with CountedStack() as stack, ThreadPoolExecutor(CLIENTS) as pool:
        stack.start_node("days", "-m", "benchmarks.nodes", "days")
        with stack.client() as client:
            (generation,) = {node.generation for node in client.nodes()}
        load, bridges = Load(stack, pool), (stack.start_bridge(), stack.start_bridge())
        yield from panel_rows(stack, load, bridges)
        yield from tile_rows(stack, load, bridges[0], str(generation))


def panel_rows(stack: CountedStack, load: Load, bridges: tuple[Bridge, Bridge]) -> Iterator[Figure]:
    """Measure panels of one field and a day."""
    body = panel(["days::f0"], *view(0), POINTS)

    def again(connection: Connection, _: int) -> None:
        connection.query(body)

    def later(connection: Connection, number: int) -> None:
        connection.query(panel(["days::f0"], *view(number, 600), POINTS))

    first, both = bridges[0], [pid(bridge) for bridge in bridges]
    work, _ = load.run(first.port, later, pid(first))
    write_costs("bridge panel", work.cpu[2] / CLIENTS / REQUESTS)
    what = "a panel of 1 field that was asked for before"
    yield load.row("bridges", f"{what}, 1 bridge", first.port, again, pid(first))
    with Balancer((first.port, bridges[1].port), stack.folder / "haproxy.log") as balancer:
        pids = *both, *programs("haproxy")
        load.run(balancer.port, again)
        yield load.row("bridges", f"{what}, 2 bridges, haproxy", balancer.port, again, *pids)


def tile_rows(stack: CountedStack, load: Load, bridge: Bridge, generation: str) -> Iterator[Figure]:
    """Measure tiles of one field and 64 s."""

    def path(number: int) -> str:
        return tile_path("days", generation, "f0", 0, START // TILE + number)

    def new(connection: Connection, number: int) -> None:
        connection.ask(path(number))

    def same(connection: Connection, _: int) -> None:
        connection.ask(path(0))

    def named(connection: Connection, _: int) -> None:
        connection.ask(path(0), Host=NAME)

    work, _ = load.run(bridge.port, new, pid(bridge))
    write_costs("bridge tile", work.cpu[2] / CLIENTS / REQUESTS)
    yield load.row("cache", "a tile that was asked for before", bridge.port, same, pid(bridge))
    folder = stack.folder / "nginx"
    folder.mkdir()
    nginx = Nginx(folder, bridge.port)
    stack.callback(nginx.end)
    pids = programs("nginx")
    yield load.row("cache", "the same by nginx", nginx.port, named, pid(bridge), *pids)
    work, _ = load.run(nginx.port, named, *pids)
    write_costs("cache tile", work.cpu[2] / CLIENTS / REQUESTS)
