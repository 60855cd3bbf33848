"""A new link over real QUIC, without early data: CONNECT, hello and state go right behind the client's Finished."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.gateway.test_early_data import Tap, running
from twingateway.gateway.peering.uplink import UplinkCarrier
from twingateway.testing.joined import until

pytestmark = pytest.mark.hurried

#: The bit of a packet's first byte that tells those of a handshake from those of a link.
LONG_HEADER = 0x80


class Flights:
    """Lets pass one packet to the server, the server's answer, and then whatever the client has to say to that."""

    def __init__(self, tap: Tap, monkeypatch: pytest.MonkeyPatch) -> None:
        self.carriers: list[UplinkCarrier] = []
        self.first = 0
        self._tap = tap
        self._is_open = False
        monkeypatch.setattr(tap, "datagram_received", self._from_client)
        monkeypatch.setattr(UplinkCarrier, "connected", self._connected(UplinkCarrier.connected))

    def begin(self) -> None:
        self._is_open = True

    def _from_client(self, data: bytes, addr: Any) -> None:
        if self.carriers or not data[0] & LONG_HEADER:
            Tap.datagram_received(self._tap, data, addr)
        elif self._is_open and not self.first:
            self.first += 1
            Tap.datagram_received(self._tap, data, addr)

    def _connected(self, connected: Any) -> Any:
        """The client has the server's flight, and its Finished is about to leave: it hears no more."""

        def note(carrier: UplinkCarrier, link: Any, now: float) -> None:
            self.carriers.append(carrier)
            self._tap.to_client = False
            connected(carrier, link, now)

        return note


@pytest.mark.parametrize("ticket", [True, False])
async def test_the_third_flight_of_a_new_link_brings_what_is_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ticket: bool
) -> None:
    async with running(tmp_path, early_data=False) as site:
        flights = Flights(site.tap, monkeypatch)
        if not ticket:
            site.tickets.unlink()
        await site.part()
        site.say(2)
        flights.begin()
        await until(lambda: site.flow == 2, 5)
        assert flights.first == 1
        assert not flights.carriers[0].opened, "nothing was heard since: not even whether CONNECT was accepted"
        assert len(flights.carriers) == 1
        site.tap.to_client = True
        await until(lambda: flights.carriers[-1].opened, 5)
