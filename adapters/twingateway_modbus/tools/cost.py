"""What a read plan costs: requests, bytes and time on the wire. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from twingateway_modbus.address import AddressSettings
from twingateway_modbus.framing import make_framing
from twingateway_modbus.line_timing import seconds_on_line, silence
from twingateway_modbus.plan import Block, Limits, plan
from twingateway_modbus.point import Point
from twingateway_modbus.reply import size_of
from twingateway_modbus.request import Cells, read
from twingateway_modbus.settings import DeviceSettings

#: Seconds a device is taken to think.
THINKING = 0.005
#: Bits a second of the network that a request over IP is taken to cross, and bytes that TCP, IP and Ethernet add.
_NETWORK, _HEADERS = 100e6, 58


@dataclass(frozen=True, slots=True)
class Cost:
    """One request: bytes both ways, seconds until the next one can be made."""

    period: float
    block: Block
    sent: int
    received: int
    seconds: float


def costs(settings: DeviceSettings) -> list[Cost]:
    """Every request of the plan, by period and in the order in which they are made."""
    return _costs(settings.address, settings.points(), settings.limits())


def _costs(address: AddressSettings, points: Iterable[Point], limits: Limits) -> list[Cost]:
    return [_cost(address, period, block) for period, blocks in plan(points, limits).items() for block in blocks]


def _cost(address: AddressSettings, period: float, block: Block) -> Cost:
    request = read(Cells(block.table, block.address, block.count)).pdu
    framing = make_framing(address.transport.framing)
    sent, received = framing.size(len(request)), framing.size(size_of(request))
    return Cost(period, block, sent, received, _seconds(address, sent, received))


def _seconds(address: AddressSettings, sent: int, received: int) -> float:
    if address.serial is None:
        return 8 * (sent + received + 2 * _HEADERS) / _NETWORK + THINKING + address.delay
    pause = max(address.delay, silence(address))
    return seconds_on_line(address, sent + received) + silence(address) + pause + THINKING


def link_costs(devices: Iterable[DeviceSettings]) -> list[Cost]:
    """Every request that devices of one endpoint need in all. Those of one unit are read together, if they declare
    the same limits."""
    groups: list[tuple[AddressSettings, Limits, list[Point]]] = []
    for settings in devices:
        address, limits, points = settings.address, settings.limits(), settings.points()
        for known, declared, joined in groups:
            if (known.unit, declared) == (address.unit, limits):
                joined += points
                break
        else:
            groups.append((address, limits, list(points)))
    return [cost for address, limits, points in groups for cost in _costs(address, points, limits)]


def busy_share(found: Iterable[Cost], connections: int) -> float:
    """The share of time for which each connection is busy."""
    return sum(each.seconds / each.period for each in found) / connections
