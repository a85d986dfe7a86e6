"""The page with nodes that behave as those of the original system did."""

from tests.integration.originals import END, START, start_original, truth


def open_fields(page, keys, start, end):
    page.open("?" + "&".join(f"s={key}" for key in keys) + f"&from={start}&to={end}&table=1")
    page.wait(lambda: set(page.counts()) == set(keys), "the fields")


def test_every_sample_of_original_nodes_is_shown(page, router, start):
    kinds = ["weather", "g3_reader", "apex_weather", "radiometer"]
    for kind in [*kinds, "unmatched"]:
        start_original(start, router, kind, f"page_{kind}")
    counts = {
        f"page_{kind}::{name}": len(samples)
        for kind in kinds
        for name, samples in truth(kind, START, START + 1800).items()
    }
    open_fields(page, [*counts, "page_unmatched::a"], START, START + 1800)
    page.wait(lambda: page.counts() == {**counts, "page_unmatched::a": 0}, "all samples")
    assert "no timeline of the reply" in page.legend("page_unmatched::a")[1]


def test_values_stand_at_their_own_times(page, router, start):
    start_original(start, router, "weather", "page_weather_2018")
    keys = [f"page_weather_2018::{name}" for name in "abc"]
    open_fields(page, keys, START, END)
    cells = (
        "return [...document.querySelectorAll('.samples tbody tr')].map((row) =>"
        " [...row.querySelectorAll('td')].map((cell) => cell.textContent))"
    )
    page.wait(lambda: len(page.run(cells)) == 60, "a row a minute")
    # The newest is first.
    rows = [row[-3:] for row in reversed(page.run(cells))]
    assert [rows[i] for i in (19, 20, 21, 39, 40, 41)] == [
        ["19", "1019", "2019"],
        ["", "1020", "2020"],
        ["21", "1021", "2021"],
        ["39", "1039", "2039"],
        ["40", "", "2040"],
        ["41", "1041", "2041"],
    ]
