"""Device files: ours and the adapter's part are checked together, and every mistake of every file is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from twingateway.config.device import load_devices
from twingateway.errors import InvalidConfig
from twingateway.plugins.registry import AdapterRegistry
from twingateway.twin.identity import DeviceId
from twingateway.twin.model import ModelRef

Write = Callable[[str, str], Path]

GOOD = """\
apiVersion: edge.iot.org/v1
kind: Device
metadata:
  name: boiler-1
spec:
  adapter: fake
  model: boiler@1.0.0
  host: 10.0.0.1
  port: 503
  properties:
    temperature: {register: 4}
"""


def problems_of(paths: list[Path], registry: AdapterRegistry, **environ: str) -> list[str]:
    with pytest.raises(InvalidConfig) as caught:
        load_devices(paths, registry, environ=environ)
    return [str(problem) for problem in caught.value.problems]


def test_a_device_document_becomes_its_identity_model_and_settings(write: Write, registry: AdapterRegistry) -> None:
    [device] = load_devices([write("a.yaml", GOOD)], registry)
    assert device.id == DeviceId("default", "boiler-1")
    assert (device.adapter, device.model_ref) == ("fake", ModelRef("boiler", "1.0.0"))
    assert (device.settings.host, device.settings.port) == ("10.0.0.1", 503)
    assert device.settings.properties["temperature"].register_ == 4


def test_the_namespace_is_the_nodes_unless_the_document_names_one(write: Write, registry: AdapterRegistry) -> None:
    other = GOOD.replace("name: boiler-1", "name: boiler-1\n  namespace: plant-b")
    devices = load_devices([write("a.yaml", GOOD), write("b.yaml", other)], registry, namespace="plant-a")
    assert [str(device.id) for device in devices] == ["plant-a/boiler-1", "plant-b/boiler-1"]


def test_one_file_may_hold_many_devices(write: Write, registry: AdapterRegistry) -> None:
    text = "---\n".join(GOOD.replace("boiler-1", f"boiler-{n}") for n in range(3))
    assert len(load_devices([write("a.yaml", text)], registry)) == 3


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("kind: Device", "kind: Devise", "2: kind: must be 'Device', not \"Devise\""),
        ("edge.iot.org/v1", "v2", "1: apiVersion: must be 'edge.iot.org/v1', not \"v2\""),
        ("  name: boiler-1", "  nam: x", '4: metadata.nam: unknown key "nam" (did you mean "name"?)'),
        ("boiler-1", "'a b'", "4: metadata.name: 'a b' is not a name: letters, digits"),
        ("boiler-1", "7", "4: metadata.name: must be text, not 7"),
        ("adapter: fake", "adapter: fade", "6: spec.adapter: no adapter is called 'fade'; did you mean 'fake'?"),
        ("  adapter: fake\n", "", "5: spec.adapter: is required"),
        ("boiler@1.0.0", "boiler", "7: spec.model: 'boiler' is not a model reference; it looks like name@version"),
        ("  host: 10.0.0.1\n", "", "5: spec.host: is required"),
        ("10.0.0.1", "a b", "8: spec.host: 'a b' is not a host"),
        ("10.0.0.1", "crash", "5: spec: the adapter 'fake' failed to check this: KeyError: 'a bug of the adapter'"),
        ("port: 503", "port: 70000", "9: spec.port: must be at most 65535, not 70000"),
        ("port: 503", "port: abc", '9: spec.port: must be a whole number, not "abc"'),
        ("port: 503", "prot: 503", '9: spec.prot: unknown key "prot" (did you mean "port"?)'),
        ("port: 503", "properties: 3", "10: spec.properties: the key is written twice, first on line 9"),
        ("{register: 4}", "4", "11: spec.properties.temperature: must be a mapping, not 4"),
        ("{register: 4}", "{register: -1}", "11: spec.properties.temperature.register: must be at least 0, not -1"),
        (
            "{register: 4}",
            "{register: 4, knd: input}",
            '11: spec.properties.temperature.knd: unknown key "knd" (did you mean "kind"?)',
        ),
        ("{register: 4}", "{kind: input}", "11: spec.properties.temperature.register: is required"),
        ("10.0.0.1", "'${HOST_OF_BOILER}'", "8: spec.host: the environment variable HOST_OF_BOILER is not set"),
        ("port: 503", "auth: {type: digest}", "9: spec.auth"),
    ],
)
def test_each_mistake_has_file_line_path_and_what_was_expected(
    write: Write, registry: AdapterRegistry, old: str, new: str, problem: str
) -> None:
    assert old in GOOD
    found = problems_of([write("d/a.yaml", GOOD.replace(old, new))], registry)
    assert any(line.startswith(f"d/a.yaml:{problem}") for line in found), found


def test_all_problems_of_all_files_are_collected(write: Write, registry: AdapterRegistry) -> None:
    found = problems_of(
        [
            write("a.yaml", GOOD.replace("port: 503", "port: 0\n  color: red").replace("boiler-1", "'-'")),
            write("b.yaml", "a: [1"),
            write("c.yaml", GOOD),
            Path("missing.yaml"),
            write("e.yaml", "- 1\n"),
        ],
        registry,
    )
    assert [line.split(": ")[:2] for line in found] == [
        ["a.yaml:4", "metadata.name"],
        ["a.yaml:9", "spec.port"],
        ["a.yaml:10", "spec.color"],
        ["b.yaml:1", "not YAML"],
        ["missing.yaml", "cannot be read"],
        ["e.yaml:1", "must be a mapping, not a list"],
    ]


def test_a_name_is_used_once(write: Write, registry: AdapterRegistry) -> None:
    found = problems_of([write("a.yaml", GOOD), write("b.yaml", GOOD)], registry)
    assert found == ["b.yaml:4: metadata.name: another device is called 'boiler-1' already: a.yaml:4"]


def with_auth(auth: str) -> str:
    return GOOD.replace("  port: 503\n", f"  auth: {auth}\n")


def test_secrets_come_from_the_environment_or_a_file_beside_the_document(
    write: Write, registry: AdapterRegistry
) -> None:
    write("d/pw", "from-the-file\n")
    by_file = write("d/a.yaml", with_auth("{type: basic, password_file: pw}"))
    by_env = write("d/b.yaml", with_auth("{type: bearer, token: '${TOKEN}'}").replace("boiler-1", "boiler-2"))
    first, second = load_devices([by_file, by_env], registry, environ={"TOKEN": "from-the-env"})
    assert first.settings.auth.password.get_secret_value() == "from-the-file"
    assert second.settings.auth.token.get_secret_value() == "from-the-env"
    assert "from-the" not in repr((first, second))


def test_a_secret_that_is_written_into_the_document_is_not_in_its_repr(
    write: Write, registry: AdapterRegistry
) -> None:
    [device] = load_devices([write("a.yaml", with_auth("{type: bearer, token: plainly}"))], registry)
    assert "plainly" not in repr(device)


@pytest.mark.parametrize(
    "document",
    [
        with_auth("{type: basic, password: 1234567}"),
        with_auth("{type: basic, password: abc}"),
        with_auth("{type: basic, password: [s3cret]}"),
        with_auth("{type: '${WORD}'}"),
        GOOD.replace("10.0.0.1", "'not a host ${WORD}'"),
        GOOD.replace("503", "'${WORD}'"),
        GOOD.replace("adapter: fake", "adapter: '${WORD}'"),
        GOOD.replace("boiler-1", "'${WORD} '"),
    ],
)
def test_no_message_shows_a_secret(write: Write, registry: AdapterRegistry, document: str) -> None:
    found = problems_of([write("a.yaml", document)], registry, WORD="s3cret")
    assert found
    assert not any(secret in line for line in found for secret in ("s3cret", "1234567", "abc"))


def test_a_missing_secret_file_is_reported_at_its_key(write: Write, registry: AdapterRegistry) -> None:
    text = with_auth("{type: basic,\n         password_file: pw}")
    [problem] = problems_of([write("d/a.yaml", text)], registry)
    assert problem == "d/a.yaml:10: spec.auth.password_file: cannot read d/pw: No such file or directory"
