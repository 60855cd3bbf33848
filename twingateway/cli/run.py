"""`twingateway run`: one node, until SIGTERM or Ctrl-C; SIGHUP has it read its files again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

#: Python's own thresholds for the collection of cycles are for small programs: with 40,000 registers a busy node
#: spent a quarter of its time walking over them. What makes cycles here (connections, requests) is rare.
GC_THRESHOLDS = (50_000, 20, 100)


def run(
    file: Annotated[Path, typer.Argument(metavar="NODE.yaml", help="The node file.")] = Path("node.yaml"),
) -> None:
    """Run a node. What it does follows from the sections of its file; it ends in good order on SIGTERM and Ctrl-C.

    On SIGHUP it reads its files again and begins anew with them, within a
    second or two and in the same process; if there is a mistake in them it
    says so and goes on as it was.

    Examples:
      twingateway run                  the node.yaml of this folder
      twingateway run site/edge.yaml
    """
    import asyncio
    import gc

    from twingateway.config.load import load_node
    from twingateway.node.process import run_node, use_logs
    from twingateway.plugins.registry import AdapterRegistry

    registry = AdapterRegistry.installed()
    loaded = load_node(file, registry)
    use_logs(loaded)
    gc.set_threshold(*GC_THRESHOLDS)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(run_node(loaded, registry))


def _loop_factory() -> Callable[[], AbstractEventLoop] | None:
    """uvloop's where it is installed, else asyncio's own."""
    try:
        from uvloop import new_event_loop
    except ImportError:
        return None
    return new_event_loop
