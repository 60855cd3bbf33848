from __future__ import annotations

from tests.cli.conftest import Run
from tests.cli.fake_node import FakeNode
from twingateway.cli.exit_codes import ExitCode


def test_a_twin_is_deleted_at_the_root(ask: Run, node: FakeNode) -> None:
    node.answer_bytes("DELETE", "/twins/hvac%2F1", b"", "application/json", 204)
    result = ask("delete", "hvac/1", "--namespace", "plant-7")
    assert result.exit_code == 0, result.output
    assert result.stdout == "twin hvac/1 deleted\n"
    assert node.asked[0].query == {"namespace": ["plant-7"]}


def test_what_is_not_there_is_not_deleted(ask: Run, node: FakeNode) -> None:
    node.problem("DELETE", "/twins/hvac", 404, "No such twin", "there is no twin hvac", code="unknown-twin")
    result = ask("delete", "hvac")
    assert result.exit_code == ExitCode.NOT_FOUND
    assert "there is no twin hvac" in result.stderr
