"""The profile `scale`: two of each behind HAProxy; one of two may go, and no panel fails."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
import yaml

from sisock.testing import wait_until
from tests.compose.project import PATIENCE, SERVICES, TOP, Outside, Project

pytestmark = pytest.mark.timeout(1800)

MORE = ("weather-2", "sisock-http-2", "sisock-balancer")

SETTINGS = dict(
    line.split("=", 1)
    for line in (TOP / "scale.env").read_text().splitlines()
    if not line.startswith("#")
)


class Load:
    """Clients that ask HAProxy for panels without pause."""

    def __init__(self, outside: Outside) -> None:
        self.wrong: list[str] = []
        self.count = 0
        self._outside, self._is_over = outside, threading.Event()
        self._right = outside.weather()
        self._threads = [threading.Thread(target=self._ask) for _ in range(4)]
        for thread in self._threads:
            thread.start()

    def _ask(self) -> None:
        while not self._is_over.is_set():
            try:
                is_right = self._outside.weather() == self._right
                self.wrong += [] if is_right else ["other samples"]
            except (OSError, ValueError) as error:
                self.wrong.append(repr(error))
            self.count += 1

    def wait_for_more(self, count: int = 50) -> None:
        """Wait until some more panels were answered, rightly or not."""
        wanted = self.count + count
        wait_until(lambda: self.count >= wanted, PATIENCE, "answers under load", every=0.2)

    def end(self) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(30)


@pytest.fixture(scope="module")
def scaled(
    project: Callable[..., tuple[Project, Outside]],
) -> tuple[Project, Outside]:
    """The demo with the profile, up and healthy, asked through HAProxy."""
    made, direct = project("scale", **SETTINGS)
    made.compose("up", "-d", *SERVICES, *MORE)
    made.wait_until_healthy(*SERVICES, *MORE)
    host = direct.address.partition(":")[0]
    through = Outside(f"{host}:{made.variables['SISOCK_BALANCER_PORT']}")
    through.wait_for_data()
    return made, through


@pytest.fixture
def load(scaled: tuple[Project, Outside]) -> Iterator[Load]:
    """Load that found no panel wrong in the end."""
    made = Load(scaled[1])
    yield made
    made.end()
    assert made.wrong == []


def test_there_are_two_of_each(scaled: tuple[Project, Outside]) -> None:
    project, _ = scaled

    def replicas() -> str:
        lines = project.run_in("sisock-http", "sisock", "nodes").splitlines()
        return dict(line.split()[:2] for line in lines).get("apex_archive", "")

    wait_until(lambda: replicas() == "2", PATIENCE, "two replicas of the archive", every=0.5)
    script = "grep -l 'Proxy[C]ontroller' /proc/[0-9]*/cmdline | wc -l"
    wait_until(
        lambda: project.run_in("sisock-crossbar", "sh", "-c", script).strip() == "2",
        PATIENCE,
        "two proxies",
        every=0.5,
    )


def test_programs_of_the_profile_are_confined(scaled: tuple[Project, Outside]) -> None:
    project, _ = scaled
    for service in MORE:
        status = project.run_in(service, "cat", "/proc/1/status")
        assert "CapEff:\t0000000000000000" in status and "NoNewPrivs:\t1" in status
        assert project.run_in(service, "id", "-u").strip() != "0"


def test_a_bridge_is_stopped_and_the_other_killed(
    scaled: tuple[Project, Outside], load: Load
) -> None:
    project, _ = scaled
    load.wait_for_more()
    project.compose("stop", "-t", "60", "sisock-http")
    assert project.inspect("sisock-http")["State"]["ExitCode"] == 0
    load.wait_for_more()
    project.compose("start", "sisock-http")
    project.wait_until_healthy("sisock-http")
    load.wait_for_more()
    project.signal("sisock-http-2", "KILL")
    load.wait_for_more()
    project.wait_until_healthy("sisock-http-2")


def test_a_replica_is_killed(scaled: tuple[Project, Outside], load: Load) -> None:
    project, _ = scaled
    before = project.inspect("weather")["RestartCount"]
    load.wait_for_more()
    project.signal("weather", "KILL")
    load.wait_for_more()
    wait_until(lambda: project.inspect("weather")["RestartCount"] > before, PATIENCE, "a restart")
    project.wait_until_healthy("weather")


def test_a_bridge_that_is_made_anew_is_found_again(scaled: tuple[Project, Outside]) -> None:
    project, through = scaled
    project.compose("rm", "-sf", "sisock-http", "sisock-http-2")
    # The first takes an address that HAProxy knows as another's.
    for service in ("sisock-http-2", "sisock-http"):
        project.compose("up", "-d", "--no-deps", service)
    through.wait_for_data()
    project.wait_until_healthy("sisock-http", "sisock-http-2")


def test_without_the_profile_nothing_is_added() -> None:
    services = yaml.safe_load((TOP / "docker-compose.yml").read_text())["services"]
    added = {name for name, service in services.items() if service.get("profiles") == ["scale"]}
    assert added == set(MORE)
    assert not any("profiles" in services[name] for name in SERVICES)
