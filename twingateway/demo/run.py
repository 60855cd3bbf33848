"""`twingateway demo`: starts everything as processes of its own, plays the story, and says how it went."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twingateway.demo import summary
from twingateway.demo.board import Board
from twingateway.demo.failure import DemoFailed
from twingateway.demo.narrator import Narrator
from twingateway.demo.node_api import NodeApi
from twingateway.demo.observer import Observer
from twingateway.demo.processes import Processes
from twingateway.demo.script import ENDING, Stage, Story
from twingateway.demo.site import CLOUD, EDGE, SECRET, lay_out

#: Exit codes: something mismatched or was not applied; the demo could not be played; Ctrl-C.
FAILED, BROKEN, INTERRUPTED = 1, 70, 130
#: An outage takes at most this share of a run whose length is given.
OUTAGE_SHARE = 0.25

#: Goes on beside the story until it is cancelled.
Watch = Callable[[], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Plan:
    """`seconds`: None until Ctrl-C. `loss`: share of packets; `delay`: seconds one way; `outage`: seconds, None for
    none; `corrupt`: a device that is to lie at the end, for testing the proof."""

    seconds: float | None
    loss: float
    delay: float
    outage: float | None
    seed: int
    corrupt: str | None = None


def run_demo(
    seconds: float | None = None,
    loss: float = 0.1,
    delay: float = 0.05,
    outage: float | None = 4.0,
    as_json: bool = False,
    seed: int = 1,
    *,
    corrupt: str | None = None,
) -> int:
    """Play the demo → the exit code: 0 if nothing mismatches and every desired value was applied.

    `as_json`: the last line of stdout is one JSON object.
    """
    plan = Plan(seconds, loss, delay, outage, seed, corrupt)
    narrator = Narrator()
    folder = Path(tempfile.mkdtemp(prefix="twingateway-demo-"))
    try:
        result = asyncio.run(_play(plan, folder, narrator))
    except DemoFailed as error:
        print(f"\nThe demo could not be played: {error}\n\nIts logs are in {folder}", file=sys.stderr)
        return BROKEN
    except (KeyboardInterrupt, asyncio.CancelledError):
        shutil.rmtree(folder, ignore_errors=True)
        return INTERRUPTED
    if result["ok"]:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        narrator.say(f"logs are in {folder}")
    print(json.dumps(result) if as_json else summary.as_text(result), flush=True)
    return 0 if result["ok"] else FAILED


async def _play(plan: Plan, folder: Path, narrator: Narrator) -> dict[str, Any]:
    with _signals(asyncio.current_task(), ends_with_ctrl_c=plan.seconds is None) as ctrl_c:
        narrator.say("starting devices, a cloud node, a bad link and an edge node")
        async with _stage(plan, folder, narrator) as (stage, watching):
            return await _beside(watching, _tell(plan, stage, ctrl_c))


async def _tell(plan: Plan, stage: Stage, ctrl_c: asyncio.Event) -> dict[str, Any]:
    story, narrator = Story(stage), stage.narrator
    with narrator.table(stage.board):
        await story.everything_arrives()
        await story.desired_values_are_applied()
        if plan.outage is not None:
            share = plan.outage if plan.seconds is None else min(plan.outage, plan.seconds * OUTAGE_SHARE)
            await story.the_link_is_cut(share)
        if plan.seconds is None:
            narrator.say(f"the cloud's API: {stage.cloud.url}/twins – Ctrl-C ends with the proof, once more at once")
            await ctrl_c.wait()
        else:
            await asyncio.sleep(max(0.0, plan.seconds - ENDING - narrator.elapsed))
        await story.the_proof(plan.corrupt)
    return summary.as_json(story.outcome, stage.board, narrator.elapsed)


@asynccontextmanager
async def _stage(plan: Plan, folder: Path, narrator: Narrator) -> AsyncIterator[tuple[Stage, list[Watch]]]:
    """Everything running, and what has to go on beside the story."""
    site = await asyncio.to_thread(lay_out, folder)
    board = Board(site.devices)
    seed = str(plan.seed)
    async with AsyncExitStack() as stack:
        children = await stack.enter_async_context(Processes(folder))
        cloud_node = await children.start_node(CLOUD, site.write_cloud(), {})
        modbus = await children.start("modbus", "twingateway.demo.modbus_site", "--seed", seed)
        http = await children.start("http", "twingateway.demo.http_site", "--seed", seed)
        modbus_at, http_at, cloud_at = await asyncio.gather(modbus.ready(), http.ready(), cloud_node.ready())
        relay = await children.start(
            "relay", "twingateway.demo.relay_process", "--server", _port(cloud_at["listen"]),
            "--loss", str(plan.loss), "--delay", str(plan.delay), "--seed", seed,
        )  # fmt: skip
        link = await relay.ready()
        ports = {"MODBUS_PORT": str(modbus_at["port"]), "HTTP_PORT": str(http_at["port"])}
        edge_node = await children.start_node(EDGE, site.write_edge(link["port"]), ports)
        cloud_sees = Observer(cloud_at["api"], board.at_cloud)
        beside: list[Watch] = [children.watch, cloud_sees.run]
        edge_at = await edge_node.ready()
        broker = _port(edge_at["broker"])
        await http.ask(f"webhooks http://{edge_at['webhooks']}/weather {SECRET}")
        mqtt = await children.start("mqtt", "twingateway.demo.mqtt_site", "--port", broker, "--seed", seed)
        truth = await children.start(
            "truth", "twingateway.demo.truth", "--modbus", str(modbus_at["port"]), "--http", str(http_at["port"]),
            "--mqtt", broker,
        )  # fmt: skip
        await asyncio.gather(mqtt.ready(), truth.ready())
        cloud = await stack.enter_async_context(NodeApi(cloud_at["api"]))
        edge = await stack.enter_async_context(NodeApi(edge_at["api"]))
        beside.append(Observer(edge_at["api"], board.at_edge).run)
        sites = {"modbus": modbus, "mqtt": mqtt, "http": http}
        yield Stage(cloud, edge, board, relay, truth, sites, narrator), beside


async def _beside(watching: list[Watch], telling: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any]:
    """The story's result; whatever goes on beside it is ended then, or ends it by failing."""
    story = asyncio.create_task(telling)
    others = [asyncio.create_task(each()) for each in watching]
    try:
        await asyncio.wait([story, *others], return_when=asyncio.FIRST_COMPLETED)
        for other in others:
            if other.done():
                other.result()
        return await story
    finally:
        for task in (story, *others):
            task.cancel()
        await asyncio.gather(story, *others, return_exceptions=True)


@contextmanager
def _signals(demo: asyncio.Task[Any] | None, *, ends_with_ctrl_c: bool) -> Iterator[asyncio.Event]:
    """The event is set by the first Ctrl-C if that ends the demo in good order; any other signal cancels it."""
    assert demo is not None
    loop = asyncio.get_running_loop()
    ctrl_c = asyncio.Event()

    def on_ctrl_c() -> None:
        if ends_with_ctrl_c and not ctrl_c.is_set():
            ctrl_c.set()
        else:
            demo.cancel()

    loop.add_signal_handler(signal.SIGINT, on_ctrl_c)
    loop.add_signal_handler(signal.SIGTERM, demo.cancel)
    try:
        yield ctrl_c
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        loop.remove_signal_handler(signal.SIGTERM)


def _port(address: str) -> str:
    return address.rpartition(":")[2]
