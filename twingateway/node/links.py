"""Builds the ends of the links that a node's file asks for: listeners for children, the uplink to the parent."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from twingateway.config.node import ListenSection, NodeConfig, UplinkSection
from twingateway.errors import CertificateError, LinkError
from twingateway.gateway.gateway import Gateway
from twingateway.gateway.peering.dialling import Parent
from twingateway.gateway.peering.uplink import Uplink
from twingateway.gateway.state.tasks import Tasks
from twingateway.mqtt.dialect import Account
from twingateway.node.parent_protocol import ParentProtocol
from twingateway.node.parts import Bound, LocalBroker, at, load_credential
from twingateway.ports.link import Listener

if TYPE_CHECKING:
    from twingateway.gateway.broker_uplink import BrokerUplink
    from twingateway.gateway.peering.acceptor import Acceptor
    from twingateway.link.server_identity import ServerIdentity

#: How often another free port is tried when the one that UDP got is taken for TCP.
_PORT_ATTEMPTS = 8


async def start_listener(
    config: NodeConfig,
    gateway: Gateway,
    broker: LocalBroker | None,
    tasks: Tasks,
    stack: AsyncExitStack,
    bound: Bound,
) -> None:
    """Accept children over QUIC, and over TLS unless the file says no; plain clients if it says so."""
    if config.listen is None or config.identity is None:
        return
    from twingateway.gateway.peering.acceptor import Acceptor
    from twingateway.gateway.peering.relay import Relay
    from twingateway.link.server_identity import ServerIdentity
    from twingateway.pki.verifier import ChainVerifier

    section, files = config.listen, config.identity
    with at("identity", CertificateError):
        identity = ServerIdentity(files.certificate, files.key)
    allowed = None if section.children is None else frozenset(section.children)
    acceptor = Acceptor(
        gateway.name,
        ChainVerifier(files.ca, files.crl),
        allowed,
        gateway.peers,
        gateway.inbound,
        gateway.ledger,
        gateway.sessions,
        None if section.relay == "off" or broker is None else Relay(broker.open_stream, tasks),
    )
    with at("listen.address", LinkError):
        listeners = await _listen(section, identity, acceptor)
    for listener in listeners:
        stack.push_async_callback(listener.close)
    bound.listen = "{}:{}".format(*listeners[0].address)


async def _listen(section: ListenSection, identity: ServerIdentity, acceptor: Acceptor) -> list[Listener]:
    """QUIC first. Where the file leaves the port open, TLS gets the number that QUIC got."""
    from twingateway.link.door import Bounds, Door
    from twingateway.link.quic_server import listen_quic
    from twingateway.link.tls_server import listen_tls

    door = Door(Bounds(section.max_connections, section.max_strangers, section.max_strangers_per_address))
    gate = acceptor.early_gate if section.early_data else None
    make_handler = acceptor.carrier
    host, port = section.address.host, section.address.port
    for attempt in range(1, _PORT_ATTEMPTS + 1):
        quic = await listen_quic(host, port, identity=identity, make_handler=make_handler, door=door, early_gate=gate)
        if not section.tls:
            return [quic]
        tls_host, tls_port = section.tls_address or (host, quic.address[1])
        try:
            strict = section.relay == "off"
            tls = await listen_tls(
                tls_host, tls_port, identity=identity, make_handler=make_handler, door=door, strict=strict
            )
            return [quic, tls]
        except LinkError:
            await quic.close()
            if port or attempt == _PORT_ATTEMPTS:
                raise
    raise AssertionError("unreachable")


def make_uplink(
    config: NodeConfig, gateway: Gateway, tasks: Tasks, protocol: ParentProtocol, on_broker: Callable[[], bool]
) -> Uplink | BrokerUplink | None:
    """`on_broker`: see `Uplink`."""
    section = config.uplink
    if section is None:
        return None
    parents = _parents(config, section, strict=section.protocol == "twin")
    if protocol.is_broker:
        from twingateway.gateway.broker_uplink import BrokerUplink

        password = None if section.password is None else section.password.get_secret_value()
        account = Account(config.node.name, section.username, password)
        return BrokerUplink(parents, account, section.keep_alive, gateway, tasks, random.random)
    if config.identity is None:
        return None
    return Uplink(
        parents,
        load_credential(config, config.identity),
        section.keep_alive,
        gateway.peers,
        gateway.inbound,
        gateway.ledger,
        gateway.sessions,
        random.random,
        on_broker,
    )


def watch_network(uplink: Uplink | BrokerUplink, stack: AsyncExitStack) -> None:
    """Until `stack` ends, changes of the machine's network make the uplink try at once."""
    from twingateway.link.network import NetworkWatch

    watch = NetworkWatch(uplink.hurry)
    watch.start()
    stack.callback(watch.close)


def _parents(config: NodeConfig, section: UplinkSection, *, strict: bool) -> list[Parent]:
    """The ways to each address. `strict`: over TLS the parent must agree on our protocol by name."""
    from twingateway.link.quic_client import QuicDialer
    from twingateway.link.tickets import TicketStore
    from twingateway.link.tls_client import TlsDialer
    from twingateway.ports.link import Dialer

    ca_file = section.ca or (None if config.identity is None else config.identity.ca)
    tickets = TicketStore(config.node.data_dir / f"{config.node.name}.tickets.json")
    parents = []
    for url in section.parents:
        dialers: list[Dialer] = []
        if url.scheme == "quic":
            quic = QuicDialer(
                url.host,
                url.port,
                ca_file=ca_file,
                server_name=section.server_name,
                keep_alive=section.keep_alive,
                tickets=tickets,
                early_data=section.early_data,
            )
            dialers.append(quic)
        if section.tls:
            port = section.tls_port or url.port
            name = section.server_name
            dialers.append(TlsDialer(url.host, port, ca_file=ca_file, server_name=name, strict=strict))
        parents.append(Parent(str(url), tuple(dialers)))
    return parents
