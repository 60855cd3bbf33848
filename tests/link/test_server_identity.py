"""Certificates that are replaced while a listener runs."""

from __future__ import annotations

import shutil

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.link.recorder import Recorder
from twingateway.errors import CertificateError
from twingateway.link.quic_client import QuicDialer
from twingateway.link.quic_server import listen_quic
from twingateway.link.server_identity import ServerIdentity
from twingateway.link.tickets import TicketStore
from twingateway.link.tls_client import TlsDialer
from twingateway.link.tls_server import listen_tls


def der(file) -> bytes:
    return x509.load_pem_x509_certificate(file.read_bytes()).public_bytes(Encoding.DER)


@pytest.fixture
def rotation(authority, tmp_path):
    """The files in use, and a function that replaces one of them by that of a second pair."""
    first, second = authority.issue("first"), authority.issue("second")
    files = tmp_path / "server.crt", tmp_path / "server.key"
    for origin, file in zip(first, files, strict=True):
        shutil.copy(origin, file)

    def replace(which: int) -> None:
        fresh = tmp_path / "fresh"
        shutil.copy(second[which], fresh)
        fresh.replace(files[which])

    return files, replace, der(first[0]), der(second[0])


def test_a_pair_that_does_not_fit_together_is_not_used(rotation):
    files, replace, old, new = rotation
    identity = ServerIdentity(*files)
    replace(0)
    assert identity.pair.der == old, "the key is not there yet"
    replace(1)
    assert identity.pair.der == new
    files[1].unlink()
    assert identity.pair.der == new


def test_files_that_are_no_use_at_the_start_are_refused(rotation):
    files, replace, _, _ = rotation
    replace(1)
    with pytest.raises(CertificateError, match="is not that of"):
        ServerIdentity(*files)


async def test_new_links_show_the_new_certificate_over_quic_and_tls_and_old_ones_live_on(
    authority, rotation, tmp_path
):
    files, replace, old, new = rotation
    identity = ServerIdentity(*files)
    quic = await listen_quic("127.0.0.1", 0, identity=identity, make_handler=Recorder)
    tls = await listen_tls("127.0.0.1", 0, identity=identity, make_handler=Recorder)
    tickets = TicketStore(tmp_path / "tickets.json")
    dialers = [
        QuicDialer(*quic.address, ca_file=authority.file, tickets=tickets),
        TlsDialer(*tls.address, ca_file=authority.file),
    ]
    links = [await dialer.dial(Recorder()) for dialer in dialers]
    assert [link.server_certificate for link in links] == [old, old]
    resumed = await dialers[0].dial(Recorder())
    assert resumed.resumed
    replace(0)
    replace(1)
    later = [await dialer.dial(Recorder()) for dialer in dialers]
    assert [link.server_certificate for link in later] == [new, new], "a ticket of the old certificate is not taken"
    assert [link.server_certificate for link in links] == [old, old]
    for link in (*links, *later, resumed):
        link.close()
    await quic.close()
    await tls.close()
