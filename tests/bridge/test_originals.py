"""The bridge with nodes that behave as those of the original system did."""

import pytest

from tests.bridge.conftest import iso_range
from tests.integration.originals import END, START, start_original, truth

WHOLE = iso_range(START, END)
CUT = START + 600, START + 1800


@pytest.mark.parametrize("points", [None, 2000])
@pytest.mark.parametrize("kind", ["weather", "g3_reader", "apex_weather", "radiometer"])
def test_a_panel_shows_every_sample_of_an_original_node(router, bridge, start, kind, points):
    start_original(start, router, kind, "bridged")
    for span in ((START, END), CUT):
        targets = [f"bridged::{name}" for name in truth(kind)]
        shown = bridge.query(*targets, range=iso_range(*span), maxDataPoints=points)
        for name, series in zip(truth(kind), shown, strict=True):
            pairs = [(ms / 1000, value) for value, ms in series["datapoints"]]
            assert pairs == truth(kind, *span)[name]


def test_a_table_has_a_row_for_each_time_of_any_field(router, bridge, start):
    start_original(start, router, "weather", "bridged")
    table = bridge.query({"target": "bridged::*", "type": "table"}, range=WHOLE)[0]
    assert len(table["rows"]) == 60
    assert table["rows"][20] == [(START + 1200) * 1000, None, 1020, 2020]
    assert table["rows"][40] == [(START + 2400) * 1000, 40, None, 2040]


def test_data_without_a_timeline_is_noticed(router, bridge, start):
    start_original(start, router, "unmatched", "bridged")
    answer = bridge.ask("/query", {"range": WHOLE, "targets": [{"target": "bridged::a"}]})
    assert answer.json[0]["datapoints"] == []
    assert "no timeline of the reply is its own" in answer.headers["X-Sisock-Notice"]
