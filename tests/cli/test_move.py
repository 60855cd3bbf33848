from __future__ import annotations

from tests.cli.conftest import Run
from tests.cli.fake_node import FakeNode
from twingateway.cli.exit_codes import ExitCode


def test_a_node_that_nobody_knows_is_given_nothing_unless_that_is_meant(ask: Run, node: FakeNode) -> None:
    node.answer("POST", "/twins/hvac/move", {})
    node.answer("GET", "/nodes", {"items": [{"name": "cloud-1"}, {"name": "edge-2"}]})
    known = ask("move", "hvac", "edge-2")
    assert (known.exit_code, known.stderr) == (0, "")
    mistyped = ask("move", "hvac", "egde-2")
    assert mistyped.exit_code == ExitCode.NOT_FOUND
    assert 'no node egde-2 was ever seen here (did you mean "edge-2"?)' in mistyped.stderr
    assert "--unseen" in mistyped.stderr
    assert ask("move", "hvac", "edge-3", "--unseen").exit_code == 0
    assert [each.body for each in node.asked if each.method == "POST"] == [{"node": "edge-2"}, {"node": "edge-3"}]


def test_another_node_than_the_root_says_where_devices_are_moved_whatever_it_knows_of_nodes(
    ask: Run, node: FakeNode
) -> None:
    around = [{"name": "edge-1", "role": "self"}, {"name": "cloud-1", "role": "parent"}]
    node.answer("GET", "/nodes", {"items": around})
    said = "twins are changed at the root, cloud-1"
    node.problem("POST", "/twins/hvac/move", 409, "This node is not the root", said, code="not-root")
    refused = ask("move", "hvac", "edge-2")
    assert (refused.exit_code, refused.stderr) == (ExitCode.CONFLICT, f"error: {said}\n")
