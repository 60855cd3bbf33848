"""Child processes of the demo: what they answer, what is said when one fails, and that none is left."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from twingateway.demo.failure import DemoFailed
from twingateway.demo.processes import Child, Processes

RELAY = "twingateway.demo.relay_process"


async def start_relay(children: Processes) -> Child:
    relay = await children.start("relay", RELAY, "--server", "9")
    assert (await relay.ready())["ready"] is True
    return relay


async def test_a_child_answers_and_is_ended(tmp_path: Path) -> None:
    async with Processes(tmp_path) as children:
        relay = await start_relay(children)
        assert await relay.ask("cut") == {"cut": True}
        assert await relay.ask("restore") == {"cut": False}
        assert (await relay.ask("traffic"))["up"] == {"packets": 0, "lost": 0, "bytes": 0}
        with pytest.raises(DemoFailed, match="relay: 'dance' is no command"):
            await relay.ask("dance")
    assert relay.process.returncode == 0


async def test_children_are_ended_when_the_demo_fails(tmp_path: Path) -> None:
    started: list[Child] = []

    async def demo() -> None:
        async with Processes(tmp_path) as children:
            started.append(await start_relay(children))
            raise ValueError("a fault")

    with pytest.raises(ValueError, match="a fault"):
        await demo()
    assert started[0].process.returncode == 0


async def test_a_child_that_ends_by_itself_is_noticed(tmp_path: Path) -> None:
    async with Processes(tmp_path) as children:
        relay = await start_relay(children)
        watching = asyncio.create_task(children.watch())
        relay.process.send_signal(signal.SIGKILL)
        with pytest.raises(DemoFailed, match="relay ended with status -9"):
            await watching


async def test_the_log_of_a_child_that_cannot_start_is_shown(tmp_path: Path) -> None:
    async with Processes(tmp_path) as children:
        relay = await children.start("relay", RELAY, "--server", "nowhere")
        with pytest.raises(DemoFailed, match=r"relay ended\n[^$]*invalid int value: 'nowhere'"):
            await relay.ready()


async def test_a_node_that_cannot_start_says_why(tmp_path: Path) -> None:
    file = tmp_path / "node.yaml"
    file.write_text("node: {name: n}\nlog: {level: loud}\n")
    async with Processes(tmp_path) as children:
        node = await children.start_node("n", file, {})
        with pytest.raises(DemoFailed, match=r"the node n did not become ready\n[^$]*level"):
            await node.ready()


async def test_a_node_ends_in_good_order_and_knows_its_environment(tmp_path: Path) -> None:
    file = tmp_path / "node.yaml"
    file.write_text('node: {name: "${NODE_NAME}"}\nlog: {format: json}\n')
    async with Processes(tmp_path) as children:
        node = await children.start_node("n", file, {"NODE_NAME": "leashed"})
        assert (await node.ready())["node"] == "leashed"
    assert node.process.returncode == 0


def test_a_node_on_the_leash_ends_with_whoever_started_it(tmp_path: Path) -> None:
    (tmp_path / "node.yaml").write_text("node: {name: n}\nlog: {format: json}\n")
    read, write = os.pipe()
    command = [sys.executable, "-m", "twingateway.demo.leash", "run", str(tmp_path / "node.yaml")]
    with subprocess.Popen(command, stdin=read, stderr=subprocess.PIPE) as node:
        assert node.stderr is not None
        while b'"ready"' not in node.stderr.readline():
            assert node.poll() is None
        os.close(write)
        assert node.wait(10) == 0
    os.close(read)
