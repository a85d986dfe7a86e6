"""Show the state of router, hub, bridge and the nodes of `sisock serve`, and all last samples."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException
from typing import Any

from sisock.cli.output import format_age, write_node_states, write_table
from sisock.cli.serve import status_socket
from sisock.client.client import Client
from sisock.client.site import load_routers
from sisock.connection.health import OK, ask_figures, is_served
from sisock.connection.settings import Settings, find_setting, parse_port
from sisock.errors import SettingsError, SisockError
from sisock.wire.fields import KnownNode
from sisock.wire.times import counted

TIMEOUT = 5.0  # seconds to wait for each part
AT_ONCE = 16  # number of nodes asked at the same time
MAX_ROWS = 40  # number of nodes shown: one screen, nodes with a problem first

Part = dict[str, Any]
"""``part``, ``is_well`` (None: it need not run), ``text``; for a node also ``fields``, ``last``."""


def show(args: argparse.Namespace, settings: Settings) -> None:
    """Print the state of everything or of a file's nodes; SisockError names what has a problem."""
    if args.file is not None:
        _show_nodes_of_file(args, settings)
        return
    routers = [settings] if args.router else load_routers(log_level=args.log_level)
    parts, nodes = examine(settings, routers)
    if args.json:
        print(json.dumps({"parts": parts, "nodes": nodes}, indent=4))
    else:
        _write(parts, nodes)
    if bad := [part["part"] for part in (*parts, *nodes) if part["is_well"] is False]:
        raise SisockError(f"problems with: {', '.join(bad)}")


def _show_nodes_of_file(args: argparse.Namespace, settings: Settings) -> None:
    health, nodes = ask_figures(str(status_socket(settings.home, args.file)))
    if not nodes:
        raise SettingsError(f"`sisock serve {args.file}` is not running: {health}")
    if args.json:
        print(json.dumps(nodes, indent=4))
    else:
        write_node_states(sys.stdout, nodes)
    if bad := [name for name, status in nodes.items() if not status["is_well"]]:
        raise SisockError(f"problems with: {', '.join(bad)}")


def examine(settings: Settings, routers: Iterable[Settings]) -> tuple[list[Part], list[Part]]:
    """Return the states of all parts and of all nodes; problems are reported, not raised."""
    parts, nodes = [], list[Part]()
    for each in routers:
        of_router, of_nodes = _router(each)
        parts += of_router
        nodes += of_nodes
    return [*parts, _bridge(os.environ), *_supervisors(settings)], nodes


def _router(settings: Settings) -> tuple[list[Part], list[Part]]:
    """Ask a router, its hub and its nodes."""
    of_site = f" {settings.site}" if settings.site else ""
    router, hub = f"router{of_site}", f"hub{of_site}"
    try:
        with Client(settings, timeout=TIMEOUT) as client:
            joined = _part(router, True, f"{settings.address}, joined as {settings.user!r}")
            try:
                known = client.nodes().check()
            except SisockError as error:
                return [joined, _part(hub, False, str(error))], []
            with ThreadPoolExecutor(AT_ONCE) as pool:
                nodes = list(pool.map(lambda each: _node(client, each), known))
            return [joined, _part(hub, True, counted(len(known), "data node"))], nodes
    except SisockError as error:
        return [_part(router, False, str(error))], []


def _part(name: str, is_well: bool | None, text: str) -> Part:
    return {"part": name, "is_well": is_well, "text": text}


def _node(client: Client, node: KnownNode) -> Part:
    """Return the state of a node from its fields, which have the times of their last samples."""
    try:
        fields = client.fields(node.name).values()
    except SisockError as error:
        return {**_part(node.name, False, str(error)), "fields": None, "last": None}
    now, lasts = time.time(), [field.last for field in fields if field.last is not None]
    stale = [f.name for f in fields if f.last and f.stale_after and now - f.last > f.stale_after]
    text = node.trouble or (f"stale: {', '.join(stale)}" if stale else "")
    last = max(lasts, default=None)
    return {**_part(node.name, not text, text), "fields": len(fields), "last": last}


def _bridge(environ: Mapping[str, str]) -> Part:
    port, bind = parse_port(find_setting("PORT", environ), "PORT"), find_setting("BIND", environ)
    host = "127.0.0.1" if bind in ("0.0.0.0", "::") else bind
    url, connection = f"http://{host}:{port}", HTTPConnection(host, port, timeout=TIMEOUT)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        body = json.loads(answer.read())
    except ConnectionRefusedError:
        return _part("bridge", None, f"none at {url}; set PORT if it has another port")
    except (OSError, HTTPException, ValueError) as error:
        return _part("bridge", False, f"{url} does not answer as a bridge does: {error}")
    finally:
        connection.close()
    is_well = answer.status == 200 and isinstance(body, dict) and "status" in body
    return _part("bridge", is_well, url if is_well else f"{url}: {body}")


def _supervisors(settings: Settings) -> Iterator[Part]:
    """Ask each `sisock serve` of this home folder."""
    for socket in sorted(settings.home.router_socket.parent.glob("serve-*.sock")):
        if is_served(str(socket)):
            health, nodes = ask_figures(str(socket))
            is_well = health == OK
            yield _part("serve", is_well, ", ".join(nodes) if is_well else health)


def _write(parts: list[Part], nodes: list[Part]) -> None:
    words = {True: "ok", False: "BAD", None: "-"}
    rows = [(part["part"], words[part["is_well"]], part["text"]) for part in parts]
    write_table(sys.stdout, ("part", "state", "details"), rows)
    if not nodes:
        return
    nodes = sorted(nodes, key=lambda node: (node["is_well"], node["part"]))
    print()
    header = ("node", "state", "fields", "last sample", "problem")
    write_table(sys.stdout, header, [_row(node, words) for node in nodes[:MAX_ROWS]])
    if rest := nodes[MAX_ROWS:]:
        bad = sum(not node["is_well"] for node in rest)
        print(f"and {counted(len(rest), 'more node')}, {bad} of them with a problem: see --json")


def _row(node: Part, words: Mapping[bool | None, str]) -> tuple[str, ...]:
    last, fields = node["last"], node["fields"]
    age = "" if last is None else format_age(time.time() - last)
    count = "" if fields is None else str(fields)
    return node["part"], words[node["is_well"]], count, age, node["text"]
