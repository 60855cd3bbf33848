"""The node as a process: SIGTERM and SIGINT end it, SIGHUP has it read its files again.

On a terminal SIGHUP says that the terminal is gone, and ends it too. Files that are not valid change nothing: what
runs goes on running, and the log has every problem.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import structlog

from twingateway.config.load import LoadedNode, load_node
from twingateway.errors import InvalidDocument, TwinGatewayError
from twingateway.node.logs import configure_logs
from twingateway.node.run import Node
from twingateway.node.service_manager import ServiceManager
from twingateway.plugins.registry import AdapterRegistry

log = structlog.get_logger("node")


def use_logs(loaded: LoadedNode) -> None:
    """Write the log as this file says."""
    configure_logs(loaded.config.log.level, loaded.config.log.format)


async def run_node(loaded: LoadedNode, registry: AdapterRegistry) -> None:
    """Run until SIGTERM or SIGINT. A second signal ends the process at once."""
    manager = ServiceManager(os.environ)
    node = Node(loaded, registry, lambda bound: manager.ready(), use_logs)
    loop, hung_up = asyncio.get_running_loop(), asyncio.Event()

    def on_end() -> None:
        if node.stopping:
            os._exit(1)
        manager.stopping()
        node.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_end)
    has_terminal = sys.stdin is not None and sys.stdin.isatty()
    loop.add_signal_handler(signal.SIGHUP, on_end if has_terminal else hung_up.set)
    beside = [
        asyncio.create_task(manager.keep_watching(), name="watchdog"),
        asyncio.create_task(_reload(node, loaded, registry, hung_up, manager), name="reload"),
    ]
    try:
        await node.run()
    finally:
        for task in beside:
            task.cancel()
    sys.stderr.flush()


async def _reload(
    node: Node, loaded: LoadedNode, registry: AdapterRegistry, hung_up: asyncio.Event, manager: ServiceManager
) -> None:
    """Whenever `hung_up` is set."""
    while await hung_up.wait():
        hung_up.clear()
        manager.reloading()
        try:
            node.reload(await asyncio.to_thread(load_node, loaded.file, registry))
            log.info("beginning anew with the files as they are now")
        except TwinGatewayError as error:
            problems = [str(each) for each in error.problems] if isinstance(error, InvalidDocument) else []
            log.error("the files are not used; going on as before", reason=error.message, problems=problems)
            manager.ready()
