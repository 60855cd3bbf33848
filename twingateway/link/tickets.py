"""TLS session tickets: what spares a returning client the certificate exchange.

A ticket is used once: the server's book sees to that, and the client takes it out before it is used; it goes back
only if nothing at all came in answer. The client's store survives restarts (a JSON file that only its owner can
read); a ticket is kept under the server's name and the digest of the trusted certificates, so that changing the trust
also ends what rested on the old one, and together with the certificate that was verified when it was issued: it must
not outlive it. The server's book is in memory and bounded, oldest out first; it notes whom a ticket was given to,
once that peer has proven it, for without that a ticket permits no early data.
"""

from __future__ import annotations

import json
import os
from base64 import b64decode, b64encode
from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog
from aioquic.quic.connection import MAX_EARLY_DATA
from aioquic.tls import CipherSuite, SessionTicket
from cryptography import x509

from twingateway.ports.link import EarlyGate, EarlyTaker

_log = structlog.get_logger(__name__)

#: Servers remembered by a client, and tickets by a server.
MOST_SERVERS = 16
MOST_TICKETS = 2000


@dataclass(frozen=True, slots=True)
class KeptTicket:
    """A ticket and the DER of the certificate that the server showed, and that was verified, when it issued it."""

    ticket: SessionTicket
    certificate: bytes

    @property
    def is_valid(self) -> bool:
        until = x509.load_der_x509_certificate(self.certificate).not_valid_after_utc
        return self.ticket.is_valid and datetime.now(UTC) <= until


class TicketStore:
    """A client's tickets, the newest one of each server, in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def keep(self, server: str, ticket: SessionTicket, certificate: bytes) -> None:
        kept = self._read()
        kept.pop(server, None)
        kept[server] = _to_json(KeptTicket(ticket, certificate))
        while len(kept) > MOST_SERVERS:
            kept.pop(next(iter(kept)))
        self._write(kept)

    def pop(self, server: str) -> KeptTicket | None:
        """The ticket for this server, which is forgotten before it is used; None if there is no valid one."""
        kept = self._read()
        entry = kept.pop(server, None)
        if entry is None:
            return None
        self._write(kept)
        try:
            ticket = _from_json(entry)
            return ticket if ticket.is_valid else None
        except (KeyError, TypeError, ValueError):
            return None

    def put_back(self, server: str, unused: KeptTicket) -> None:
        """What `pop` gave was sent, and nobody answered: most likely it never got there."""
        kept = self._read()
        if server not in kept:
            kept[server] = _to_json(unused)
            self._write(kept)

    def _read(self) -> dict[str, Any]:
        try:
            kept = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as problem:
            _log.warning("session tickets not read", path=str(self._path), problem=str(problem))
            return {}
        return kept if isinstance(kept, dict) else {}

    def _write(self, kept: dict[str, Any]) -> None:
        fresh = self._path.with_name(f"{self._path.name}.new")
        try:
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                os.fchmod(descriptor, 0o600)
                json.dump(kept, file)
            fresh.replace(self._path)
        except OSError as problem:
            _log.warning("session tickets not kept", path=str(self._path), problem=str(problem))


@dataclass(frozen=True, slots=True)
class BookedTicket:
    """A ticket that was given out, and to whom; `holder` is None until that was proven on the ticket's own link."""

    ticket: SessionTicket
    holder: bytes | None = None


class TicketBook:
    """A server's tickets."""

    def __init__(self, most: int = MOST_TICKETS) -> None:
        self._most = most
        self._tickets: OrderedDict[bytes, BookedTicket] = OrderedDict()

    def add(self, ticket: SessionTicket) -> None:
        self._tickets[ticket.ticket] = BookedTicket(ticket)
        while len(self._tickets) > self._most:
            self._tickets.popitem(last=False)

    def admit(self, label: bytes, holder: bytes) -> None:
        """Whoever was given the ticket with this label has proven to be `holder`."""
        if label in self._tickets:
            self._tickets[label] = replace(self._tickets[label], holder=holder)

    def pop(self, label: bytes) -> BookedTicket | None:
        """The ticket that was issued with this label, once."""
        return self._tickets.pop(label, None)


class TicketDesk:
    """One connection's dealings with the server's book: the ticket that it came with and those that it is given."""

    def __init__(self, book: TicketBook, gate: EarlyGate | None) -> None:
        self._book = book
        self._gate = gate
        self._holder: bytes | None = None
        self._given: list[bytes] = []

    def fetch(self, label: bytes) -> SessionTicket | None:
        booked = self._book.pop(label)
        if booked is None:
            return None
        self._holder = booked.holder
        return booked.ticket

    def give(self, ticket: SessionTicket) -> None:
        self._book.add(ticket)
        self._given.append(ticket.ticket)

    def admit(self, holder: bytes) -> None:
        """The peer of this connection has proven to be `holder`."""
        for label in self._given:
            self._book.admit(label, holder)

    def early_taker(self) -> EarlyTaker | None:
        """Who takes early data of whoever came with the ticket that was fetched, judged now."""
        return None if self._gate is None or self._holder is None else self._gate(self._holder)


def _to_json(kept: KeptTicket) -> dict[str, Any]:
    ticket = kept.ticket
    return {
        "age_add": ticket.age_add,
        "certificate": _text(kept.certificate),
        "cipher_suite": int(ticket.cipher_suite),
        "max_early_data_size": ticket.max_early_data_size,
        "not_valid_after": ticket.not_valid_after.isoformat(),
        "not_valid_before": ticket.not_valid_before.isoformat(),
        "other_extensions": [[kind, _text(data)] for kind, data in ticket.other_extensions],
        "resumption_secret": _text(ticket.resumption_secret),
        "server_name": ticket.server_name,
        "ticket": _text(ticket.ticket),
    }


def _from_json(entry: dict[str, Any]) -> KeptTicket:
    ticket = SessionTicket(
        age_add=int(entry["age_add"]),
        cipher_suite=CipherSuite(entry["cipher_suite"]),
        max_early_data_size=MAX_EARLY_DATA if entry.get("max_early_data_size") == MAX_EARLY_DATA else None,
        not_valid_after=datetime.fromisoformat(entry["not_valid_after"]),
        not_valid_before=datetime.fromisoformat(entry["not_valid_before"]),
        other_extensions=[(int(kind), b64decode(data)) for kind, data in entry["other_extensions"]],
        resumption_secret=b64decode(entry["resumption_secret"]),
        server_name=str(entry["server_name"]),
        ticket=b64decode(entry["ticket"]),
    )
    return KeptTicket(ticket, b64decode(entry["certificate"]))


def _text(data: bytes) -> str:
    return b64encode(data).decode()
