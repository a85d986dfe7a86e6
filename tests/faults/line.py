"""A line like one to another continent: it delays packets, loses some, and carries few at a time.

The kernel's own netem is not on every machine: a process passes the packets between two TUN
devices, one of which is in the namespace.
"""

from __future__ import annotations

import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import sys
import time
from contextlib import suppress

from tests.faults.network import Namespace, run

TUN_SET_INTERFACE, TUN_PLAIN = 0x400454CA, 0x1001
QUEUE_SECONDS = 0.5
"""Packets that would wait longer for the line are lost."""


class Line(Namespace):
    """A namespace with a cable, and besides it a bad line between `here` and `there`."""

    def __init__(self, delay: float, loss: float, bytes_per_second: float) -> None:
        super().__init__()
        self._how = [str(each) for each in (delay, loss, bytes_per_second)]
        self._ends = self._near_end.replace("sn", "sl"), self._far_end.replace("sf", "sm")
        # The other half of 198.18.0.0/15.
        self.here, self.there = (each.replace("198.18", "198.19") for each in (self.near, self.far))
        self._process: subprocess.Popen | None = None

    def lay(self) -> None:
        """Make the namespace, the cable and the line."""
        super().lay()
        command = [sys.executable, "-m", "tests.faults.line", *self._ends, *self._how]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "open\n"
        near, far = self._ends
        run("ip", "link", "set", far, "netns", self.name)
        run("ip", "address", "add", self.here, "peer", self.there, "dev", near)
        run("ip", "-n", self.name, "address", "add", self.there, "peer", self.here, "dev", far)
        run("ip", "-n", self.name, "link", "set", far, "up")
        self.set_line("up")

    def set_line(self, state: str) -> None:
        """Set our end of the line up or down: down, nothing passes, without a word."""
        run("ip", "link", "set", self._ends[0], state)

    def remove(self) -> None:
        """Remove all of it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
        super().remove()


def open_end(name: str) -> int:
    """Make a TUN device; returns its file descriptor."""
    end = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(end, TUN_SET_INTERFACE, struct.pack("16sH", name.encode(), TUN_PLAIN))
    return end


def carry(ends: list[int], delay: float, loss: float, bytes_per_second: float) -> None:
    """Pass packets between two devices, for ever."""
    chance = random.Random(os.getpid())
    other = {ends[0]: ends[1], ends[1]: ends[0]}
    free_at = dict.fromkeys(ends, 0.0)
    under_way: list[tuple[float, int, int, bytes]] = []
    count = 0
    while True:
        pause = max(under_way[0][0] - time.monotonic(), 0) if under_way else None
        ready, _, _ = select.select(ends, [], [], pause)
        now = time.monotonic()
        for end in ready:
            packet = b""
            with suppress(OSError):  # its device is down
                packet = os.read(end, 1 << 16)
            begin = max(now, free_at[end])
            if packet and begin - now < QUEUE_SECONDS and chance.random() >= loss:
                free_at[end] = begin + len(packet) / bytes_per_second
                count += 1
                heapq.heappush(under_way, (free_at[end] + delay, count, other[end], packet))
        while under_way and under_way[0][0] <= now:
            _, _, end, packet = heapq.heappop(under_way)
            with suppress(OSError):
                os.write(end, packet)


if __name__ == "__main__":
    opened = [open_end(name) for name in sys.argv[1:3]]
    print("open", flush=True)
    carry(opened, *map(float, sys.argv[3:]))
