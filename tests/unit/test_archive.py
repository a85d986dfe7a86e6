import math

import numpy as np
import pytest

from sisock import ArchiveNode
from sisock.errors import NodeContractError


class Files(ArchiveNode):
    name = "files"

    def __init__(self, **times):
        self.times = times

    def list_fields(self, start, end):
        return {name: {"timeline": "line"} for name in self.times}

    def read(self, field, start, end):
        t = self.times[field]
        return t, [x * 2.0 for x in t]


def until(**times):
    reply = Files(**times).get_data(list(times), 1, 100)
    return reply["timeline"]["line"]["finalized_until"]


def test_all_is_final_where_the_fields_of_a_timeline_end_together():
    assert until(a=[1, 2, 3], b=[1, 3]) is None
    assert until(a=[], b=[]) is None


def test_a_missing_sample_is_not_final_while_its_file_may_still_grow():
    assert until(a=[1, 2, 3], b=[1, 2]) == math.nextafter(2, 3)
    assert until(a=[1, 2, 3], b=[]) == 1


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (None, "the pair"),
        (([1, 2], [1]), "2 times, but 1 values"),
        (([2, 1], [1, 2]), "goes back"),
        (([1], ["a", 1]), "values"),
    ],
)
def test_a_wrong_answer_of_read_names_the_field(answer, message):
    node = Files(a=[1])
    node.read = lambda field, start, end: answer
    with pytest.raises(NodeContractError, match=message):
        node.get_data(["a"], 1, 100)


def test_unknown_fields_are_left_out():
    reply = Files(a=np.array([1.0])).get_data(["a", "b"], 1, 100)
    assert set(reply["data"]) == {"a"}
