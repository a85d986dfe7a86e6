"""A trial of delivery: see `tests/faults/delivery.py` and `docs/explanation/reliability.md`."""

import os

import pytest

from sisock.testing import RouterProcess
from tests.faults.delivery import Delivery, Plan

IS_LONG = "SISOCK_TEST_DELIVERY" in os.environ
MINUTES = float(os.environ.get("SISOCK_TEST_MINUTES", "2"))
SEED = int(os.environ.get("SISOCK_TEST_SEED", "1"))
SHORT = Plan(20_000, 3, 3, 1, 1, 1, 3.0, 0.3, MINUTES, SEED)
LONG = Plan(1_000_000, 200, 180, 20, 20, 20, 60.0, 1.0, MINUTES, SEED)


@pytest.fixture
def router():
    with RouterProcess(hub=False) as process:
        yield process


@pytest.mark.timeout(MINUTES * 60 + 600)
def test_each_sample_is_delivered_once_and_in_order(router, start, tmp_path, request):
    browser = request.getfixturevalue("browser") if IS_LONG else None
    delivery = Delivery(router, start, tmp_path, LONG if IS_LONG else SHORT, browser)
    try:
        report = delivery.run()
    finally:
        delivery.close()
    print(report)
    assert report.violations == []
