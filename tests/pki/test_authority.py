"""What the authority writes, what it refuses, and that aioquic can use it."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest
from aioquic.asyncio import QuicConnectionProtocol, connect, serve
from aioquic.quic.configuration import QuicConfiguration
from cryptography import x509

from twingateway.errors import CertificateError
from twingateway.pki.authority import create_authority, issue, revoke
from twingateway.pki.identity import identity_of


def test_keys_are_private_and_nothing_else_is_left(tmp_path: Path):
    authority = create_authority(tmp_path / "pki")
    issued = issue(tmp_path / "pki", "edge-1", hosts=["localhost"])
    names = {file.name: stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "pki").iterdir()}
    assert sorted(names) == ["ca.crl", "ca.crt", "ca.issued", "ca.key", "edge-1.crt", "edge-1.key"]
    assert names["ca.key"] == names["edge-1.key"] == 0o600
    assert issued.ca == authority.certificate
    assert 824 <= (issued.expires - authority.expires).days + 3652 <= 826


def test_a_node_certificate_says_what_it_is_for(tmp_path: Path):
    create_authority(tmp_path)
    issued = issue(tmp_path, "edge-1", hosts=["edge.example", "10.0.0.7", "::1"], namespace="plant", days=10)
    assert issued.certificate == tmp_path / "plant" / "edge-1.crt"
    certificate = x509.load_pem_x509_certificate(issued.certificate.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["twingateway://plant/edge-1"]
    assert names.get_values_for_type(x509.DNSName) == ["edge.example"]
    assert list(map(str, names.get_values_for_type(x509.IPAddress))) == ["10.0.0.7", "::1"]
    assert certificate.subject.rfc4514_string() == "CN=edge-1"
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert [oid._name for oid in usage] == ["serverAuth", "clientAuth"]


def test_a_device_certificate_makes_its_owner_no_node(tmp_path: Path):
    create_authority(tmp_path)
    plain = issue(tmp_path, "gateway", device=True)
    named = issue(tmp_path, "plc", hosts=["10.0.0.5"], role="operator", device=True)
    for issued in (plain, named):
        certificate = x509.load_pem_x509_certificate(issued.certificate.read_bytes())
        with pytest.raises(CertificateError):
            identity_of(certificate)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(map(str, names.get_values_for_type(x509.IPAddress))) == ["10.0.0.5"]
    assert revoke(tmp_path, "plc").certificates == 1


def test_a_role_is_an_extension_of_modbus_security(tmp_path: Path):
    create_authority(tmp_path)
    issued = issue(tmp_path, "edge-1", role="bedienung/ö")
    certificate = x509.load_pem_x509_certificate(issued.certificate.read_bytes())
    role = certificate.extensions.get_extension_for_oid(x509.ObjectIdentifier("1.3.6.1.4.1.50316.802.1"))
    assert not role.critical
    assert role.value.public_bytes() == b"\x0c\x0c" + "bedienung/ö".encode()
    assert identity_of(certificate).node == "edge-1"


@pytest.mark.parametrize("role", ["", " ", "operator ", "a\nb", "x" * 128])
def test_a_role_that_is_no_name_is_refused(tmp_path: Path, role: str):
    create_authority(tmp_path)
    with pytest.raises(CertificateError, match="no name of a role"):
        issue(tmp_path, "edge-1", role=role)
    assert not (tmp_path / "edge-1.crt").exists()


def test_two_authorities_have_different_names(tmp_path: Path):
    names = {
        x509.load_pem_x509_certificate(create_authority(tmp_path / part).certificate.read_bytes()).subject
        for part in ("a", "b")
    }
    assert len(names) == 2


def test_nothing_is_overwritten_unless_forced(tmp_path: Path):
    files = create_authority(tmp_path)
    issued = issue(tmp_path, "edge-1")
    before = [file.read_bytes() for file in (files.key, issued.key, issued.certificate)]
    with pytest.raises(CertificateError, match="exists already"):
        create_authority(tmp_path)
    with pytest.raises(CertificateError, match="exists already"):
        issue(tmp_path, "edge-1")
    assert [file.read_bytes() for file in (files.key, issued.key, issued.certificate)] == before
    issue(tmp_path, "edge-1", force=True)
    create_authority(tmp_path, force=True)
    after = [file.read_bytes() for file in (files.key, issued.key, issued.certificate)]
    assert not set(before) & set(after)


@pytest.mark.parametrize("name", ["", "ca", "CA", "../edge", "a/b", "-edge", "ed ge", "x" * 129])
def test_a_name_that_is_none_is_refused(tmp_path: Path, name: str):
    create_authority(tmp_path)
    with pytest.raises(CertificateError):
        issue(tmp_path, name)
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("host", ["", "a b", "http://edge", "edge:8080", "bücher.example"])
def test_a_host_that_is_none_is_refused(tmp_path: Path, host: str):
    create_authority(tmp_path)
    with pytest.raises(CertificateError, match="neither a DNS name nor an IP address"):
        issue(tmp_path, "edge-1", hosts=[host])


def test_a_long_name_does_not_break_the_common_name(tmp_path: Path):
    create_authority(tmp_path, name="n" * 100)
    assert issue(tmp_path, "x" * 128).certificate.exists()


def test_issuing_without_an_authority_says_what_to_do(tmp_path: Path):
    with pytest.raises(CertificateError, match="twingateway pki init"):
        issue(tmp_path, "edge-1")


def test_a_key_of_another_authority_is_refused(tmp_path: Path):
    create_authority(tmp_path / "a")
    other = create_authority(tmp_path / "b")
    (tmp_path / "a" / "ca.key").write_bytes(other.key.read_bytes())
    with pytest.raises(CertificateError, match="is not the key of"):
        issue(tmp_path / "a", "edge-1")


def test_revoking_covers_every_certificate_of_that_name(tmp_path: Path):
    create_authority(tmp_path)
    first = issue(tmp_path, "edge-1").certificate.read_bytes()
    second = issue(tmp_path, "edge-1", force=True).certificate.read_bytes()
    other = issue(tmp_path, "edge-2").certificate.read_bytes()
    namesake = issue(tmp_path, "edge-1", namespace="plant").certificate.read_bytes()
    revoked = revoke(tmp_path, "edge-1")
    assert (revoked.name, revoked.certificates) == ("edge-1", 2)
    revoke(tmp_path, "edge-2")
    listed = {entry.serial_number for entry in x509.load_pem_x509_crl(revoked.revocations.read_bytes())}
    serials = [x509.load_pem_x509_certificate(pem).serial_number for pem in (first, second, other, namesake)]
    assert listed == set(serials[:3])


def test_revoking_an_unknown_name_is_refused(tmp_path: Path):
    create_authority(tmp_path)
    with pytest.raises(CertificateError, match="no certificate was issued to default/edge-9"):
        revoke(tmp_path, "edge-9")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_aioquic_shakes_hands_with_an_issued_certificate(tmp_path: Path, host: str):
    create_authority(tmp_path)
    issued = issue(tmp_path, "cloud", hosts=["localhost", "127.0.0.1"])
    port = await _serve(issued.certificate, issued.key)
    client = QuicConfiguration(is_client=True, alpn_protocols=["mqtt"], server_name=host)
    client.load_verify_locations(cafile=str(issued.ca))
    async with connect("127.0.0.1", port, configuration=client) as connection:
        await asyncio.wait_for(connection.ping(), 5)


@pytest.mark.parametrize("wrong", ["name", "authority"])
async def test_aioquic_refuses_another_name_or_authority(tmp_path: Path, wrong: str):
    create_authority(tmp_path / "a")
    foreign = create_authority(tmp_path / "b").certificate
    issued = issue(tmp_path / "a", "cloud", hosts=["localhost"])
    port = await _serve(issued.certificate, issued.key)
    name, ca = ("other.example", issued.ca) if wrong == "name" else ("localhost", foreign)
    client = QuicConfiguration(is_client=True, alpn_protocols=["mqtt"], server_name=name)
    client.load_verify_locations(cafile=str(ca))
    with pytest.raises(ConnectionError):
        async with connect("127.0.0.1", port, configuration=client):
            pass


async def _serve(certificate: Path, key: Path) -> int:
    configuration = QuicConfiguration(is_client=False, alpn_protocols=["mqtt"])
    configuration.load_cert_chain(certificate, key)
    server = await serve("127.0.0.1", 0, configuration=configuration, create_protocol=QuicConnectionProtocol)
    return server._transport.get_extra_info("sockname")[1]
