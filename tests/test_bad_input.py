"""A node's QUIC listener and everyone who should not be there: each gets the right reason code, only its own
connection ends, and a good edge on the same listener goes on as if nothing had been."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import mqtt5
import pytest
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.fair_time import PATIENCE
from tests.pki.certificates import Made, make
from twingateway.config.load import load_node
from twingateway.errors import LinkError
from twingateway.gateway.peering.dialling import Parent
from twingateway.gateway.peering.uplink import Uplink
from twingateway.link.quic_client import QuicDialer
from twingateway.mqtt.auth import METHOD, Claim, encode_claim
from twingateway.mqtt.client import ClientConnection
from twingateway.mqtt.codec import PacketReader
from twingateway.mqtt.events import Connected, Refused
from twingateway.mqtt.lanes import CONTROL_TOPIC, STATE_TOPIC, wrap
from twingateway.node.parts import Bound
from twingateway.node.run import Node
from twingateway.pki.authority import create_authority, issue, revoke
from twingateway.pki.credential import NodeCredential
from twingateway.pki.signature import sign
from twingateway.plugins.registry import AdapterRegistry
from twingateway.ports.link import Link
from twingateway.testing.joined import FakeMachine, MemoryNode, until
from twingateway.twin.identity import DeviceId
from twingateway.twin.register import Section

PUMP = DeviceId("default", "pump")
URI = "twingateway://default/"


@dataclass
class MadeCredential:
    """A credential of any certificate and any key."""

    node: str
    made: Made
    key: Any = None

    @property
    def chain(self) -> tuple[bytes, ...]:
        return (self.made.der,)

    def sign(self, data: bytes) -> bytes:
        return sign(self.key or self.made.key, data)


@dataclass
class Peer:
    """The other end of a link. With a credential it speaks as a node does; `raw` is what it sends besides."""

    credential: Any = None
    raw: bytes = b""
    stream: int = 0
    capabilities: dict[str, str] = field(default_factory=lambda: {"node": "stranger"})
    link: Link | None = None
    connection: ClientConnection | None = None
    heard: bytes = b""
    events: list[Any] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def connected(self, link: Link, now: float) -> None:
        self.link = link
        link.open_stream()
        if self.credential is None:
            self.send(self.raw)
            return
        self.connection = ClientConnection(
            self.credential.node,
            self.credential,
            keep_alive=15,
            token=None,
            server_certificate=link.server_certificate,
            capabilities=self.capabilities,
        )
        self.connection.start(now)
        self._flush()

    def send(self, data: bytes) -> None:
        assert self.link is not None
        while self.stream and self.link.open_stream() < self.stream:
            pass
        self.link.write(self.stream, data)

    def stream_data(self, stream: int, data: bytes, end: bool, now: float) -> None:
        self.heard += data
        if self.connection is None:
            return
        self.events += self.connection.receive(stream, data, now)
        self._flush()
        if self.raw and any(isinstance(event, Connected) for event in self.events):
            raw, self.raw = self.raw, b""
            self.send(raw)

    def _flush(self) -> None:
        assert self.connection is not None
        for stream, data in self.connection.to_send():
            self.link.write(stream, data)

    def datagram(self, data: bytes, now: float) -> None: ...

    def next_datagram(self, room: int, now: float) -> bytes | None:
        return None

    def timer(self, now: float) -> None: ...

    def closed(self, error: LinkError | None, now: float) -> None:
        self.ended.set()

    @property
    def refusal(self) -> int:
        """The reason code of the last packet heard, which must be a CONNACK or a DISCONNECT; a return code of MQTT
        3.1.1 as it is."""
        if self.heard[:3] == b"\x20\x02\x00":
            return self.heard[3]
        last = PacketReader().feed(self.heard)[-1]
        assert isinstance(last, mqtt5.ConnAckPacket | mqtt5.DisconnectPacket), last
        return int(last.reason_code)

    @property
    def reason(self) -> str:
        """What the last packet heard, a DISCONNECT, gives as the reason."""
        last = PacketReader().feed(self.heard)[-1]
        assert isinstance(last, mqtt5.DisconnectPacket), last
        return str(last.reason_str)


class QuicEdge(MemoryNode):
    """A good edge: fake machines, a real link."""

    def __init__(self, dialer: QuicDialer, credential: NodeCredential) -> None:
        super().__init__(credential.node)
        self.dialer = dialer
        self.credential = credential
        self.machines["pump"] = FakeMachine({"flow": 0})

    def _uplink(self, gateway: Any, parent: Any) -> Uplink:
        return Uplink(
            [Parent("quic", (self.dialer,))],
            self.credential,
            15,
            gateway.peers,
            gateway.inbound,
            gateway.ledger,
            gateway.sessions,
            random.random,
        )


@dataclass
class Site:
    folder: Path
    node: Node
    edge: QuicEdge
    dialer: QuicDialer
    address: tuple[str, int]
    said: int = 0

    @property
    def gateway(self) -> Any:
        return self.node.gateway

    async def meet(self, peer: Peer) -> Peer:
        """Let `peer` connect, and wait until the node ended it."""
        await self.dialer.dial(peer)
        async with asyncio.timeout(PATIENCE):
            await peer.ended.wait()
        return peer

    async def edge_goes_on(self, line: Any) -> None:
        """What the good edge says arrives, over the link that it had before."""
        self.said += 1
        self.edge.machines["pump"].say(flow=self.said)
        await until(lambda: self.gateway.table.value(PUMP, Section.REPORTED, "flow") == self.said)
        assert self.line is line, "the good edge had to connect again"

    @property
    def line(self) -> Any:
        return next(peer.line for peer in self.gateway.peers if peer.name == "edge-1")


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pki")
    create_authority(folder)
    issue(folder, "cloud", hosts=["127.0.0.1", "localhost"])
    for name in ("edge-1", "edge-2", "unlisted", "revoked"):
        issue(folder, name)
    revoke(folder, "revoked")
    return folder


@pytest.fixture(scope="module")
def authority(pki: Path) -> Made:
    certificate = x509.load_pem_x509_certificate((pki / "ca.crt").read_bytes())
    return Made(certificate, load_pem_private_key((pki / "ca.key").read_bytes(), None))


@asynccontextmanager
async def running(pki: Path, folder: Path, *listen: str) -> AsyncIterator[Site]:
    """A cloud node from its file, listening (with these further settings), and a good edge linked to it."""
    file = folder / "cloud.yaml"
    settings = ", ".join(['address: "127.0.0.1:0"', "children: [edge-1, edge-2, revoked]", *listen])
    file.write_text(
        f"node: {{name: cloud, data_dir: {folder}}}\n"
        f"identity: {{certificate: {pki}/cloud.crt, key: {pki}/cloud.key, ca: {pki}/ca.crt, crl: {pki}/ca.crl}}\n"
        f"listen: {{{settings}}}\n"
    )
    ready: asyncio.Future[Bound] = asyncio.get_running_loop().create_future()
    node = Node(load_node(file, AdapterRegistry.installed()), AdapterRegistry.installed(), ready.set_result)
    task = asyncio.create_task(node.run())
    try:
        await asyncio.wait({ready, task}, return_when=asyncio.FIRST_COMPLETED)
        host, _, port = ready.result().listen.rpartition(":")
        dialer = QuicDialer(host, int(port), ca_file=pki / "ca.crt", server_name="localhost")
        edge = QuicEdge(dialer, NodeCredential.load(pki / "edge-1.crt", pki / "edge-1.key"))
        async with edge.running(MemoryNode("cloud")):
            site = Site(folder, node, edge, dialer, (host, int(port)))
            await until(lambda: node.gateway.table.value(PUMP, Section.REPORTED, "flow") == 0)
            yield site
    finally:
        node.stop()
        await task


def connect(**options: Any) -> bytes:
    return bytes(mqtt5.ConnectPacket("stranger", clean_start=True, **options).write())


MQTT_3 = b"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04abcd"

STRANGERS = {
    "an HTTP request": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", {0x81, 0x82}),
    "a TLS hello": (bytes.fromhex("1603010200010001fc0303"), {0x81, 0x82}),
    "a packet type that does not exist": (b"\x00\x00", {0x81}),
    "a CONNECT cut short inside": (b"\x10\x07\x00\x04MQTT\x05", {0x81}),
    "a length that never ends": (b"\x10\xff\xff\xff\xff\x7f", {0x81}),
    "a CONNECT of 256 MB": (b"\x10\xff\xff\xff\x7f", {0x95}),
    "a PINGREQ before CONNECT": (b"\xc0\x00", {0x82}),
    "a PUBLISH before CONNECT": (wrap(STATE_TOPIC, b"\xa0"), {0x82}),
    "MQTT 3.1.1": (MQTT_3, {0x05}),
    "a plain MQTT 5 client": (connect(), {0x87}),
    "a plain client with a password": (connect(username="x", password=b"y"), {0x87}),
    "a node without authentication": (connect(user_properties=[("twingateway", "1"), ("node", "edge-1")]), {0x87}),
    "another authentication method": (
        connect(authentication_method="SCRAM-SHA-256", authentication_data=b"n,,n=x,r=y"),
        {0x8C},
    ),
}


@pytest.mark.parametrize("name", STRANGERS)
async def test_a_stranger_is_told_why(pki, tmp_path, name):
    raw, codes = STRANGERS[name]
    async with running(pki, tmp_path) as site:
        line = site.line
        peer = await site.meet(Peer(raw=raw))
        assert peer.refusal in codes
        await site.edge_goes_on(line)
        assert {peer.name for peer in site.gateway.peers} == {"edge-1"}, "a stranger leaves no trace"


async def test_random_bytes_harm_nobody(pki, tmp_path):
    chance = random.Random(7)
    async with running(pki, tmp_path) as site:
        line = site.line
        for length in (1, 2, 10, 100, 1000, 20_000):
            await site.dialer.dial(Peer(raw=chance.randbytes(length)))
        await site.meet(Peer(raw=b"\xf0" + chance.randbytes(2000)))
        await site.edge_goes_on(line)


async def test_one_who_says_nothing_or_half_a_packet_holds_up_nobody(pki, tmp_path):
    async with running(pki, tmp_path) as site:
        line = site.line
        silent, slow = Peer(), Peer(raw=b"\x10\x40\x00\x04MQ")
        await site.dialer.dial(silent)
        await site.dialer.dial(slow)
        await site.edge_goes_on(line)
        assert not slow.heard


async def test_datagrams_before_the_proof_are_dropped(pki, tmp_path):
    class Early(Peer):
        sent = 0

        def next_datagram(self, room: int, now: float) -> bytes | None:
            self.sent += 1
            return os.urandom(100) if self.sent < 20 else None

    async with running(pki, tmp_path) as site:
        line = site.line
        early = Early()
        await site.dialer.dial(early)
        early.link.wake()
        await until(lambda: early.sent >= 20)
        await site.edge_goes_on(line)
        assert not early.heard


def _claimed(node: str, uri_name: str | None = None, **certificate: Any):
    """Makes a credential that claims `node`, with a certificate made by the site's authority."""

    def build(authority: Made, pki: Path) -> Any:
        return MadeCredential(node, make(node, authority, uris=[URI + (uri_name or node)], **certificate))

    return build


def _foreign(authority: Made, pki: Path) -> Any:
    return MadeCredential("edge-2", make("edge-2", make("another CA", ca=True), uris=[f"{URI}edge-2"]))


def _self_signed(authority: Made, pki: Path) -> Any:
    return MadeCredential("edge-2", make("edge-2", uris=[f"{URI}edge-2"]))


def _wrong_key(authority: Made, pki: Path) -> Any:
    good = make("edge-2", authority, uris=[f"{URI}edge-2"])
    return MadeCredential("edge-2", good, key=make("thief").key)


def _of_the_site(name: str):
    return lambda authority, pki: NodeCredential.load(pki / f"{name}.crt", pki / f"{name}.key")


FALSE_PROOFS = {
    "a foreign authority": _foreign,
    "no authority at all": _self_signed,
    "expired": _claimed("edge-2", begin=timedelta(days=-9), end=timedelta(days=-1)),
    "not valid yet": _claimed("edge-2", begin=timedelta(days=1), end=timedelta(days=9)),
    "the certificate of another node": _claimed("edge-1", "edge-2"),
    "somebody else's key": _wrong_key,
    "revoked": _of_the_site("revoked"),
    "a node that is not expected here": _of_the_site("unlisted"),
    "the node's own name": _claimed("cloud"),
}


@pytest.mark.parametrize("name", FALSE_PROOFS)
async def test_a_false_proof_is_not_authorized(pki, authority, tmp_path, name):
    async with running(pki, tmp_path) as site:
        line = site.line
        peer = await site.meet(Peer(FALSE_PROOFS[name](authority, pki)))
        assert peer.refusal == 0x87
        (refused,) = (event for event in peer.events if isinstance(event, Refused))
        assert refused.reason, "a person at the other end is told why"
        await site.edge_goes_on(line)
        assert {peer.name for peer in site.gateway.peers} == {"edge-1"}


@pytest.mark.parametrize(
    "data",
    [None, b"", b"\xff", b"\xa0", b"\x81" * 5000, encode_claim(Claim("edge-1", (b"not DER",)))],
    ids=["none", "empty", "no CBOR", "no claim", "too deep", "no certificate"],
)
async def test_what_is_no_claim_is_not_authorized(pki, tmp_path, data):
    proof = mqtt5.AuthPacket(
        reason_code=mqtt5.AuthReasonCode.CONTINUE_AUTHENTICATION,
        authentication_method=METHOD,
        authentication_data=bytes(64),
    )
    raw = connect(authentication_method=METHOD, authentication_data=data, user_properties=[("twingateway", "1")])
    async with running(pki, tmp_path) as site:
        line = site.line
        peer = await site.meet(Peer(raw=raw + proof.write()))
        assert peer.refusal == 0x87
        await site.edge_goes_on(line)


async def test_the_chain_of_a_good_edge_without_its_key_takes_nothing_over(pki, tmp_path):
    good = NodeCredential.load(pki / "edge-1.crt", pki / "edge-1.key")
    claim = encode_claim(Claim("edge-1", good.chain, token=bytes(32)))
    proof = mqtt5.AuthPacket(
        reason_code=mqtt5.AuthReasonCode.CONTINUE_AUTHENTICATION,
        authentication_method=METHOD,
        authentication_data=bytes(64),
    )
    raw = connect(authentication_method=METHOD, authentication_data=claim, user_properties=[("twingateway", "1")])
    async with running(pki, tmp_path) as site:
        line = site.line
        peer = await site.meet(Peer(raw=raw + proof.write()))
        assert peer.refusal == 0x87
        await site.edge_goes_on(line)


OFFENCES = {
    "a second CONNECT": (connect(), 0, {0x82}),
    "a malformed packet": (b"\x00\x00", 0, {0x81}),
    "a packet larger than agreed": (b"\x30\xff\xff\xff\x7f", 0, {0x95}),
    "a PUBLISH with QoS 3": (b"\x36\x07\x00\x01a\x00\x01\x00x", 0, {0x81}),
    "a topic that is not UTF-8": (b"\x30\x05\x00\x01\xff\x00x", 0, {0x81}),
    "a state frame that is no CBOR": (wrap(STATE_TOPIC, b"\xff\xff\xff"), 4, {0x82, 0x99, 0x81}),
    "a control frame that is no CBOR": (wrap(CONTROL_TOPIC, b"\xff\xff\xff"), 0, {0x82, 0x99, 0x81}),
    "a control frame nested without end": (wrap(CONTROL_TOPIC, b"\x81" * 5000), 0, {0x82, 0x99, 0x81}),
}


@pytest.mark.parametrize("name", OFFENCES)
async def test_a_node_that_breaks_the_protocol_loses_its_own_link_only(pki, tmp_path, name):
    raw, stream, codes = OFFENCES[name]
    async with running(pki, tmp_path) as site:
        line = site.line
        credential = NodeCredential.load(pki / "edge-2.crt", pki / "edge-2.key")
        peer = await site.meet(Peer(credential, raw=raw, stream=stream))
        assert any(isinstance(event, Connected) for event in peer.events)
        assert peer.refusal in codes
        await site.edge_goes_on(line)


async def test_no_client_takes_a_server_it_does_not_trust(pki, tmp_path):
    stranger = tmp_path / "other"
    create_authority(stranger)
    async with running(pki, tmp_path) as site:
        line = site.line
        host, port = site.address
        for options in ({"ca_file": stranger / "ca.crt"}, {"ca_file": pki / "ca.crt", "server_name": "elsewhere"}):
            with pytest.raises(LinkError):
                await QuicDialer(host, port, **options).dial(Peer())
        await site.edge_goes_on(line)


async def test_udp_noise_reaches_nobody(pki, tmp_path):
    chance = random.Random(3)
    connection = QuicConnection(configuration=QuicConfiguration(alpn_protocols=["mqtt"]))
    connection.connect(("127.0.0.1", 1), now=0.0)
    initial = connection.datagrams_to_send(now=0.0)[0][0]
    async with running(pki, tmp_path) as site:
        line = site.line
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=site.address)
        for _ in range(50):
            transport.sendto(chance.randbytes(chance.randrange(1, 1400)))
            cut = chance.randrange(1, len(initial))
            transport.sendto(initial[:cut] + chance.randbytes(len(initial) - cut))
        await site.edge_goes_on(line)
        transport.close()
