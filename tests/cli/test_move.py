from __future__ import annotations

from tests.cli.conftest import Run
from tests.cli.fake_node import FakeNode


def test_a_move_to_a_node_that_nobody_knows_is_done_with_a_warning(ask: Run, node: FakeNode) -> None:
    node.answer("POST", "/twins/hvac/move", {})
    node.answer("GET", "/nodes", {"items": [{"name": "cloud-1"}, {"name": "edge-2"}]})
    known = ask("move", "hvac", "edge-2")
    assert (known.exit_code, known.stderr) == (0, "")
    mistyped = ask("move", "hvac", "egde-2")
    assert mistyped.exit_code == 0
    assert "no node egde-2" in mistyped.stderr
    assert [each.body for each in node.asked if each.method == "POST"] == [{"node": "edge-2"}, {"node": "egde-2"}]
