"""The shipped JSON Schemas of node and device files say what the models say."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from twingateway_schemas import load

from twingateway.config import schema
from twingateway.config.source import load_text
from twingateway.config.validate import validate

NODE = """\
node: {name: edge-1, namespace: plant, data_dir: /var/lib/twingateway}
identity: {certificate: n.pem, key: n.key, ca: ca.pem}
store: {path: twins.db}
uplink: {url: "quic://cloud.example", keep_alive: 15s}
listen: {address: "[::]:14567", children: [a, b]}
api:
webhooks: {max_body: 1MiB}
broker: {url: "mqtt://broker.example", username: u, password: p}
adapters: {modbus: , mqtt: {}}
log: {level: debug, format: json}
"""
DEVICE = """\
apiVersion: edge.iot.org/v1
kind: Device
metadata: {name: meter-1}
spec:
  adapter: modbus
  model: meter@1.0.0
  address: {host: 10.0.0.7, port: 502}
  properties:
    power: {table: input, address: 0, type: int16}
"""


def data(text: str) -> Any:
    return load_text(text)[0].data


def is_valid(name: str, document: Any) -> bool:
    return Draft202012Validator(load(name)).is_valid(document)


@pytest.mark.parametrize("name", ["node.json", "device.json"])
def test_schema_files_are_up_to_date(name: str) -> None:
    shipped = files("twingateway_schemas").joinpath(name).read_text(encoding="utf-8")
    assert shipped == schema.schemas()[name], "run: python -m twingateway.config.schema"


@pytest.mark.parametrize("name", ["node", "device"])
def test_schemas_are_schemas_with_an_id_and_every_reference_leads_somewhere(name: str) -> None:
    document = load(name)
    Draft202012Validator.check_schema(document)
    assert document["$id"].endswith(f"/{name}.json")
    text = json.dumps(document)
    references = {part.split('"')[0] for part in text.split('"$ref": "#/$defs/')[1:]}
    assert references
    assert references <= set(document["$defs"])


def test_a_full_node_file_fits_schema_and_models() -> None:
    assert is_valid("node", data(NODE))
    assert validate(data(NODE)) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("name: edge-1", "name: ''"),
        ("name: edge-1, ", ""),
        ("api:", "apy:"),
        ("15s", "15"),
        ("quic://", "tcp://"),
        ("[::]:14567", "14567"),
        ("1MiB", "1MB"),
        ("level: debug", "level: loud"),
        ("key: n.key, ", ""),
        ("mqtt: {}", "mqtt: {nothing: 1}"),
    ],
)
def test_what_the_models_refuse_the_schema_refuses(old: str, new: str) -> None:
    assert old in NODE
    wrong = data(NODE.replace(old, f'"{new}"' if old == "15s" else new))
    assert not is_valid("node", wrong)
    assert validate(wrong) != []


def test_a_device_fits_schema_and_models() -> None:
    assert is_valid("device", data(DEVICE))
    assert validate(data(DEVICE)) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("kind: Device", "kind: Twin"),
        ("meter@1.0.0", "meter"),
        ("  adapter: modbus\n", ""),
        ("host: 10.0.0.7, ", ""),
        ("port: 502", "prot: 502"),
        ("address: 0", "address: -1"),
        ("table: input", "table: output"),
    ],
)
def test_the_schema_knows_the_settings_of_shipped_adapters(old: str, new: str) -> None:
    assert old in DEVICE
    wrong = data(DEVICE.replace(old, new))
    assert not is_valid("device", wrong)
    assert validate(wrong) != []


def test_devices_of_other_adapters_are_left_open() -> None:
    assert is_valid("device", data(DEVICE.replace("modbus", "acme").replace("address:", "bus:")))
