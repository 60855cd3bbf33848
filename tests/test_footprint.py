"""What a node that does not use a part does not load: libraries are imported by the part that needs them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from twingateway.pki.authority import create_authority, issue

#: Everything that is heavy, by what brings it in.
API = {"fastapi", "starlette", "uvicorn", "prometheus_client", "h11"}
LINK = {"aioquic", "cryptography"}
BROKER = {"amqtt", "paho"}
DEVICES = {"pymodbus", "httpx2", "jmespath"}
COMMANDS = {"typer", "jsonschema"}  # rich comes with structlog
FILES = {"pydantic", "ruamel", "structlog", "jsonschema_rs", "cbor2", "mqtt5", "sqlite3", "asyncio"}

RUN = """\
import asyncio, json, sys
from pathlib import Path
from twingateway.config.load import load_node
from twingateway.node.run import Node
from twingateway.plugins.registry import AdapterRegistry

async def main():
    registry = AdapterRegistry.installed()
    node = Node(load_node(Path(sys.argv[1]), registry), registry, on_ready=lambda bound: node.stop())
    await node.run()

asyncio.run(main())
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def loaded(program: str, *arguments: str) -> set[str]:
    """The top-level packages that a process has loaded when it ends."""
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture
def loaded_by(tmp_path: Path):
    """Run a node with these sections until it is ready → the top-level packages it loaded."""

    def run(sections: str) -> set[str]:
        file = tmp_path / "node.yaml"
        file.write_text(f"node: {{name: edge-1, data_dir: {tmp_path}}}\n{sections}")
        return loaded(RUN, str(file))

    return run


def test_importing_twingateway_loads_next_to_nothing():
    program = "import sys, json, twingateway; print(json.dumps([name.partition('.')[0] for name in sys.modules]))"
    heavy = API | LINK | BROKER | DEVICES | COMMANDS | FILES
    assert heavy & loaded(program) == set()


def test_checking_documents_loads_nothing_of_a_node_and_no_protocol(tmp_path):
    (tmp_path / "device.yaml").write_text(
        "apiVersion: edge.iot.org/v1\nkind: Device\nmetadata: {name: a}\n"
        "spec: {adapter: modbus, address: {host: h}, properties: {p: {table: input, address: 0, type: int16}}}\n"
        "---\napiVersion: edge.iot.org/v1\nkind: DeviceTwin\nmetadata: {name: a}\nspec: {desiredProperties: {p: 1}}\n"
    )
    program = (
        "import sys, json; from twingateway import validate; found = validate(sys.argv[1]); assert not found, found; "
        "print(json.dumps([name.partition('.')[0] for name in sys.modules]))"
    )
    packages = loaded(program, str(tmp_path / "device.yaml"))
    assert {"pydantic", "ruamel"} <= packages, "the test sees what is loaded"
    assert (
        API | LINK | BROKER | DEVICES | COMMANDS | {"asyncio", "sqlite3", "structlog", "mqtt5"}
    ) & packages == set()


def test_a_node_that_only_serves_twins_loads_no_link_broker_or_protocol(loaded_by):
    packages = loaded_by('store: {}\napi: {address: "127.0.0.1:0"}\n')
    assert packages >= API, "the test sees what is loaded"
    assert (LINK | BROKER | DEVICES | COMMANDS) & packages == set()


def test_a_node_without_an_api_loads_none(loaded_by, tmp_path):
    create_authority(tmp_path / "pki")
    issue(tmp_path / "pki", "edge-1")
    pki = tmp_path / "pki"
    packages = loaded_by(
        f"identity: {{certificate: {pki}/edge-1.crt, key: {pki}/edge-1.key, ca: {pki}/ca.crt}}\n"
        'uplink: {url: "quic://127.0.0.1:9"}\n'
        'broker: {listen: "127.0.0.1:0"}\n'
    )
    assert packages >= LINK | BROKER
    assert (API | DEVICES | COMMANDS) & packages == set()


def test_a_node_with_no_section_at_all_is_bare(loaded_by):
    assert (API | LINK | BROKER | DEVICES | COMMANDS) & loaded_by("") == set()
