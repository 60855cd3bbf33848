"""Tickets: used once, kept across restarts, for the owner's eyes only."""

from __future__ import annotations

import datetime
import stat

import pytest
from aioquic.tls import CipherSuite, SessionTicket
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from twingateway.link.tickets import MOST_SERVERS, TicketBook, TicketStore


def make_ticket(label: bytes = b"label", *, days: float = 1.0) -> SessionTicket:
    now = datetime.datetime.now(datetime.UTC)
    return SessionTicket(
        age_add=7,
        cipher_suite=CipherSuite.AES_256_GCM_SHA384,
        not_valid_after=now + datetime.timedelta(days=days),
        not_valid_before=now - datetime.timedelta(days=2),
        resumption_secret=b"secret",
        server_name="cloud",
        ticket=label,
        max_early_data_size=0xFFFFFFFF,
        other_extensions=[(57, b"parameters")],
    )


def der(path) -> bytes:
    return x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER)


@pytest.fixture
def certificate(server_files) -> bytes:
    return der(server_files[0])


def test_a_ticket_survives_a_restart_and_is_popped_once(tmp_path, certificate):
    path = tmp_path / "tickets.json"
    TicketStore(path).keep("cloud", make_ticket(), certificate)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    kept = TicketStore(path).pop("cloud")
    assert kept.certificate == certificate
    assert kept.ticket.resumption_secret == b"secret"
    assert kept.ticket.cipher_suite is CipherSuite.AES_256_GCM_SHA384
    assert kept.ticket.other_extensions == [(57, b"parameters")]
    assert kept.ticket.max_early_data_size == 0xFFFFFFFF
    assert TicketStore(path).pop("cloud") is None


def test_the_newest_of_each_server_is_kept_and_few_servers(tmp_path, certificate):
    store = TicketStore(tmp_path / "tickets.json")
    store.keep("cloud", make_ticket(b"old"), certificate)
    store.keep("cloud", make_ticket(b"new"), certificate)
    assert store.pop("cloud").ticket.ticket == b"new"
    for number in range(MOST_SERVERS + 1):
        store.keep(f"server {number}", make_ticket(), certificate)
    assert store.pop("server 0") is None
    assert store.pop("server 1") is not None


def test_neither_an_expired_ticket_nor_one_of_an_expired_certificate_is_used(tmp_path, authority, certificate):
    store = TicketStore(tmp_path / "tickets.json")
    store.keep("cloud", make_ticket(days=-1), certificate)
    assert store.pop("cloud") is None
    store.keep("cloud", make_ticket(), der(authority.issue("was-valid", days=-1)[0]))
    assert store.pop("cloud") is None


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"cloud": {}}', b'{"cloud": 3}', b"\xff\xff"])
def test_a_damaged_file_means_no_ticket_and_is_written_anew(tmp_path, certificate, text):
    path = tmp_path / "tickets.json"
    path.write_bytes(text)
    store = TicketStore(path)
    assert store.pop("cloud") is None
    store.keep("cloud", make_ticket(), certificate)
    assert store.pop("cloud") is not None


def test_a_folder_that_cannot_be_written_costs_only_the_ticket(tmp_path, certificate):
    store = TicketStore(tmp_path / "missing" / "tickets.json")
    store.keep("cloud", make_ticket(), certificate)
    assert store.pop("cloud") is None


def test_a_servers_book_is_bounded_and_gives_each_ticket_once():
    book = TicketBook(most=2)
    for label in (b"1", b"2", b"3"):
        book.add(make_ticket(label))
    assert book.pop(b"1") is None
    assert book.pop(b"3").ticket.ticket == b"3"
    assert book.pop(b"3") is None
