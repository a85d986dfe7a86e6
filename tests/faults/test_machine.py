"""A trial of faults: see `tests/faults/machine.py` and `docs/explanation/reliability.md`."""

import os
import time

import pytest

from tests.faults.machine import Report, run_trial

STEPS = int(os.environ.get("SISOCK_TEST_STEPS", "60"))
MINUTES = float(os.environ.get("SISOCK_TEST_MINUTES", "2"))
SEED = int(os.environ.get("SISOCK_TEST_SEED", "1"))


@pytest.mark.timeout(MINUTES * 60 + 300)
@pytest.mark.parametrize("kill_central", [True, False], ids=["all_are_killed", "router_lasts"])
def test_all_comes_right_again_whatever_fails(tmp_path, kill_central):
    report = Report(STEPS // 2, time.monotonic() + MINUTES * 30, SEED)
    run_trial(tmp_path, hub_alone=kill_central, kill_central=kill_central, report=report)
    print(report)
    assert len(report.violations) == 0
