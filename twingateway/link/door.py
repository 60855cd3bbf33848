"""Who may still come in at a listener: bounds on connections, and tighter ones on strangers.

A *stranger* is a connection whose peer has not proven who it is. Strangers are what an attacker can have many of, so
they are few in all and fewer from one address; a stranger that leaves keeps its place for a moment, which bounds the
rate of handshakes that one address can make us do. Whoever is admitted takes no stranger's place any more, so that a
whole site behind one address can be let in, one after the other.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

#: Seconds for which a stranger that has left still counts.
AFTERGLOW = 2.0

#: Seconds between two words in the log about those who were not let in.
TOLD_EVERY = 10.0

#: Bits of an IPv6 address that one site has in common.
_SITE_BITS = 64

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many connections there may be, over QUIC and TLS together: in all, of strangers, of strangers from one
    address (for IPv6: one /64)."""

    connections: int = 1000
    strangers: int = 256
    strangers_per_address: int = 32


class Guest(Protocol):
    """A link, as an object; only its identity matters."""


class Door:
    """Counts; one for all listeners of a node."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._inside: set[Guest] = set()
        self._strangers: dict[Guest, str] = {}
        self._by_address: Counter[str] = Counter()
        self._turned_away = 0
        self._told_at = -TOLD_EVERY

    @property
    def connections(self) -> int:
        """Those that exist, also while a handshake is under way or an end is being waited for."""
        return len(self._inside)

    @property
    def strangers(self) -> int:
        """Those who count as such, also a moment after they left."""
        return self._by_address.total()

    def objection(self, address: str) -> str | None:
        """Why nobody from this IP address can come in now, None if somebody can."""
        if len(self._inside) >= self._bounds.connections:
            return self._turn_away(address, "the listener is full")
        if self.strangers >= self._bounds.strangers:
            return self._turn_away(address, "too many connections have not proven who they are")
        if self._by_address[_site(address)] >= self._bounds.strangers_per_address:
            return self._turn_away(address, "too many connections from there have not proven who they are")
        return None

    def enter(self, guest: Guest, address: str) -> None:
        site = _site(address)
        self._inside.add(guest)
        self._strangers[guest] = site
        self._by_address[site] += 1

    def admit(self, guest: Guest) -> None:
        """This one has proven who it is."""
        site = self._strangers.pop(guest, None)
        if site is not None:
            self._forget(site)

    def leave(self, guest: Guest) -> None:
        self._inside.discard(guest)
        site = self._strangers.pop(guest, None)
        if site is not None:
            asyncio.get_running_loop().call_later(AFTERGLOW, self._forget, site)

    def _forget(self, site: str) -> None:
        self._by_address[site] -= 1
        if not self._by_address[site]:
            del self._by_address[site]

    def _turn_away(self, address: str, reason: str) -> str:
        self._turned_away += 1
        now = asyncio.get_running_loop().time()
        if now >= self._told_at + TOLD_EVERY:
            _log.warning("connection refused", reason=reason, address=address, times=self._turned_away)
            self._told_at, self._turned_away = now, 0
        return reason


def _site(address: Any) -> str:
    """What shares one bound: an IPv4 address, the network of an IPv6 one."""
    try:
        parsed = ipaddress.ip_address(str(address).partition("%")[0])
    except ValueError:
        return str(address)
    mapped = getattr(parsed, "ipv4_mapped", None)
    if parsed.version == 4 or mapped is not None:
        return str(mapped or parsed)
    return str(ipaddress.ip_network((parsed, _SITE_BITS), strict=False))
