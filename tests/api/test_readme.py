"""What the manual of the API tells clients to send is answered, and its program follows the events."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import sys
from pathlib import Path

from tests.api.site import served
from tests.fair_time import PATIENCE
from twingateway.testing.joined import FakeMachine, MemoryNode, until
from twingateway.twin.identity import DeviceId

TEXT = (Path(__file__).parents[2] / "twingateway" / "api" / "README.md").read_text(encoding="utf-8")
SHELL, PYTHON = (re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)[0] for language in ("sh", "python"))
HVAC = DeviceId("default", "hvac-1")


def hvac() -> MemoryNode:
    node = MemoryNode("cloud")
    node.machines["hvac-1"] = FakeMachine({"temperature": 20.0, "setpoint": 20.0}, frozenset({"setpoint"}))
    return node


def requests() -> list[tuple[str, str, dict[str, str], str | None]]:
    """(method, path, headers, body) of each curl; of those that end by themselves."""
    found = []
    for line in SHELL.replace("\\\n", " ").splitlines():
        command, *words = shlex.split(line, comments=True) or [""]
        if command != "curl" or "-N" in words:
            continue
        told: dict[str, list[str]] = {"-X": ["GET"], "-H": [], "-d": [], "": []}
        flag = ""
        for word in words:
            if word in ("-X", "-H", "-d"):
                flag = word
            elif word != "-i":
                told[flag].append(word)
                flag = ""
        [url], body = told[""], (told["-d"] or [None])[0]
        headers = dict(header.split(": ", 1) for header in told["-H"])
        found.append((told["-X"][-1], url.removeprefix("$A"), headers, body))
    return found


async def test_each_request_is_answered_in_the_order_in_which_they_stand() -> None:
    asked = requests()
    assert [method for method, *_ in asked].count("PATCH") == 1
    async with served(hvac()) as (site, _):
        await until(
            lambda: site.gateway.queries.exists(HVAC) and site.gateway.queries.presence(HVAC).state == "online"
        )
        tag = ""
        for method, path, headers, body in asked:
            if "If-Match" in headers:
                assert re.fullmatch(r'"\d+\.\d+\.\d+"', headers["If-Match"])
                headers["If-Match"] = tag
            answer = await site.client.request(method, path, headers=headers, content=body)
            assert answer.status_code == 200, (path, answer.text)
            tag = answer.headers.get("etag", tag)
        twin = (await site.client.get("/twins/hvac-1")).json()
    assert twin["metadata"]["labels"] == {"floor": "3"}
    assert twin["status"]["properties"]["desired"]["setpoint"]["ack"]["state"] == "applied"
    assert twin["status"]["properties"]["desired"]["setpoint"]["actor"] == "dora"


async def test_the_program_prints_what_happens_and_goes_on_after_the_stream_ended(tmp_path: Path) -> None:
    async with served(hvac()) as (site, _):
        base = str(site.client.base_url).rstrip("/")
        assert "http://127.0.0.1:8080" in PYTHON
        (tmp_path / "follow.py").write_text(PYTHON.replace("http://127.0.0.1:8080", base))
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-u",
            "follow.py",
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "NO_PROXY": "*"},
        )
        assert process.stdout is not None
        try:
            for value in (21.5, 22.5):
                await until(lambda: site.gateway.events._listeners, PATIENCE)
                site.node.machines["hvac-1"].say(temperature=value)
                async with asyncio.timeout(PATIENCE):
                    while f"'value': {value}" not in (line := (await process.stdout.readline()).decode()):
                        assert line, "the program ended"
                    assert line.startswith("reported {")
                for listener in list(site.gateway.events._listeners):
                    site.gateway.events.leave(listener)
        finally:
            process.kill()
            await process.wait()
