"""Builds the optional parts of a node, each from its section of the node file and only when that is present.

The libraries that a part needs are imported here, when it is built: a section that is absent costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twingateway.adapter.broker import BrokerClient
from twingateway.config.load import LoadedNode
from twingateway.config.node import BrokerSection, IdentitySection, NodeConfig
from twingateway.errors import (
    BrokerError,
    CertificateError,
    InvalidConfig,
    ModelConflict,
    Problem,
    TwinGatewayError,
)
from twingateway.gateway.devices.context import AddWebhook, Context
from twingateway.gateway.devices.host import ConfiguredDevice
from twingateway.gateway.gateway import Gateway
from twingateway.gateway.state.journal import JournalPolicy, WithHistory
from twingateway.plugins.registry import AdapterRegistry
from twingateway.ports.byte_stream import OpenStream

if TYPE_CHECKING:
    from twingateway.pki.credential import NodeCredential


@dataclass(slots=True)
class Bound:
    """Where the parts of a running node can be reached, as `host:port`; empty for a part it does not have."""

    listen: str = ""
    api: str = ""
    webhooks: str = ""
    broker: str = ""


@contextmanager
def at(path: str, error: type[TwinGatewayError]) -> Iterator[None]:
    """Say which part of the node file it is that cannot be had."""
    try:
        yield
    except error as problem:
        message = f"{path}: {problem.message}"
        raise InvalidConfig(message, [Problem(problem.message, path)]) from problem


def check_identity(config: NodeConfig) -> None:
    """Raises InvalidConfig or CertificateError unless the node's certificate is its own."""
    if config.identity is None:
        return
    for key in ("certificate", "key", "ca"):
        file = getattr(config.identity, key)
        if not file.exists():
            hint = (
                "`twingateway pki init` makes an authority"
                if key == "ca"
                else "`twingateway pki issue` makes certificate and key"
            )
            raise CertificateError(f"identity.{key}: there is no file {file}; {hint}", file=str(file))
    load_credential(config, config.identity)


async def add_models(loaded: LoadedNode, gateway: Gateway) -> None:
    """Models of the node file. Where the root's replaced one of the same name, the root's is kept."""
    for model in loaded.models:
        try:
            await gateway.models.add(loaded.config.node.namespace, model)
        except ModelConflict as error:
            if gateway.is_root:
                raise InvalidConfig(f"models: {error.message}", [Problem(error.message, "models")]) from error
            gateway.ledger.notice(error.code, f"{error.message}; until then the root's is used")


@dataclass(frozen=True, slots=True)
class LocalBroker:
    """The node's own client of its broker, and the way in for others."""

    client: BrokerClient
    open_stream: OpenStream


async def start_broker(section: BrokerSection, stack: AsyncExitStack, bound: Bound) -> LocalBroker:
    """The embedded broker or none, and a client to whichever it is."""
    from twingateway.broker.client import PahoBroker
    from twingateway.broker.door import BrokerDoor

    username = password = None
    if section.listen is not None:
        from twingateway.broker.embedded import EmbeddedBroker

        embedded = EmbeddedBroker((section.listen.host, section.listen.port))
        with at("broker.listen", BrokerError):
            await embedded.start()
        stack.push_async_callback(embedded.stop)
        host, port = embedded.address
    else:
        assert section.url is not None
        host, port, username = section.url.host, section.url.port, section.username
        password = None if section.password is None else section.password.get_secret_value()
    bound.broker = f"{host}:{port}"
    client = PahoBroker(host, port, username, password)
    await client.start()
    stack.push_async_callback(client.stop)
    return LocalBroker(client, BrokerDoor(host, port).open)


async def start_webhooks(config: NodeConfig, stack: AsyncExitStack, bound: Bound) -> AddWebhook | None:
    if config.webhooks is None:
        return None
    from twingateway.api.webhooks import WebhookServer

    section = config.webhooks
    secret = None if section.secret is None else section.secret.get_secret_value()
    server = WebhookServer(section.address.host, section.address.port, secret=secret, max_body=section.max_body)
    await server.start()
    stack.push_async_callback(server.stop)
    bound.webhooks = "{}:{}".format(*server.address)
    return server.add


def load_credential(config: NodeConfig, identity: IdentitySection) -> NodeCredential:
    """The node's own certificate and key, which must be made out to the node's name and namespace."""
    from twingateway.pki.credential import NodeCredential

    credential = NodeCredential.load(identity.certificate, identity.key)
    issued, configured = (credential.namespace, credential.node), (config.node.namespace, config.node.name)
    if issued != configured:
        message = (
            f"{identity.certificate} is issued to {'/'.join(issued)}, but this node is {'/'.join(configured)}; "
            "change node.name or issue a certificate for it"
        )
        raise InvalidConfig(message, [Problem(message, "identity.certificate")])
    return credential


async def start_adapters(
    loaded: LoadedNode,
    registry: AdapterRegistry,
    gateway: Gateway,
    broker: LocalBroker | None,
    webhooks: AddWebhook | None,
) -> None:
    devices = [
        ConfiguredDevice(
            device.id, device.adapter, device.settings, None if device.model_ref is None else str(device.model_ref)
        )
        for device in loaded.devices
    ]
    for name, settings in loaded.config.adapters.items():
        data_dir = loaded.config.node.data_dir / f"{gateway.name}.adapters" / name
        client = None if broker is None else broker.client
        context = Context(name, gateway.clock, client, webhooks, data_dir)
        await gateway.host.open(registry.get(name), settings, context)
    await gateway.ownership.configure([device.id for device in devices])
    gateway.host.run(devices)


async def start_api(config: NodeConfig, gateway: Gateway, stack: AsyncExitStack, bound: Bound) -> None:
    if config.api is None:
        return
    from twingateway.api.server import ApiServer

    section = config.api
    token = None if section.token is None else section.token.get_secret_value()
    server = ApiServer(gateway, section.address.host, section.address.port, token=token)
    await server.start()
    stack.push_async_callback(server.stop)
    bound.api = "{}:{}".format(*server.address)


def journal_policy(config: NodeConfig) -> JournalPolicy:
    """What this node does with its journal; with an API it keeps what people may ask for."""
    section = config.journal
    return JournalPolicy(
        classes=section.all_classes,
        history=WithHistory(section.history),
        retention=section.retention,
        max_history=section.max_history,
        kept=section.kept,
        serves=config.api is not None,
    )
