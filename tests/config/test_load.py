"""A node file is checked with everything it names: adapters' settings, device files and model files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from twingateway.config.load import LoadedNode, load_node
from twingateway.errors import InvalidConfig
from twingateway.plugins.registry import AdapterRegistry

Write = Callable[[str, str], Path]

DEVICE = """\
apiVersion: edge.iot.org/v1
kind: Device
metadata: {name: NAME}
spec: {adapter: fake, host: h}
"""
MODEL = """\
apiVersion: edge.iot.org/v1
kind: DeviceModel
metadata: {name: boiler, version: 1.0.0}
spec:
  properties:
    temperature: {type: number, unit: Celsius, maximum: 100}
"""


def node(write: Write, text: str, registry: AdapterRegistry) -> LoadedNode:
    return load_node(write("conf/node.yaml", "node: {name: edge-1}\n" + text), registry, environ={})


def problems_of(write: Write, text: str, registry: AdapterRegistry) -> list[str]:
    with pytest.raises(InvalidConfig) as caught:
        node(write, text, registry)
    return [str(problem) for problem in caught.value.problems]


def test_devices_and_models_are_found_by_pattern_beside_the_node_file(
    write: Write, registry: AdapterRegistry
) -> None:
    for name in ("b", "a"):
        write(f"conf/devices/{name}.yaml", DEVICE.replace("NAME", name))
    write("conf/devices/deep/er/c.yaml", DEVICE.replace("NAME", "c"))
    write("conf/models/boiler.yaml", MODEL)
    loaded = node(write, "devices: ['devices/*.yaml', 'devices/**/*.yaml']\nmodels: [models/boiler.yaml]\n", registry)
    assert [device.id.name for device in loaded.devices] == ["a", "b", "c"]
    assert [str(model.ref) for model in loaded.models] == ["boiler@1.0.0"]
    assert loaded.models[0].properties["temperature"].maximum == 100
    assert loaded.file == Path("conf/node.yaml")


def test_devices_belong_to_the_namespace_of_the_node(write: Write, registry: AdapterRegistry) -> None:
    write("a.yaml", DEVICE.replace("NAME", "a"))
    write("b.yaml", DEVICE.replace("NAME", "b, namespace: other"))
    with pytest.raises(InvalidConfig) as caught:
        load_node(write("n.yaml", "node: {name: n, namespace: plant}\ndevices: [a.yaml, b.yaml]"), registry)
    [problem] = caught.value.problems
    assert str(problem) == (
        "b.yaml:3: metadata.namespace: the device is in 'other', but the node in 'plant'; a node runs one namespace"
    )


def test_settings_of_adapters_are_validated_by_their_kind(write: Write, registry: AdapterRegistry) -> None:
    loaded = node(write, "adapters:\n  fake: {timeout: 5s}\n", registry)
    assert loaded.config.adapters["fake"].timeout == 5.0
    assert problems_of(write, "adapters:\n  fake:\n    timeot: 5s\n  fakr: {}\n", registry) == [
        'conf/node.yaml:4: adapters.fake.timeot: unknown key "timeot" (did you mean "timeout"?)',
        "conf/node.yaml:5: adapters.fakr: no adapter is called 'fakr'; did you mean 'fake'? (installed: fake, needy)",
    ]


def test_an_adapter_may_be_listed_without_settings_or_be_implied_by_a_device(
    write: Write, registry: AdapterRegistry
) -> None:
    assert node(write, "adapters: {fake: }\n", registry).config.adapters["fake"].timeout == 1.0
    write("conf/a.yaml", DEVICE.replace("NAME", "a"))
    assert node(write, "devices: [a.yaml]\n", registry).config.adapters["fake"].timeout == 1.0


def test_an_implied_adapter_that_needs_settings_says_which(write: Write, registry: AdapterRegistry) -> None:
    write("conf/a.yaml", DEVICE.replace("NAME", "a").replace("fake", "needy"))
    assert problems_of(write, "devices: [a.yaml]\n", registry) == [
        "conf/a.yaml:4: spec.adapter: "
        "the adapter 'needy' needs settings under `adapters: needy:` of the node file: bus"
    ]


def test_a_pattern_for_nothing_is_a_mistake_unless_its_folder_is_there(
    write: Write, registry: AdapterRegistry
) -> None:
    Path("conf/empty").mkdir(parents=True)
    assert node(write, "devices: ['empty/*.yaml']\n", registry).devices == ()
    assert problems_of(write, "devices:\n  - 'devcies/*.yaml'\n  - one.yaml\n", registry) == [
        "conf/node.yaml:3: devices.0: there is no folder conf/devcies",
        "conf/node.yaml:4: devices.1: there is no file conf/one.yaml",
    ]


def test_folders_with_wildcard_characters_in_their_names_are_no_patterns(
    write: Write, registry: AdapterRegistry
) -> None:
    write("site [1]/d/a.yaml", DEVICE.replace("NAME", "a"))
    loaded = load_node(write("site [1]/node.yaml", "node: {name: n}\ndevices: ['d/*.yaml']"), registry)
    assert [device.id.name for device in loaded.devices] == ["a"]


def test_one_model_in_two_files_must_be_the_same(write: Write, registry: AdapterRegistry) -> None:
    write("conf/m/a.yaml", MODEL)
    write("conf/m/b.yaml", MODEL.replace("maximum: 100", "maximum: 100.0"))
    assert len(node(write, "models: ['m/*.yaml']\n", registry).models) == 1
    write("conf/m/c.yaml", MODEL.replace("maximum: 100", "maximum: 90"))
    assert problems_of(write, "models: ['m/*.yaml']\n", registry) == [
        "conf/m/c.yaml:3: metadata.version: "
        "boiler@1.0.0 has other content in conf/m/a.yaml:3; give it another version"
    ]


def test_one_run_shows_the_problems_of_all_files(write: Write, registry: AdapterRegistry) -> None:
    write("conf/d/a.yaml", DEVICE.replace("NAME", "a").replace("host", "hots"))
    write("conf/d/b.yaml", "kind: [")
    write("conf/m/a.yaml", MODEL.replace("number", "nmber"))
    found = problems_of(write, "log: 3\ndevices: ['d/*']\nmodels: ['m/*']\nadapters: {x: {}}\n", registry)
    assert [line.split(": ")[:2] for line in found] == [
        ["conf/node.yaml:2", "log"],
        ["conf/node.yaml:5", "adapters.x"],
        ["conf/d/a.yaml:4", "spec.host"],
        ["conf/d/a.yaml:4", "spec.hots"],
        ["conf/d/b.yaml:1", "not YAML"],
        ["conf/m/a.yaml:6", "spec.properties.temperature.type"],
    ]
