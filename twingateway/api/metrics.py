"""What Prometheus reads, collected from the gateway at the moment it is asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from twingateway.gateway.gateway import Gateway
from twingateway.gateway.peering.peer_link import PeerLink, link_to
from twingateway.twin.presence import PresenceState

#: The media type of what `render` gives.
CONTENT_TYPE = CONTENT_TYPE_LATEST

_PEER = ["peer", "role"]
#: Figures of the link to a peer: name, help, value.
_FIGURES: tuple[tuple[str, str, Callable[[PeerLink], float | None]], ...] = (
    ("rtt_seconds", "Round trip, smoothed", lambda link: link.quality.rtt),
    ("loss_ratio", "Frames lost", lambda link: link.quality.loss),
    ("burst_frames", "Frames lost together, mean", lambda link: link.quality.burst),
    ("copies", "How often each register is sent", lambda link: link.quality.copies),
    ("redundancy_ratio", "Registers sent for each that was new", lambda link: link.quality.redundancy),
    ("goodput_bytes_per_second", "New state sent", lambda link: link.goodput),
    ("queue_age_seconds", "Since the oldest register that waits came about", lambda link: link.queue_age),
)


class GatewayCollector(Collector):
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def collect(self) -> Iterator[Metric]:
        gateway = self._gateway
        yield _gauge("twingateway_uptime_seconds", "Seconds since the start", time.time() - gateway.started)
        yield _counter("twingateway_events", "Events published to listeners", gateway.events.published)
        durable = float(gateway.committer.committed)
        yield _counter(
            "twingateway_register_versions_durable", "Register versions committed since the start", durable
        )
        full = float(gateway.committer.failure is not None)
        yield _gauge("twingateway_store_refusing", "1 while the store refuses writes", full)
        repair = gateway.repair
        yield _counter("twingateway_store_replacements", "Damaged stores that were replaced", repair.replacements)
        yield _counter("twingateway_store_rollbacks", "Times the store was found rolled back", repair.repairs)
        yield _gauge("twingateway_registers", "Registers held", sum(1 for _ in gateway.table.registers()))
        twins = GaugeMetricFamily("twingateway_twins", "Twins by their effective presence", labels=["presence"])
        presences = gateway.queries.presences()
        for state in PresenceState:
            twins.add_metric([state], presences[state])
        yield twins
        overridden = sum(len(gateway.queries.overrides(device)) for device in gateway.table.devices())
        yield _gauge("twingateway_overrides_open", "Local overrides that are not decided", overridden)
        yield _counter(
            "twingateway_conflicts", "Overrides at odds with the cloud's value", gateway.verdicts.conflicts
        )
        yield from self._adapters()
        yield from self._peers()
        yield from self._journal()

    def _adapters(self) -> Iterator[Metric]:
        devices = GaugeMetricFamily("twingateway_devices", "Devices run here", labels=["adapter"])
        online = GaugeMetricFamily("twingateway_devices_online", "Devices that answer", labels=["adapter"])
        for health in self._gateway.host.health():
            devices.add_metric([health.name], health.devices)
            online.add_metric([health.name], health.online)
        yield from (devices, online)
        yield from self._figures().values()

    def _figures(self) -> dict[str, Metric]:
        """What adapters count themselves, by name."""
        families: dict[str, Metric] = {}
        for adapter, figure in self._gateway.host.figures():
            name = f"twingateway_{adapter}_{figure.name}"
            kind = CounterMetricFamily if figure.grows else GaugeMetricFamily
            family = families.setdefault(name, kind(name, figure.help, labels=list(figure.labels)))
            family.add_metric(list(figure.labels.values()), figure.value)  # type: ignore[attr-defined]
        return families

    def _peers(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("twingateway_peer_up", "1 while a session runs", labels=["peer", "role"])
        waiting = GaugeMetricFamily(
            "twingateway_peer_waiting_registers",
            "Registers that the peer has not made durable",
            labels=["peer", "role"],
        )
        info = GaugeMetricFamily(
            "twingateway_peer_link", "1 for the link in use", labels=[*_PEER, "transport", "url"]
        )
        figures = [GaugeMetricFamily(f"twingateway_peer_{name}", text, labels=_PEER) for name, text, _ in _FIGURES]
        for peer in self._gateway.peers:
            labels = [peer.name, peer.direction.value]
            up.add_metric(labels, float(peer.is_reached))
            waiting.add_metric(labels, len(peer.session.outbox))
            link = link_to(peer, self._gateway.clock.wall_ms())
            if link is None:
                continue
            info.add_metric([*labels, link.transport, link.url], 1)
            for family, (_, _, figure) in zip(figures, _FIGURES, strict=True):
                value = figure(link)
                if value is not None:
                    family.add_metric(labels, value)
        yield from (up, waiting, info, *figures)

    def _journal(self) -> Iterator[Metric]:
        relay, journal = self._gateway.relay, self._gateway.journal
        yield _counter("twingateway_journal_appended", "Journal entries that began here", journal.appended)
        yield _counter("twingateway_journal_received", "Journal entries taken from other nodes", relay.received)
        yield _gauge("twingateway_history_bytes", "What history takes in the store", relay.history_bytes)
        yield _counter("twingateway_history_trimmed_points", "Points deleted because of their bytes", relay.trimmed)
        entries = GaugeMetricFamily("twingateway_journal_entries", "Entries waiting for the parent", labels=["class"])
        size = GaugeMetricFamily("twingateway_journal_bytes", "Bytes waiting for the parent", labels=["class"])
        evicted = CounterMetricFamily("twingateway_journal_evicted", "Entries given up", labels=["class"])
        for name in journal.policy.order:
            depth = relay.depths.get(name)
            entries.add_metric([name], 0 if depth is None else depth.entries)
            size.add_metric([name], 0 if depth is None else depth.bytes)
            evicted.add_metric([name], relay.evicted.get(name, 0))
        yield from (entries, size, evicted)


def render(gateway: Gateway) -> bytes:
    """The text of all metrics."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(GatewayCollector(gateway))
    return generate_latest(registry)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)


def _counter(name: str, text: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(name, text, value=value)
