"""The sections of a node file: defaults, and what each rule says when it is broken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from twingateway.config.load import load_node
from twingateway.config.node import NodeConfig
from twingateway.config.types import HostPort, Url
from twingateway.errors import InvalidConfig
from twingateway.plugins.registry import AdapterRegistry

Write = Callable[[str, str], Path]

IDENTITY = "identity: {certificate: pki/n.pem, key: pki/n.key, ca: pki/ca.pem}\n"


def config_of(write: Write, text: str) -> NodeConfig:
    return load_node(write("conf/node.yaml", "node: {name: edge-1}\n" + text), AdapterRegistry(), environ={}).config


def problems_of(write: Write, text: str, **environ: str) -> list[str]:
    with pytest.raises(InvalidConfig) as caught:
        load_node(write("n.yaml", text), AdapterRegistry(), environ=environ)
    return [str(problem) for problem in caught.value.problems]


def test_a_node_needs_only_a_name_and_then_does_nothing_but_keep_twins(write: Write) -> None:
    config = config_of(write, "")
    assert (config.node.name, config.node.namespace) == ("edge-1", "default")
    absent = (config.identity, config.uplink, config.listen, config.api, config.webhooks, config.broker)
    assert absent == (None,) * 6
    assert (config.devices, config.models, config.adapters) == ((), (), {})
    assert (config.log.level, config.log.format) == ("info", "auto")


def test_a_section_without_content_is_present_with_its_defaults(write: Write) -> None:
    config = config_of(write, IDENTITY + "api:\nwebhooks:\nbroker:\nlisten:\nlog:\nstore:\nadapters:\ndevices:\n")
    assert config.api is not None
    assert config.webhooks is not None
    assert config.broker is not None
    assert config.listen is not None
    assert config.api.address == HostPort("127.0.0.1", 8080)
    assert (config.webhooks.address, config.webhooks.max_body) == (HostPort("127.0.0.1", 8081), 65536)
    assert (config.broker.listen, config.broker.url) == (HostPort("127.0.0.1", 1883), None)
    assert (config.listen.address, config.listen.children) == (HostPort("0.0.0.0", 14567), None)


def test_relative_paths_count_from_the_folder_of_the_file(write: Write) -> None:
    config = config_of(write, IDENTITY)
    assert config.identity is not None
    assert config.identity.key == Path("conf/pki/n.key")
    assert config.store_path == Path("conf/data/edge-1.db")
    config = load_node(
        write("conf/node.yaml", "node: {name: n, data_dir: ../var}\nstore: {path: 'x/{name}.sqlite'}"),
        AdapterRegistry(),
    ).config
    assert config.store_path == Path("conf/../var/x/n.sqlite")
    absolute = load_node(write("n.yaml", "node: {name: n}\nstore: {path: /var/t.db}"), AdapterRegistry()).config
    assert absolute.store_path == Path("/var/t.db")


def test_an_uplink_has_a_url_and_a_keep_alive(write: Write) -> None:
    config = config_of(write, IDENTITY + "uplink: {url: quic://cloud.example, keep_alive: 500ms}\n")
    assert config.uplink is not None
    assert config.uplink.url == Url("quic", "cloud.example", 14567)
    assert config.uplink.keep_alive == 0.5
    assert config.uplink.parents == (config.uplink.url,)
    assert config.uplink.tls


def test_a_parent_may_have_several_addresses_in_order(write: Write) -> None:
    config = config_of(write, IDENTITY + "uplink: {urls: ['quic://a', 'quic://b:99'], tls_port: 443}\n")
    assert config.uplink is not None
    assert config.uplink.parents == (Url("quic", "a", 14567), Url("quic", "b", 99))
    assert config.uplink.tls_port == 443


def test_tls_listens_beside_quic_unless_told_otherwise(write: Write) -> None:
    config = config_of(write, IDENTITY + "listen: {tls_address: '[::]:443'}\n")
    assert config.listen is not None
    assert (config.listen.tls, str(config.listen.tls_address)) == (True, "[::]:443")
    config = config_of(write, IDENTITY + "listen: {tls: false}\n")
    assert config.listen is not None
    assert not config.listen.tls


def test_a_listener_may_name_its_children(write: Write) -> None:
    config = config_of(write, IDENTITY + "listen: {address: '[::]:9', children: [edge-1, edge-2]}\n")
    assert config.listen is not None
    assert config.listen.children == ("edge-1", "edge-2")


def test_an_external_broker_replaces_the_embedded_one(write: Write) -> None:
    write("conf/pw", "s3cret\n")
    config = config_of(write, "broker: {url: mqtt://10.0.0.9, username: edge, password_file: pw}\n")
    assert config.broker is not None
    assert (config.broker.listen, config.broker.url) == (None, Url("mqtt", "10.0.0.9", 1883))
    assert config.broker.password is not None
    assert config.broker.password.get_secret_value() == "s3cret"
    assert "s3cret" not in repr(config)


@pytest.mark.parametrize("section", ["api: {address: '0.0.0.0:80', token_file: f}", "api: {token: abcdef}"])
def test_an_api_with_a_token_may_be_anywhere_and_the_token_is_never_printed(write: Write, section: str) -> None:
    write("conf/f", "abcdef")
    config = config_of(write, section)
    assert config.api is not None
    assert config.api.token is not None
    assert config.api.token.get_secret_value() == "abcdef"
    assert "abcdef" not in repr(config) + str(config) + config.model_dump_json()


NAME = "node: {name: n}\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("api: {}", "n.yaml:1: node: is required"),
        ("node: {}", "n.yaml:1: node.name: is required"),
        ("node: {name: a/b}", "n.yaml:1: node.name: 'a/b' is not a name: letters"),
        ("node: n", "n.yaml:1: node: must be a mapping, not \"n\""),
        (NAME + "brocker: {}", 'n.yaml:2: brocker: unknown key "brocker" (did you mean "broker"?)'),
        (NAME + "log:\n  level: loud", "n.yaml:3: log.level: must be 'debug', 'info', 'warning' or 'error', not"),
        (NAME + "uplink: {url: 'quic://h'}", "n.yaml:2: uplink: uplink needs an identity section"),
        (NAME + "listen:", "n.yaml:2: listen: listen needs an identity section"),
        (NAME + IDENTITY + "uplink: {}", "n.yaml:3: uplink.url: the parent's address is missing"),
        (NAME + IDENTITY + "uplink: {url: 'quic://h', urls: ['quic://i']}", "n.yaml:3: uplink.urls: give url (one"),
        (NAME + IDENTITY + "uplink: {url: 'quic://h', tls: false, tls_port: 1}", "n.yaml:3: uplink.tls_port: a TLS"),
        (NAME + IDENTITY + "listen: {tls: false, tls_address: 'h:1'}", "n.yaml:3: listen.tls_address: a TLS address"),
        (NAME + IDENTITY + "uplink: {url: 'tcp://h'}", "n.yaml:3: uplink.url: 'tcp://h' is not of the form quic://host"),
        (
            NAME + IDENTITY + "uplink:\n  url: 'quic://h'\n  keep_alive: 0s",
            "n.yaml:5: uplink.keep_alive: must be greater than 0",
        ),
        (NAME + "identity: {key: k, ca: c}", "n.yaml:2: identity.certificate: is required"),
        (
            NAME + "api:\n  address: 0.0.0.0:80",
            "n.yaml:3: api.address: 0.0.0.0:80 can be reached from other machines: give a token_file",
        ),
        (NAME + "api: {token: ''}", "n.yaml:2: api.token: is too short: at least 1"),
        (NAME + "api:\n  token_file: none", "n.yaml:3: api.token_file: cannot read none: No such file"),
        (
            NAME + "webhooks:\n  address: '[::]:80'",
            "n.yaml:3: webhooks.address: [::]:80 can be reached from other machines: give a secret_file",
        ),
        (NAME + "webhooks: {max_body: 64kb}", "n.yaml:2: webhooks.max_body: '64kb' is not a size"),
        (NAME + "broker: {listen: 'h:1', url: 'mqtt://h'}", "n.yaml:2: broker.url: give listen (embedded broker)"),
        (NAME + "broker: {username: u}", "n.yaml:2: broker.username: a user name is for an existing broker"),
        (NAME + "broker: {password: p}", "n.yaml:2: broker.password: a password is for an existing broker"),
        (NAME + "broker: {url: 'mqtt://h', password: p}", "n.yaml:2: broker.password: a password needs a username"),
        (NAME + "devices: d.yaml", 'n.yaml:2: devices: must be a list, not "d.yaml"'),
        (NAME + "api: {address: '${WHERE}'}", "n.yaml:2: api.address: the environment variable WHERE is not set"),
        ("- 1", "n.yaml:1: must be a mapping, not a list"),
        ("# nothing", "n.yaml: a node file holds one document, this one none"),
        ("a: 1\n---\nb: 1", "n.yaml: a node file holds one document, this one 2"),
        ("node: [", "n.yaml:1: not YAML"),
    ],
)  # fmt: skip
def test_each_mistake_has_file_line_path_and_what_was_expected(write: Write, text: str, problem: str) -> None:
    found = problems_of(write, text)
    assert any(line.startswith(problem) for line in found), found


def test_all_problems_of_a_file_are_told_in_the_order_of_its_lines(write: Write) -> None:
    text = "log: {level: x}\nnode: {name: '', nam: 1}\napi:\n  tokn: '${A}'\n  address: 1\nadapters: {mdbus: {}}\n"
    found = problems_of(write, text)
    assert [line.split(": ")[:2] for line in found] == [
        ["n.yaml:1", "log.level"],
        ["n.yaml:2", "node.name"],
        ["n.yaml:2", "node.nam"],
        ["n.yaml:4", "api.tokn"],
        ["n.yaml:5", "api.address"],
        ["n.yaml:6", "adapters.mdbus"],
    ]
