"""Peers of bad will at a node's QUIC listener: what they send costs little, ends their own connection with a reason,
and a good edge on the same listener goes on."""

from __future__ import annotations

import asyncio
import math
import os
import random
import socket
from dataclasses import dataclass
from typing import Any

import pytest
from aioquic.asyncio.client import connect as quic_connect
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated
from aioquic.quic.packet import QuicErrorCode

from tests.sync.world import World, key
from tests.test_bad_input import Peer, pki, running
from twingateway.gateway.holding import grants
from twingateway.gateway.peering import debts
from twingateway.link import door
from twingateway.link.quic_client import QuicDialer
from twingateway.link.quic_link import QuicLink
from twingateway.mqtt.events import Connected
from twingateway.mqtt.lanes import CONTROL_TOPIC, EARLY_TOPIC, JOURNAL_TOPICS, STATE_TOPIC, wrap
from twingateway.pki.credential import NodeCredential
from twingateway.sync.cbor import encode
from twingateway.sync.frame import Answer, Exceptions, Frame, Names, encode_frame
from twingateway.sync.hello import Hello, encode_control, encode_hello
from twingateway.sync.patience import Patience
from twingateway.sync.receiver import REPLAYS
from twingateway.testing.joined import until
from twingateway.twin.identity import DeviceId
from twingateway.twin.register import Section, Version

__all__ = ["pki"]

pytestmark = pytest.mark.hurried

MOST = 2**63 - 1
STORE = b"store"
HELLO = wrap(CONTROL_TOPIC, encode_hello(Hello("edge-2", STORE, b"boot", 0)))


def state(*frames: Frame) -> bytes:
    return b"".join(wrap(STATE_TOPIC, encode_frame(frame)) for frame in frames)


def control(kind: str, **body: Any) -> bytes:
    return wrap(CONTROL_TOPIC, encode_control(kind, body))


def journal(*items: Any) -> bytes:
    return b"".join(wrap(JOURNAL_TOPICS[0], encode(item)) for item in items)


def credential(folder: Any, name: str = "edge-2") -> NodeCredential:
    return NodeCredential.load(folder / f"{name}.crt", folder / f"{name}.key")


def said(number: int, answer: Answer) -> bytes:
    return state(Frame(number, 0, 0, answer))


NAMED = Names({0: "default/valve"}, {0: (Section.REPORTED, "p")})
ROW = (0, 0, Version(1, 1, 1), 1, 5)

#: What is sent behind a good hello, and the reason codes that may answer it.
LIES = {
    "an acknowledgement of what was never sent": (said(1, Answer(seen=((1, 1000),))), {0x82}),
    "of everything there could ever be": (said(1, Answer(durable=((1, MOST),))), {0x82}),
    "an exception to what was never sent": (
        said(1, Answer(exceptions=(Exceptions(MOST, True, 0, MOST, ()),))),
        {0x82},
    ),
    "ranges below one": (wrap(STATE_TOPIC, encode([1, 0, 0, [[5, 9], [], []]])), {0x82}),
    "more ranges than there may be": (wrap(STATE_TOPIC, encode([1, 0, 0, [[0, 0] * 65, [], []]])), {0x82}),
    "a low above the top": (wrap(STATE_TOPIC, encode([1, 5, 9])), {0x82}),
    "two meanings of one number": (
        state(Frame(1, 0, 0, names=NAMED), Frame(2, 0, 0, names=Names({0: "default/other"}, {}))),
        {0x82},
    ),
    "a second hello": (HELLO, {0x82}),
    "another node's hello": (
        b"",  # see below: it takes the place of the good one
        {0x87},
    ),
    "hashes that nobody asked for": (control("buckets", hashes=bytes(2048)), {0x82}),
    "a claim that makes no sense": (control("claim", node="edge-2", store=STORE.hex(), devices=[[1, 2]]), {0x82}),
    "a frame larger than any": (wrap(STATE_TOPIC, bytes(161 * 1024)), {0x95}),
    "a journal batch before its resume": (journal([1, 1, None, b"j", "edge-2", 1, 0, 0, 0, 1]), {0x82}),
    "a journal acknowledgement of what was never sent": (
        journal([0, "event", b"", 0], [2, MOST]),
        {0x82},
    ),
    "a journal batch out of turn": (
        journal([0, "event", b"", 0], [1, 7, [0, None, "n"], b"j", "edge-2", 1, 0, 0, 0, 1]),
        {0x82},
    ),
    "early data behind the handshake": (wrap(EARLY_TOPIC, encode([b"boot", b"\x83\x01\x00\x00"])), {0x90}),
    "a topic of ours that there is not": (wrap("$tg/j/9", b"x"), {0x90}),
}


@pytest.mark.parametrize("name", LIES)
async def test_a_node_that_lies_is_disconnected_with_a_reason(pki, tmp_path, name):
    lie, codes = LIES[name]
    hello = HELLO if lie else wrap(CONTROL_TOPIC, encode_hello(Hello("edge-1", b"store", b"boot", 0)))
    async with running(pki, tmp_path) as site:
        line = site.line
        peer = await site.meet(Peer(credential(pki), raw=hello + lie))
        assert any(isinstance(event, Connected) for event in peer.events), "it proved who it is"
        assert peer.refusal in codes
        await site.edge_goes_on(line)


@pytest.mark.parametrize("topic", [STATE_TOPIC, CONTROL_TOPIC, JOURNAL_TOPICS[0]])
async def test_random_items_of_a_proven_node_end_its_own_connection(pki, tmp_path, topic):
    chance = random.Random(topic)

    def item(depth: int) -> Any:
        kinds = [lambda: chance.randrange(-3, 2**40), lambda: chance.randbytes(5), lambda: "x", lambda: None]
        kinds += [lambda: [item(depth - 1) for _ in range(chance.randrange(6))]] * 2 if depth else []
        return chance.choice(kinds)()

    async with running(pki, tmp_path) as site:
        line = site.line
        for _ in range(6):
            noise = b"".join(wrap(topic, encode([item(3) for _ in range(chance.randrange(9))])) for _ in range(50))
            peer = await site.meet(Peer(credential(pki), raw=HELLO + noise))
            assert peer.refusal in {0x81, 0x82, 0x87, 0x95}
        await site.edge_goes_on(line)


@dataclass
class Flood(Peer):
    """A proven node that sends one and the same datagram over and over."""

    datagram_said: bytes = b""
    times: int = 0

    def next_datagram(self, room: int, now: float) -> bytes | None:
        if not self.times or not any(isinstance(event, Connected) for event in self.events):
            return None
        self.times -= 1
        return self.datagram_said


async def test_a_frame_that_is_replayed_counts_once(pki, tmp_path):
    async with running(pki, tmp_path) as site:
        line = site.line
        frame = state(Frame(3, 0, 0, names=NAMED, registers=(ROW,)))
        peer = Flood(credential(pki), raw=HELLO, datagram_said=frame, times=REPLAYS // 2)
        await site.dialer.dial(peer)
        await until(lambda: any(isinstance(event, Connected) for event in peer.events))
        peer.link.wake()
        await until(lambda: not peer.times, 20)
        await site.edge_goes_on(line)
        child = next(child for child in site.gateway.peers if child.name == "edge-2")
        receiver = child.session._lanes[child.line.number].receiver
        assert receiver.frames > 100
        assert len(receiver._seen) == 1
        await until(lambda: not receiver._uncommitted)
        assert not list(site.gateway.table.device(DeviceId("default", "valve"))), "which it does not hold"
        peer.link.close()


async def test_one_that_replays_a_frame_without_end_is_disconnected_with_a_reason(pki, tmp_path):
    async with running(pki, tmp_path) as site:
        line = site.line
        frame = state(Frame(3, 0, 0, names=NAMED, registers=(ROW,)))
        peer = Flood(credential(pki), raw=HELLO, datagram_said=frame, times=10**6)
        await site.dialer.dial(peer)
        await known(site, "edge-2")
        while not peer.ended.is_set():
            peer.link.wake()
            await asyncio.sleep(0.01)
        assert peer.refusal == 0x82
        assert "came again" in peer.reason
        await site.edge_goes_on(line)


async def test_one_that_never_acknowledges_is_disconnected_in_the_end(pki, tmp_path, monkeypatch):
    monkeypatch.setattr(debts, "UNHEEDED", 0.4)
    claim = control("claim", node="edge-2", store=STORE.hex(), devices=[["valve", 0, [0, 0, 0], False]])
    async with running(pki, tmp_path) as site:
        line = site.line
        peer = await site.meet(Peer(credential(pki), raw=HELLO + claim))
        assert peer.refusal == 0x97, "it was granted the device, was told so again and again, and said nothing"
        await site.edge_goes_on(line)
        await asyncio.sleep(0.5)
        await site.edge_goes_on(line)


async def known(site: Any, name: str) -> Any:
    """The node's view of a child, once it was let in."""
    await until(lambda: any(peer.name == name and peer.line is not None for peer in site.gateway.peers))
    return next(peer for peer in site.gateway.peers if peer.name == name)


class Owing:
    """An edge's session and its parent's in virtual time: the parent sees everything and makes nothing durable."""

    def __init__(self) -> None:
        self.world = World()
        self.world.connect()
        self.patience = Patience(debts.UNDURABLE)
        self.world.edge.write(key("valve"), 1)

    def ends(self, seconds: float, *, heard: bool = True, commits: float = math.inf) -> bool:
        """Whether the edge would end the link within so many seconds; with `heard` false the path is dead meanwhile;
        every `commits` seconds the parent commits, and the edge says something new."""
        world, ended = self.world, False
        until, next_commit = world.now + seconds, world.now + commits
        while world.now < until and not ended:
            world.now += 0.5
            if world.now >= next_commit:
                next_commit += commits
                world.edge.write(key("valve"), world.now)
                world.cloud.commit()
            world.edge.commit()
            world.pump()
            while world.flying and heard:
                world.deliver(0)
            if heard:
                world.deliver_streams()
            world.flying.clear()
            owed = world.edge.session.undurable_since(world.last_link)
            ended = self.patience.ends(owed, world.now, heard=heard)
        return ended


def test_one_that_sees_and_makes_nothing_durable_is_borne_with_for_ten_minutes() -> None:
    owing = Owing()
    assert not owing.ends(debts.UNDURABLE - 5)
    assert owing.ends(10)
    assert len(owing.world.edge.session.outbox) == 1, "what it owes is kept for its next link"


def test_a_dead_path_is_no_debt() -> None:
    owing = Owing()
    assert not owing.ends(60)
    assert not owing.ends(10 * debts.UNDURABLE, heard=False)
    assert not owing.ends(debts.UNDURABLE - 100)
    assert owing.ends(100), "the seconds before the outage count"


def test_one_whose_commits_are_slow_is_not_taken_for_one_that_never_commits() -> None:
    assert not Owing().ends(10 * debts.UNDURABLE, commits=0.9 * debts.UNDURABLE)


@dataclass
class Seeing(Peer):
    """A proven node that says, once it is told to, that it saw the first `seen` frames, and nothing else."""

    frames: int = 0
    seen: int = 0
    told: bool = False

    def next_datagram(self, room: int, now: float) -> bytes | None:
        if not self.told or self.link is None:
            return None
        self.told = False
        self.frames += 1
        return said(self.frames, Answer(seen=((1, self.seen),)))


CLAIM = control("claim", node="edge-2", store=STORE.hex(), devices=[["valve", 0, [0, 0, 0], False]])


async def test_one_that_sees_and_makes_nothing_durable_is_disconnected_with_a_reason(pki, tmp_path, monkeypatch):
    async with running(pki, tmp_path) as site:
        line = site.line
        monkeypatch.setattr(debts, "UNDURABLE", 0.4)  # not for the good edge, too: it bears with the node's disk
        monkeypatch.setattr(debts, "LOOK_EVERY", 0.0)
        peer = Seeing(credential(pki), raw=HELLO + CLAIM)
        await site.dialer.dial(peer)
        child = await known(site, "edge-2")
        await until(lambda: child.session.outbox and child.session.quality(child.line.number).frames_sent)
        while not peer.ended.is_set():
            if child.line is not None:  # which of them tells of the grant depends on how soon that was committed
                peer.seen = child.session.quality(child.line.number).frames_sent
            peer.told = True
            peer.link.wake()
            await asyncio.sleep(0.02)
        assert peer.refusal == 0x97
        assert "durable" in peer.reason
        assert child.session.outbox, "its session is kept"
        await site.edge_goes_on(line)


@dataclass
class Talkative(Peer):
    """A proven node that says something new whenever it may."""

    frames: int = 0

    def next_datagram(self, room: int, now: float) -> bytes | None:
        if not any(isinstance(event, Connected) for event in self.events):
            return None
        self.frames += 1
        return said(self.frames, Answer())


async def test_one_whose_transport_acknowledges_nothing_is_disconnected_with_a_reason(pki, tmp_path, monkeypatch):
    monkeypatch.setattr(debts, "UNHEEDED", 0.4)
    monkeypatch.setattr(debts, "LOOK_EVERY", 0.0)
    async with running(pki, tmp_path) as site:
        line = site.line
        peer = Talkative(credential(pki), raw=HELLO)
        await site.dialer.dial(peer)
        await known(site, "edge-2")
        write = QuicConnection._write_ack_frame

        def keep_silent(connection: QuicConnection, *arguments: Any, **options: Any) -> None:
            if connection is peer.link.connection:
                options["space"].ack_at = None
            else:
                write(connection, *arguments, **options)

        monkeypatch.setattr(QuicConnection, "_write_ack_frame", keep_silent)
        while not peer.ended.is_set():
            peer.link.wake()
            await asyncio.sleep(0.01)
        assert peer.refusal == 0x97
        assert "taken" in peer.reason
        await site.edge_goes_on(line)


@pytest.mark.parametrize("root", [[0, 0, 0], [1, 1, 1]], ids=["new devices", "devices the root is said to know"])
async def test_one_that_claims_devices_without_end_is_disconnected(pki, tmp_path, monkeypatch, root):
    monkeypatch.setattr(grants, "MOST_DEVICES", 50)
    claims = [
        control(
            "claim",
            node="edge-2",
            store=STORE.hex(),
            devices=[[f"v{batch}-{n}", 0, root, False] for n in range(20)],
        )
        for batch in range(10)
    ]
    async with running(pki, tmp_path) as site:
        line = site.line
        peer = await site.meet(Peer(credential(pki), raw=HELLO + b"".join(claims)))
        assert peer.refusal == 0x97
        assert len(site.gateway.peers.held_by("edge-2")) <= 50
        await site.edge_goes_on(line)


# --- below MQTT ---------------------------------------------------------------------------------------------------


@pytest.fixture
def ended(monkeypatch) -> list[ConnectionTerminated]:
    """How connections ended, as the node's listener saw it."""
    seen: list[ConnectionTerminated] = []
    tell = QuicLink.quic_event_received

    def note(link: QuicLink, event: Any) -> None:
        if isinstance(event, ConnectionTerminated) and not link.connection._is_client:
            seen.append(event)
        tell(link, event)

    monkeypatch.setattr(QuicLink, "quic_event_received", note)
    return seen


def _too_many_streams(quic: Any) -> None:
    quic._remote_max_streams_bidi = 1000
    for number in range(100):
        quic.send_stream_data(4 * number, b"\x10")


def _a_stream_of_one_direction(quic: Any) -> None:
    quic._remote_max_streams_uni = 10
    quic.send_stream_data(2, b"x")


TRANSPORT = {
    "streams without end": (_too_many_streams, QuicErrorCode.STREAM_LIMIT_ERROR),
    "streams of one direction": (_a_stream_of_one_direction, QuicErrorCode.STREAM_LIMIT_ERROR),
}


@pytest.mark.parametrize("name", TRANSPORT)
async def test_a_transport_that_breaks_its_limits_is_closed_with_a_reason(pki, tmp_path, ended, name):
    offend, code = TRANSPORT[name]
    config = QuicConfiguration(alpn_protocols=["mqtt"], server_name="localhost", cafile=str(pki / "ca.crt"))
    async with running(pki, tmp_path) as site:
        line = site.line
        async with quic_connect(*site.address, configuration=config) as client:
            offend(client._quic)
            client.transmit()
            await until(lambda: ended)
        assert ended[0].error_code == code
        assert ended[0].reason_phrase
        await site.edge_goes_on(line)


async def test_bytes_that_come_too_early_are_held_up_to_a_limit(pki, tmp_path):
    async with running(pki, tmp_path) as site:
        line = site.line
        peer = await site.meet(Peer(raw=os.urandom(400_000), stream=4))
        assert peer.refusal == 0x97
        await site.edge_goes_on(line)


async def test_a_flood_of_connections_from_one_address_leaves_room_for_others(pki, tmp_path, monkeypatch):
    monkeypatch.setattr(door, "AFTERGLOW", 0.2)
    async with running(pki, tmp_path, "max_strangers_per_address: 5") as site:
        line = site.line
        strangers = [Peer() for _ in range(12)]
        hurried = QuicDialer(*site.address, ca_file=pki / "ca.crt", server_name="localhost", dial_timeout=0.7)
        dials = [asyncio.create_task(hurried.dial(peer)) for peer in strangers]
        done, _ = await asyncio.wait(dials)
        refused = [dial for dial in done if dial.exception() is not None]
        assert len(refused) == 7
        await site.edge_goes_on(line)
        for peer in strangers:
            if peer.link is not None:
                peer.link.close()
        late = Peer(credential(pki), raw=HELLO)
        await site.dialer.dial(late)
        await until(lambda: any(isinstance(event, Connected) for event in late.events))
        late.link.close()


async def test_a_flood_of_first_packets_makes_no_handshakes_beyond_the_limit(pki, tmp_path, monkeypatch):
    made: list[str] = []
    enter = door.Door.enter
    monkeypatch.setattr(door.Door, "enter", lambda *arguments: (made.append(arguments[2]), enter(*arguments)))
    async with running(pki, tmp_path, "max_strangers_per_address: 5") as site:
        line = site.line
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for _ in range(100):
                connection = QuicConnection(configuration=QuicConfiguration(alpn_protocols=["mqtt"]))
                connection.connect(site.address, now=0.0)
                stranger.sendto(connection.datagrams_to_send(now=0.0)[0][0], site.address)
            await site.edge_goes_on(line)
        assert len(made) <= 6, "the good edge and five strangers"
