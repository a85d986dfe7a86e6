"""What the page costs: ``make test-page`` prints it. It takes minutes, so no other run collects it.

SISOCK_TEST_SECONDS says for how long live fields are watched.
"""

import os
import statistics
import time

import psutil
import pytest

from sisock.testing import wait_until
from tests.browser.nodes import START

SECONDS = float(os.environ.get("SISOCK_TEST_SECONDS", 600))
SETTLE = 20.0
pytestmark = pytest.mark.timeout(2 * SECONDS + 300)
OPENINGS = 5

# Milliseconds from the opening of the page to the frame after the one that drew the first curve.
FIRST_CURVE = """
const look = () => {
  const row = document.querySelector(".legend tr[data-key]");
  if (Number(row?.dataset.count) > 0) requestAnimationFrame((now) => { window.firstCurve = now; });
  else requestAnimationFrame(look);
};
requestAnimationFrame(look);
"""


class Meter:
    """What the tab and its browser have used since it was made."""

    def __init__(self, page):
        self.page = page
        driver = psutil.Process(page.browser.service.process.pid)
        self.browser = driver.children(recursive=True)
        # The main thread of a process has its number.
        self.tabs = [p for p in self.browser if "--type=renderer" in p.cmdline()]
        self.before = self._read()

    def _read(self):
        threads = [t for p in self.tabs for t in p.threads() if t.id == p.pid]
        times = [p.cpu_times() for p in self.browser]
        return (
            time.monotonic(),
            sum(t.user_time + t.system_time for t in threads),
            sum(t.user + t.system for t in times),
        )

    def seconds(self):
        """For how long it has measured."""
        return self._read()[0] - self.before[0]

    def parts(self):
        """Parts of a core that the tabs' main threads and all of the browser have used."""
        seconds, thread, browser = (
            now - then for now, then in zip(self._read(), self.before, strict=True)
        )
        return thread / seconds, browser / seconds

    def memory(self):
        """Bytes of the tab's heap without garbage, and of all the browser's own memory."""
        self.page.browser.execute_cdp_cmd("HeapProfiler.collectGarbage", {})
        heap = self.page.run("return performance.memory.usedJSHeapSize")
        return heap, sum(p.memory_full_info().uss for p in self.browser)


@pytest.fixture(autouse=True)
def circumstances():
    """Say on what machine it was, as the figures mean nothing without."""
    yield
    print(f"on {os.cpu_count()} cores with {os.getloadavg()[1]:.0f} processes waiting for them")


@pytest.fixture
def wall(serve):
    return serve("tests/browser/wall.py", name="page_wall")


def test_first_curve_after_opening(page, serve):
    key = serve("tests/browser/nodes.py", "spiky", name="page_spiky") + "::x"
    command = "Page.addScriptToEvaluateOnNewDocument"
    page.browser.execute_cdp_cmd(command, {"source": FIRST_CURVE})
    taken = []
    for _ in range(OPENINGS):
        page.open(f"?s={key}&from={START}&to={START + 1000}")
        taken.append(page.wait(lambda: page.run("return window.firstCurve"), "the first curve"))
    print(
        f"\nfirst curve, of a million samples, after opening: median"
        f" {statistics.median(taken):.0f} ms, longest {max(taken):.0f} ms of {OPENINGS}"
    )
    assert page.counts()[key] > 100


@pytest.mark.parametrize("view", ["values", "panels"])
def test_two_hundred_live_fields_are_watched(page, wall, view):
    waves = [",".join(f"wave_{i:03}" for i in range(k, k + 19)) for k in range(0, 190, 19)]
    fields = [f"v={wall}::*"] if view == "values" else [f"p={wall}::{each}" for each in waves]
    page.open(f"?view={view}&{'&'.join(fields)}&last=300")
    shown = "#values tbody tr" if view == "values" else ".legend tr[data-key]"
    count = f"return document.querySelectorAll('{shown}').length"
    page.wait(lambda: page.run(count) >= 190, "the fields")
    settled = Meter(page)
    wait_until(lambda: settled.seconds() > SETTLE, SETTLE + 30, "the page to settle", every=1)
    meter = Meter(page)
    heap, own = meter.memory()
    wait_until(lambda: meter.seconds() > SECONDS, SECONDS + 60, "the end", every=5)
    thread, browser = meter.parts()
    heap_after, own_after = meter.memory()
    print(
        f"\n{page.run(count)} live fields at 1 Hz, {view}, for {meter.seconds():.0f} s:"
        f" main thread {thread:.1%}, browser {browser:.1%} of a core;"
        f" heap {heap / 1e6:.1f} to {heap_after / 1e6:.1f} MB,"
        f" browser's memory {own / 1e6:.0f} to {own_after / 1e6:.0f} MB"
    )
    assert heap_after < heap + 10e6
