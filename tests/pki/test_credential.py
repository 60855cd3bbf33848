"""A node's own certificate and key: loading, signing, rotation, and what is wrong with them in words."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from tests.pki.certificates import NODE_URI, NOW, Made, make
from twingateway.errors import CertificateError
from twingateway.mqtt.auth import Credential, Identity
from twingateway.pki.authority import create_authority, issue
from twingateway.pki.credential import NodeCredential
from twingateway.pki.verifier import ChainVerifier


def write(directory: Path, made: Made, *above: Made) -> tuple[Path, Path]:
    certificate, key = directory / "node.crt", directory / "node.key"
    certificate.write_bytes(b"".join(entry.pem for entry in (made, *above)))
    key.write_bytes(made.key_pem)
    return certificate, key


def test_an_issued_credential_proves_its_name(tmp_path: Path):
    create_authority(tmp_path)
    issued = issue(tmp_path, "edge-1", namespace="plant")
    credential: Credential = NodeCredential.load(issued.certificate, issued.key)
    assert (credential.namespace, credential.node, len(credential.chain)) == ("plant", "edge-1", 1)
    verifier = ChainVerifier(issued.ca, tmp_path / "ca.crl")
    signature = credential.sign(b"nonce")
    assert verifier.verify(credential.chain, "edge-1", signature, b"nonce", NOW + 60) == Identity("plant", "edge-1")


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.generate(),
        rsa.generate_private_key(65537, 2048),
    ],
    ids=["P-384", "Ed25519", "RSA"],
)
def test_other_kinds_of_key_work_too(tmp_path: Path, root: Made, ca_file: Path, key: object):
    intermediate = make("site", root, ca=True)
    files = write(tmp_path, make("edge-1", intermediate, uris=[NODE_URI], key=key), intermediate)
    credential = NodeCredential.load(*files)
    verifier = ChainVerifier(ca_file)
    assert verifier.verify(credential.chain, "edge-1", credential.sign(b"n"), b"n", NOW).node == "edge-1"


def test_rotated_files_are_taken_into_use_together(tmp_path: Path, root: Made):
    files = write(tmp_path, make("edge-1", root, uris=[NODE_URI]))
    credential = NodeCredential.load(*files)
    old = credential.chain
    renewed = make("edge-1", root, uris=[NODE_URI])
    files[0].write_bytes(renewed.pem)
    assert credential.chain == old
    assert "is not the key of" in credential.problem
    credential.sign(b"still possible")
    files[1].write_bytes(renewed.key_pem)
    assert credential.chain == (renewed.der,)
    assert credential.expires == renewed.certificate.not_valid_after_utc
    assert credential.problem == ""
    renewed.key.public_key().verify(
        credential.sign(b"n"), b"n", ec.ECDSA(renewed.certificate.signature_hash_algorithm)
    )


def test_a_certificate_of_another_node_is_not_taken_into_use(tmp_path: Path, root: Made):
    credential = NodeCredential.load(*write(tmp_path, make("edge-1", root, uris=[NODE_URI])))
    old = credential.chain
    write(tmp_path, make("edge-2", root, uris=["twingateway://default/edge-2"]))
    assert credential.chain == old
    assert "default/edge-2" in credential.problem


def test_files_that_vanish_leave_the_credential_as_it_was(tmp_path: Path, root: Made):
    files = write(tmp_path, make("edge-1", root, uris=[NODE_URI]))
    credential = NodeCredential.load(*files)
    files[1].unlink()
    assert len(credential.chain) == 1
    assert "cannot be read" in credential.problem


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(CertificateError, match=r"absent\.crt cannot be read"):
        NodeCredential.load(tmp_path / "absent.crt", tmp_path / "absent.key")


@pytest.mark.parametrize("which", [0, 1])
def test_a_file_of_something_else_is_named(tmp_path: Path, root: Made, which: int):
    files = write(tmp_path, make("edge-1", root, uris=[NODE_URI]))
    files[which].write_text("nothing of the kind")
    with pytest.raises(CertificateError, match=f"{files[which].name} holds no"):
        NodeCredential.load(*files)


def test_a_key_with_a_password_is_refused(tmp_path: Path, root: Made):
    made = make("edge-1", root, uris=[NODE_URI])
    files = write(tmp_path, made)
    files[1].write_bytes(made.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")))
    with pytest.raises(CertificateError, match="unencrypted private key"):
        NodeCredential.load(*files)


def test_a_key_of_another_certificate_is_refused(tmp_path: Path, root: Made):
    files = write(tmp_path, make("edge-1", root, uris=[NODE_URI]))
    files[1].write_bytes(root.key_pem)
    with pytest.raises(CertificateError, match="is not the key of"):
        NodeCredential.load(*files)


@pytest.mark.parametrize("uris", [[], ["https://edge-1"], [NODE_URI, NODE_URI + "2"], ["twingateway://default/a b"]])
def test_a_certificate_that_names_no_single_node_is_refused(tmp_path: Path, root: Made, uris: list[str]):
    with pytest.raises(CertificateError, match=r"node\.crt: .*node"):
        NodeCredential.load(*write(tmp_path, make("edge-1", root, uris=uris)))


def test_a_short_rsa_key_is_refused(tmp_path: Path, root: Made):
    weak = make("edge-1", root, uris=[NODE_URI], key=rsa.generate_private_key(65537, 1024))
    with pytest.raises(CertificateError, match="1024 bits"):
        NodeCredential.load(*write(tmp_path, weak))
