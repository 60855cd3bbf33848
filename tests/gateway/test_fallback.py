"""One session over whichever link works: QUIC through a relay, TLS beside it, real sockets and whole gateways."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.link.authority import Authority
from twingateway.demo.relay import Relay
from twingateway.gateway.peering import acceptor, route, uplink
from twingateway.gateway.peering.dialling import Parent
from twingateway.gateway.peering.route import Attempt, Dial, Way
from twingateway.gateway.peering.uplink import Uplink
from twingateway.gateway.state.events import Changed, Notice
from twingateway.link import quic_link
from twingateway.link.quic_client import QuicDialer
from twingateway.link.quic_server import QuicListener, listen_quic
from twingateway.link.server_identity import ServerIdentity
from twingateway.link.tls_client import TlsDialer
from twingateway.link.tls_server import TlsListener, listen_tls
from twingateway.mqtt.events import Refused
from twingateway.testing.joined import FakeMachine, MemoryNode, NamedCredential, until
from twingateway.twin.identity import DeviceId
from twingateway.twin.register import Section

pytestmark = pytest.mark.hurried

PUMP = DeviceId("default", "pump")


class Edge(MemoryNode):
    """A node whose uplink uses real sockets."""

    parents: tuple[Parent, ...] = ()
    ping = 15.0

    def _uplink(self, gateway: Any, parent: Any) -> Uplink:
        self.made = Uplink(
            self.parents,
            NamedCredential(self.name),
            self.ping,
            gateway.peers,
            gateway.inbound,
            gateway.ledger,
            gateway.sessions,
            random.random,
        )
        return self.made


@dataclass
class Site:
    cloud: MemoryNode
    edge: Edge
    relay: Relay
    quic: QuicListener
    tls: TlsListener
    seen: list[int] = field(default_factory=list)
    """Every value of `flow` that the cloud published, in order."""

    @property
    def transport(self) -> str:
        """What the edge's session uses."""
        parent = self.edge.gateway.peers.parent
        return "" if parent is None or parent.line is None or parent.line.quiet else parent.line.facts().transport

    @property
    def links(self) -> int:
        parent = self.edge.gateway.peers.parent
        return 0 if parent is None else len(parent.lines)


@pytest.fixture(autouse=True)
def _brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(route, "GRACE", 0.2)
    monkeypatch.setattr(quic_link, "CLOSE_PATIENCE", 0.2)


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ServerIdentity]:
    authority = Authority(tmp_path_factory.mktemp("pki"), "root")
    return authority.file, ServerIdentity(*authority.issue("cloud"))


@asynccontextmanager
async def site(
    identity: tuple[Path, ServerIdentity], *, ping: float = 15.0, cut: bool = False
) -> AsyncIterator[Site]:
    ca_file, shown = identity
    cloud, edge = MemoryNode("cloud"), Edge("edge")
    edge.ping = ping
    pump = edge.machines["pump"] = FakeMachine({"flow": 0, "speed": 0}, frozenset({"speed"}))
    async with cloud.running() as gateway:
        make = cloud.listener._make_handler
        quic = await listen_quic("127.0.0.1", 0, identity=shown, make_handler=make)
        tls = await listen_tls("127.0.0.1", 0, identity=shown, make_handler=make)
        relay = await Relay.start(quic.address)
        relay.conditions.cut = cut
        edge.parents = (
            Parent(
                "quic://cloud",
                (
                    QuicDialer(*relay.address, ca_file=ca_file, keep_alive=ping),
                    TlsDialer(*tls.address, ca_file=ca_file),
                ),
            ),
        )
        whole = Site(cloud, edge, relay, quic, tls)
        listening = gateway.events.listen(0, 0)

        async def note() -> None:
            while True:
                for event in await listening.next_batch():
                    if not isinstance(event, Changed):
                        continue
                    register = event.stored.register
                    if register.key.section is Section.REPORTED and register.key.name == "flow":
                        whole.seen.append(register.value)

        noting = asyncio.create_task(note())
        try:
            async with edge.running(cloud):
                yield whole
                pump.port = None
        finally:
            noting.cancel()
            relay.close()
            await asyncio.gather(quic.close(), tls.close())


async def counting(whole: Site, until_true: Any, timeout: float) -> None:
    """Let the device count up quickly until something is so."""
    machine = whole.edge.machines["pump"]
    async with asyncio.timeout(timeout):
        while not until_true():
            machine.say(flow=int(machine.values["flow"]) + 1)  # type: ignore[call-overload]
            await asyncio.sleep(0.005)


async def test_udp_blocked_from_the_start_costs_three_seconds_at_most(identity) -> None:
    async with site(identity, cut=True) as whole:
        await until(lambda: whole.transport == "tls", 3.0)
        await counting(whole, lambda: len(whole.seen) > 50, 5)
        assert whole.links == 1


async def test_udp_blocked_later_and_back_again_loses_and_repeats_nothing(identity, monkeypatch) -> None:
    monkeypatch.setattr(route, "PROBE", (0.3, 0.3))
    async with site(identity) as whole:
        await until(lambda: whole.transport == "quic")
        await counting(whole, lambda: len(whole.seen) > 20, 5)
        whole.relay.conditions.cut = True
        await counting(whole, lambda: whole.transport == "tls", 3.0)
        await counting(whole, lambda: whole.links == 1, 6.0)
        whole.relay.conditions.cut = False
        await counting(whole, lambda: whole.transport == "quic", 12.0)
        await counting(whole, lambda: whole.links == 1, 6.0)
        last = whole.edge.machines["pump"].values["flow"]
        await until(lambda: whole.seen and whole.seen[-1] == last)
        assert whole.seen == sorted(set(whole.seen)), "nothing twice, nothing out of order"
        assert whole.cloud.gateway.queries.presence(PUMP).state == "online"


async def test_parents_are_tried_in_order_and_the_first_is_gone_back_to(identity, monkeypatch) -> None:
    monkeypatch.setattr(route, "PARENT_PATIENCE", 0.3)
    monkeypatch.setattr(route, "PROBE", (0.3, 0.3))
    async with site(identity, cut=True) as whole:
        second = await Relay.start(whole.quic.address)
        (first,) = whole.edge.parents
        quic = first.dialers[0]
        assert isinstance(quic, QuicDialer)
        again = QuicDialer(*second.address, ca_file=quic._ca_file)
        uplink = whole.edge.made
        uplink._parents = (Parent("quic://first", (quic,)), Parent("quic://second", (again,)))
        uplink._route = uplink._new_route()
        uplink._news.set()
        parent = lambda: whole.edge.gateway.peers.parent  # noqa: E731
        await until(lambda: parent() is not None and parent().line is not None and not parent().line.quiet)
        assert parent().line.url == "quic://second"
        await counting(whole, lambda: len(whole.seen) > 5, 5)
        whole.relay.conditions.cut = False
        await counting(whole, lambda: parent().line.url == "quic://first" and whole.links == 1, 10)
        last = whole.edge.machines["pump"].values["flow"]
        await until(lambda: whole.seen[-1] == last)
        assert whole.seen == sorted(set(whole.seen)), "nothing twice, nothing out of order"
        second.close()


async def test_desired_values_arrive_over_tls_too(identity) -> None:
    async with site(identity, cut=True) as whole:
        await until(lambda: whole.transport == "tls", 3.0)
        await until(lambda: whole.cloud.gateway.queries.exists(PUMP))
        written = await whole.cloud.gateway.commands.patch(PUMP, {"spec": {"desiredProperties": {"speed": 7}}})
        await whole.cloud.gateway.commands.settled(PUMP, written.desired, 5.0)
        assert whole.edge.machines["pump"].written == [("speed", 7)]


async def test_an_outage_and_a_new_address_cost_no_new_session(identity) -> None:
    async with site(identity) as whole:
        await until(lambda: whole.transport == "quic")
        parent = whole.edge.gateway.peers.parent
        assert parent is not None
        link = parent.line
        await counting(whole, lambda: len(whole.seen) > 5, 5)
        whole.relay.conditions.cut = True
        await asyncio.sleep(0.7)
        whole.relay.rebind()
        whole.relay.conditions.cut = False
        before = len(whole.seen)
        await counting(whole, lambda: len(whole.seen) > before + 5, 5)
        assert parent.line is link
        assert parent.links == 1


async def test_a_parent_that_forgot_us_is_noticed_within_two_keep_alives(identity) -> None:
    async with site(identity, ping=1.0) as whole:
        await until(lambda: whole.transport == "quic")
        parent = whole.edge.gateway.peers.parent
        assert parent is not None
        await until(lambda: not parent.session.outbox)
        for link in list(whole.quic._links):  # as if the server had restarted: no word to anybody
            whole.quic._forget(link)
            link._transport = None
            link._cancel_timer()
        forgotten = parent.line
        await until(lambda: parent.line is not forgotten and whole.transport != "", 3.5)


@pytest.mark.parametrize("busy", [True, False])
async def test_a_path_that_is_dead_is_noticed_within_two_keep_alives(identity, busy: bool) -> None:
    ping = 1.0
    async with site(identity, ping=ping) as whole:
        await until(lambda: whole.transport == "quic")
        parent = whole.edge.gateway.peers.parent
        assert parent is not None
        await until(lambda: not parent.session.outbox)
        whole.edge.made._route._ways = []  # nowhere else to go
        whole.relay.conditions.cut = True
        if busy:
            await counting(whole, lambda: not parent.is_reached, 2 * ping)
        else:
            await until(lambda: not parent.is_reached, 2 * ping)
        assert len(parent.lines) == 1, "the link is kept"
        whole.relay.conditions.cut = False
        await until(lambda: parent.is_reached, 5)


@pytest.mark.parametrize("busy", [True, False])
async def test_a_path_that_is_dead_upwards_is_noticed_though_the_parent_is_heard(identity, busy: bool) -> None:
    ping = 1.0
    async with site(identity, ping=ping) as whole:
        await until(lambda: whole.transport == "quic" and whole.seen)
        parent = whole.edge.gateway.peers.parent
        assert parent is not None
        child = next(iter(whole.cloud.gateway.peers))
        await until(lambda: not parent.session.outbox)
        quic = parent.line

        async def chatter() -> None:
            while True:
                for line in child.lines:
                    line.send_control("no-such-kind", {})
                await asyncio.sleep(0.02)

        talking = asyncio.create_task(chatter())
        whole.relay._pass_up = lambda data, client: None  # type: ignore[method-assign]
        if busy:
            await counting(whole, lambda: whole.transport == "tls", 2 * ping + 1)
        else:
            await until(lambda: whole.transport == "tls", 2 * ping + 1)
        talking.cancel()
        assert parent.line is not quic
        whole.edge.machines["pump"].say(flow=1_000_000)
        await until(lambda: whole.seen[-1] == 1_000_000)


async def test_a_silent_child_is_out_of_reach_though_its_link_is_kept(identity, monkeypatch) -> None:
    monkeypatch.setattr(uplink, "UNANSWERED", 1e9)
    async with site(identity, ping=0.4) as whole:
        queries = whole.cloud.gateway.queries
        await until(lambda: whole.transport == "quic")
        await until(lambda: queries.exists(PUMP) and queries.presence(PUMP).state == "online")
        whole.edge.made._route._ways = []  # nowhere else to go
        whole.relay.conditions.cut = True
        await until(lambda: queries.presence(PUMP).state == "unreachable", 2.0)
        child = next(iter(whole.cloud.gateway.peers))
        assert len(child.lines) == 1
        whole.relay.conditions.cut = False
        await until(lambda: queries.presence(PUMP).state == "online", 5.0)
        assert child.links == 1


async def test_the_journal_goes_on_over_the_other_link_and_each_entry_arrives_once(identity, monkeypatch) -> None:
    monkeypatch.setattr(route, "PROBE", (0.3, 0.3))
    async with site(identity) as whole:
        notices: list[str] = []
        listening = whole.cloud.gateway.events.listen(0, 0)

        async def note() -> None:
            while True:
                notices.extend(e.message for e in await listening.next_batch() if isinstance(e, Notice))

        noting = asyncio.create_task(note())
        written = 0

        async def write(until_true: Any) -> None:
            nonlocal written
            async with asyncio.timeout(12):
                while not until_true():
                    whole.edge.gateway.ledger.notice("test", f"entry {written}")
                    written += 1
                    await asyncio.sleep(0.01)

        await until(lambda: whole.transport == "quic")
        await write(lambda: written > 20)
        whole.relay.conditions.cut = True
        await write(lambda: whole.transport == "tls")
        await write(lambda: whole.links == 1)
        whole.relay.conditions.cut = False
        await write(lambda: whole.transport == "quic" and whole.links == 1)
        wanted = [f"entry {number}" for number in range(written)]
        await until(lambda: f"entry {written - 1}" in notices, 10.0)
        noting.cancel()
        assert [text for text in notices if text.startswith("entry")] == wanted


async def test_a_child_has_few_connections_at_a_time_and_what_it_forgets_is_closed(identity, monkeypatch) -> None:
    monkeypatch.setattr(acceptor, "OVERLAP", 1.0)
    async with site(identity) as whole:
        await until(lambda: whole.transport == "quic")
        parent = whole.edge.gateway.peers.parent
        assert parent is not None
        monkeypatch.setattr(whole.edge.made._route, "opened", lambda attempt, now: None)  # a child that forgets
        for number in range(1, 7):
            whole.edge.made._dial(Dial(Attempt(1000 + number, Way(0, 0))))
            await until(lambda number=number: parent.links == 1 + number)
        child = next(iter(whole.cloud.gateway.peers))
        await until(lambda: len(child.lines) <= acceptor.MOST_LINKS, 0.9)  # long before those it forgot are closed
        await until(lambda: len(child.lines) == 1)
        await counting(whole, lambda: len(whole.seen) > 5, 5)


@pytest.mark.parametrize(
    ("code", "reason", "broker"),
    [
        (0x8C, "", True),
        (0x84, "no MQTT 5 here", True),
        (0x8C, "the authentication method here is twingateway-2", False),
        (0x84, "twingateway version '1' is not spoken here, only '2'", False),
        (0x87, "", False),
    ],
)
async def test_a_refusal_by_a_node_of_another_version_is_not_taken_for_a_brokers(
    code: int, reason: str, broker: bool
) -> None:
    cloud, edge = MemoryNode("cloud"), Edge("edge")
    async with cloud.running(), edge.running(cloud):
        found: list[bool] = []
        edge.made.on_broker = lambda: not found.append(True)  # type: ignore[func-returns-value]
        carrier = edge.made.carrier(Attempt(1, Way(0, 0)), "quic://cloud")
        carrier._on_refused(Refused(code, reason), 0.0)
        assert bool(found) is broker
