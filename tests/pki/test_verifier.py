"""Every way in which a claim is refused, with its reason; and the claims that hold."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.pki.certificates import NODE_URI, NOW, Made, make
from twingateway.errors import CertificateError, NotAuthorized, Unavailable
from twingateway.mqtt.auth import Identity, Verifier
from twingateway.pki.authority import create_authority, issue, revoke
from twingateway.pki.credential import NodeCredential
from twingateway.pki.verifier import ChainVerifier

EDGE = Identity("default", "edge-1")
#: One certificate for all examples of the property test.
_KEPT: dict[int, Made] = {}


def sign(made: Made, data: bytes = b"data") -> bytes:
    return made.key.sign(data, ec.ECDSA(hashes.SHA256()))


def edge(issuer: Made, **how: Any) -> Made:
    return make("edge-1", issuer, uris=[NODE_URI], **how)


def check(ca_file: Path, *chain: Made, node: str = "edge-1", now: float = NOW) -> Identity:
    verifier: Verifier = ChainVerifier(ca_file)
    return verifier.verify([entry.der for entry in chain], node, sign(chain[0]), b"data", now)


def refused(ca_file: Path, *chain: Made, because: str, **how: Any) -> None:
    with pytest.raises(NotAuthorized, match=because):
        check(ca_file, *chain, **how)


def test_a_node_below_the_authority_is_let_in(root: Made, ca_file: Path):
    assert check(ca_file, edge(root)) == EDGE


def test_the_chain_may_end_with_the_authority_itself(root: Made, ca_file: Path):
    assert check(ca_file, edge(root), root) == EDGE


def test_two_intermediates_are_followed(root: Made, ca_file: Path):
    region = make("region", root, ca=True, path_length=1)
    site = make("site", region, ca=True, path_length=0)
    assert check(ca_file, edge(site), site, region) == EDGE


def test_a_token_in_place_of_a_signature_spares_nothing_else(root: Made, ca_file: Path):
    verifier = ChainVerifier(ca_file)
    assert verifier.verify([edge(root).der], "edge-1", None, b"", NOW) == EDGE
    with pytest.raises(NotAuthorized, match="expired"):
        verifier.verify([edge(root).der], "edge-1", None, b"", NOW + 10 * 86400)


def test_several_authorities_may_be_trusted(root: Made, ca_file: Path):
    other = make("other", ca=True)
    ca_file.write_bytes(root.pem + other.pem)
    assert check(ca_file, edge(root)) == check(ca_file, edge(other)) == EDGE


def test_no_chain(ca_file: Path):
    with pytest.raises(NotAuthorized, match="no certificate was presented"):
        ChainVerifier(ca_file).verify([], "edge-1", b"", b"", NOW)


def test_too_long_a_chain(root: Made, ca_file: Path):
    refused(ca_file, edge(root), *[root] * 4, because="has 5 certificates; at most 4")


def test_what_is_not_a_certificate(root: Made, ca_file: Path):
    with pytest.raises(NotAuthorized, match="number 2 of the chain is not a certificate"):
        ChainVerifier(ca_file).verify([edge(root).der, b"junk"], "edge-1", b"", b"", NOW)


def test_a_foreign_authority(ca_file: Path):
    foreign = make("foreign", ca=True)
    refused(ca_file, edge(foreign), because="issued by 'CN=foreign', which is not trusted here")
    refused(ca_file, edge(foreign), foreign, because="not trusted here")


def test_a_foreign_authority_of_the_same_name(ca_file: Path):
    refused(ca_file, edge(make("root", ca=True)), because="not trusted here")


def test_a_certificate_that_signs_itself(ca_file: Path):
    refused(ca_file, make("edge-1", uris=[NODE_URI]), because="not trusted here")


def test_a_chain_with_a_gap(root: Made, ca_file: Path):
    region = make("region", root, ca=True)
    site = make("site", region, ca=True)
    refused(ca_file, edge(site), region, because="issued by 'CN=site'")


def test_an_expired_certificate(root: Made, ca_file: Path):
    refused(ca_file, edge(root), now=NOW + 2 * 86400, because="'CN=edge-1' expired on .* issue a new one")


def test_a_certificate_that_is_not_yet_valid(root: Made, ca_file: Path):
    refused(ca_file, edge(root), now=NOW - 2 * 86400, because="not valid before .* check the clocks")


def test_an_expired_intermediate(root: Made, ca_file: Path):
    site = make("site", root, ca=True, end=timedelta(hours=-1))
    refused(ca_file, edge(site), site, because="'CN=site' expired")


def test_an_expired_authority(tmp_path: Path):
    old = make("old", ca=True, end=timedelta(hours=-1))
    (tmp_path / "old.pem").write_bytes(old.pem)
    refused(tmp_path / "old.pem", edge(old), because="'CN=old' expired")


def test_a_node_that_issues_certificates(root: Made, ca_file: Path):
    thief = make("edge-2", root, uris=["twingateway://default/edge-2"])
    refused(ca_file, edge(thief), thief, because="'CN=edge-2' may not issue others")


def test_an_authority_whose_key_may_not_sign_certificates(root: Made, ca_file: Path):
    usage = x509.KeyUsage(True, False, False, False, False, False, True, False, False)
    site = make("site", root, ca=True, extra=[(usage, True)])
    refused(ca_file, edge(site), site, because="'CN=site' may not issue others")


def test_more_intermediates_than_allowed(root: Made, ca_file: Path):
    region = make("region", root, ca=True, path_length=0)
    site = make("site", region, ca=True)
    refused(ca_file, edge(site), site, region, because="'CN=region' does not allow that many")


def test_a_condition_that_is_not_understood(root: Made, ca_file: Path):
    odd = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    refused(ca_file, edge(root, extra=[(odd, True)]), because="a condition that is not understood")
    assert check(ca_file, edge(root, extra=[(odd, False)])) == EDGE


def test_limits_on_names_are_not_passed_over(root: Made, ca_file: Path):
    limits = x509.NameConstraints([x509.DNSName("example.com")], None)
    site = make("site", root, ca=True, extra=[(limits, True)])
    refused(ca_file, edge(site), site, because="a condition that is not understood")


def test_a_server_only_certificate(root: Made, ca_file: Path):
    server = edge(root, usages=[ExtendedKeyUsageOID.SERVER_AUTH])
    refused(ca_file, server, because="not meant for proving a client's name")
    assert check(ca_file, edge(root, usages=None)) == EDGE


def test_a_key_not_meant_for_signatures(root: Made, ca_file: Path):
    usage = x509.KeyUsage(False, False, True, False, False, False, False, False, False)
    refused(ca_file, edge(root, extra=[(usage, True)]), because="not meant for proving")


def test_another_nodes_certificate(root: Made, ca_file: Path):
    refused(ca_file, edge(root), node="edge-2", because="for node 'edge-1', not for 'edge-2'")


def test_a_certificate_without_a_node(root: Made, ca_file: Path):
    refused(ca_file, make("edge-1", root), because="names no node")
    refused(ca_file, make("edge-1", root, uris=["https://edge-1"]), because="names no node")


def test_a_certificate_of_several_nodes(root: Made, ca_file: Path):
    refused(ca_file, make("edge-1", root, uris=[NODE_URI, NODE_URI + "2"]), because="more than one node")


@pytest.mark.parametrize("path", ["", "edge-1", "default/", "/edge-1", "default/a/b", "default/..", "a b/edge-1"])
def test_a_certificate_with_a_name_that_is_none(root: Made, ca_file: Path, path: str):
    refused(ca_file, make("edge-1", root, uris=[f"twingateway://{path}"]), because="is not a node's name")


@pytest.mark.parametrize("signature", [b"", b"junk", bytes(64)])
def test_a_signature_that_is_none(root: Made, ca_file: Path, signature: bytes):
    with pytest.raises(NotAuthorized, match="not made with the key of node 'edge-1'"):
        ChainVerifier(ca_file).verify([edge(root).der], "edge-1", signature, b"data", NOW)


def test_a_signature_over_something_else_or_with_another_key(root: Made, ca_file: Path):
    node = edge(root)
    for signature in (sign(node, b"other"), sign(root)):
        with pytest.raises(NotAuthorized, match="not made with the key"):
            ChainVerifier(ca_file).verify([node.der], "edge-1", signature, b"data", NOW)


def test_a_short_rsa_key(root: Made, ca_file: Path):
    weak = edge(root, key=rsa.generate_private_key(65537, 1024))
    for signature in (b"x", None):
        with pytest.raises(NotAuthorized, match="1024 bits"):
            ChainVerifier(ca_file).verify([weak.der], "edge-1", signature, b"", NOW)


def test_revocation_takes_effect_without_a_restart(tmp_path: Path):
    create_authority(tmp_path)
    credentials = []
    for name in ("edge-1", "edge-2"):
        issued = issue(tmp_path, name)
        credentials.append(NodeCredential.load(issued.certificate, issued.key))
    verifier = ChainVerifier(tmp_path / "ca.crt", tmp_path / "ca.crl")
    for credential in credentials:
        verifier.verify(credential.chain, credential.node, credential.sign(b"n"), b"n", NOW + 60)
    revoke(tmp_path, "edge-1")
    with pytest.raises(NotAuthorized, match="'CN=edge-1' was revoked"):
        verifier.verify(credentials[0].chain, "edge-1", None, b"", NOW + 60)
    assert verifier.verify(credentials[1].chain, "edge-2", None, b"", NOW + 60).node == "edge-2"


def test_a_new_authority_takes_effect_without_a_restart(root: Made, ca_file: Path):
    verifier, new = ChainVerifier(ca_file), make("new", ca=True)
    with pytest.raises(NotAuthorized, match="not trusted here"):
        verifier.verify([edge(new).der], "edge-1", None, b"", NOW)
    ca_file.write_bytes(new.pem)
    assert verifier.verify([edge(new).der], "edge-1", None, b"", NOW) == EDGE
    with pytest.raises(NotAuthorized, match="not trusted here"):
        verifier.verify([edge(root).der], "edge-1", None, b"", NOW)


def test_a_list_that_becomes_unreadable_lets_nobody_in_until_it_is_repaired(tmp_path: Path):
    create_authority(tmp_path)
    issued = issue(tmp_path, "edge-1")
    chain = NodeCredential.load(issued.certificate, issued.key).chain
    verifier = ChainVerifier(issued.ca, crl := tmp_path / "ca.crl")
    good = crl.read_bytes()
    for broken in (b"", b"junk", good[:-30], good + b"-----BEGIN X509 CRL-----\n"):
        crl.write_bytes(broken)
        with pytest.raises(Unavailable, match="cannot be checked here"):
            verifier.verify(chain, "edge-1", None, b"", NOW + 60)
    crl.unlink()
    with pytest.raises(Unavailable, match="cannot be checked here") as refusal:
        verifier.verify(chain, "edge-1", None, b"", NOW + 60)
    assert str(tmp_path) not in refusal.value.message
    crl.write_bytes(good)
    assert verifier.verify(chain, "edge-1", None, b"", NOW + 60) == EDGE


def test_a_forged_list_lets_nobody_in(tmp_path: Path, root: Made, ca_file: Path):
    forger = make("root", ca=True)
    (tmp_path / "list").write_bytes(_revocations(forger))
    with pytest.raises(NotAuthorized, match="not signed by it"):
        ChainVerifier(ca_file, tmp_path / "list").verify([edge(root).der], "edge-1", None, b"", NOW)


def test_lists_of_several_authorities_stand_in_one_file(tmp_path: Path, root: Made, ca_file: Path):
    site = make("site", root, ca=True)
    namesake = make("root", ca=True)
    node, gone = edge(site), edge(site)
    serial = gone.certificate.serial_number
    lists = [_revocations(namesake), _revocations(root), _revocations(site, serial)]
    (tmp_path / "list").write_bytes(b"".join(lists))
    verifier = ChainVerifier(ca_file, tmp_path / "list")
    assert verifier.verify([node.der, site.der], "edge-1", None, b"", NOW) == EDGE
    with pytest.raises(NotAuthorized, match="revoked"):
        verifier.verify([gone.der, site.der], "edge-1", None, b"", NOW)


def test_a_revoked_intermediate(tmp_path: Path, root: Made, ca_file: Path):
    site = make("site", root, ca=True)
    (tmp_path / "list").write_bytes(_revocations(root, site.certificate.serial_number))
    with pytest.raises(NotAuthorized, match="'CN=site' was revoked"):
        ChainVerifier(ca_file, tmp_path / "list").verify([edge(site).der, site.der], "edge-1", None, b"", NOW)


def test_files_that_are_missing_at_the_start_are_named(tmp_path: Path, ca_file: Path):
    with pytest.raises(CertificateError, match=r"absent\.pem"):
        ChainVerifier(tmp_path / "absent.pem")
    with pytest.raises(CertificateError, match=r"absent\.crl"):
        ChainVerifier(ca_file, tmp_path / "absent.crl")


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10_000), st.integers(1, 255))
@example(4, 1)
def test_no_changed_byte_is_let_in_or_breaks_anything(root: Made, ca_file: Path, position: int, flip: int):
    der = bytearray(_KEPT.setdefault(id(root), edge(root)).der)
    der[position % len(der)] ^= flip
    with pytest.raises(NotAuthorized):
        ChainVerifier(ca_file).verify([bytes(der)], "edge-1", None, b"", NOW)


def test_a_signature_of_which_a_bit_is_called_unused_is_not_let_in(root: Made, ca_file: Path):
    made = next(each for each in iter(lambda: edge(root), None) if each.certificate.signature[-1] % 2 == 0)
    der = bytearray(made.der)
    der[-len(made.certificate.signature) - 1] = 1
    with pytest.raises(NotAuthorized, match="DER"):
        ChainVerifier(ca_file).verify([bytes(der)], "edge-1", None, b"", NOW)


def _revocations(issuer: Made, *serials: int) -> bytes:
    begin, end = issuer.certificate.not_valid_before_utc, issuer.certificate.not_valid_after_utc
    builder = x509.CertificateRevocationListBuilder(issuer.certificate.subject, begin, end)
    for serial in serials:
        builder = builder.add_revoked_certificate(
            x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(begin).build()
        )
    return builder.sign(issuer.key, hashes.SHA256()).public_bytes(Encoding.PEM)
