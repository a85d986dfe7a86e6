from step09 import Computer

from sisock.testing import check_node


def test_the_node_keeps_the_rules(tmp_path):
    node = Computer(folder=tmp_path)
    node.keep = None  # a test leaves nothing behind
    lines = check_node(node)
    assert lines[0] == "node computer: 3 fields"
    assert not any("doubtful" in line for line in lines)


def test_a_disk_that_is_gone_costs_only_its_own_field(tmp_path):
    node = Computer(folder=tmp_path / "gone")
    values = node.read()
    assert values["free"] is None
    assert values["load"] >= 0
    assert "No such file" in node.trouble
