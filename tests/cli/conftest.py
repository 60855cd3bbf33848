"""The command line as a function, and a node to talk to."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from typer.testing import CliRunner, Result

from tests.cli.fake_node import FakeNode
from twingateway.cli.main import app

Run = Callable[..., Result]


def _nobody() -> str:
    raise KeyError("this user has no name")


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `twingateway ARGS…` in this process."""
    for name in ("TWINGATEWAY_API", "TWINGATEWAY_TOKEN_FILE", "TWINGATEWAY_ACTOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("getpass.getuser", _nobody)
    runner = CliRunner(env={"TERMINAL_WIDTH": "200"})

    def run(*args: object) -> Result:
        return runner.invoke(app, [str(arg) for arg in args])

    return run


@pytest.fixture
def node() -> Iterator[FakeNode]:
    node = FakeNode()
    yield node
    node.close()


@pytest.fixture
def ask(cli: Run, node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> Run:
    """As `cli`, with the fake node as the API."""
    monkeypatch.setenv("TWINGATEWAY_API", node.url)
    return cli
