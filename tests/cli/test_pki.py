from __future__ import annotations

from pathlib import Path

from cryptography import x509

from tests.cli.conftest import Run
from twingateway.cli.exit_codes import ExitCode

ROLE = x509.ObjectIdentifier("1.3.6.1.4.1.50316.802.1")


def test_an_authority_and_a_node(cli: Run, tmp_path: Path) -> None:
    folder = tmp_path / "pki"
    assert cli("pki", "init", folder).exit_code == 0
    result = cli(
        "pki", "issue", folder, "cloud-1", "--host", "cloud.example.org", "--host", "10.0.0.1", "--days", "30"
    )
    assert result.exit_code == 0, result.output
    certificate = x509.load_pem_x509_certificate((folder / "cloud-1.crt").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["cloud.example.org"]
    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.1"]
    assert 29 <= (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days <= 31
    for name in ("cloud-1.crt", "cloud-1.key", "ca.crt"):
        assert str(folder / name) in result.stdout
    assert result.stderr == ""
    assert "no other node can use it as its parent" in cli("pki", "issue", folder, "edge-1").stderr


def test_nothing_is_replaced_unless_forced(cli: Run, tmp_path: Path) -> None:
    cli("pki", "init", tmp_path)
    cli("pki", "issue", tmp_path, "edge-1")
    before = (tmp_path / "edge-1.crt").read_bytes()
    again = cli("pki", "issue", tmp_path, "edge-1")
    assert again.exit_code == ExitCode.NOT_ALLOWED
    assert again.stderr.startswith("error: ")
    assert (tmp_path / "edge-1.crt").read_bytes() == before
    assert cli("pki", "issue", tmp_path, "edge-1", "--force").exit_code == 0
    assert (tmp_path / "edge-1.crt").read_bytes() != before
    assert cli("pki", "init", tmp_path).exit_code == ExitCode.NOT_ALLOWED


def test_revoking_counts_the_certificates(cli: Run, tmp_path: Path) -> None:
    cli("pki", "init", tmp_path)
    cli("pki", "issue", tmp_path, "edge-1", "--namespace", "plant-7")
    assert (tmp_path / "plant-7" / "edge-1.crt").exists()
    unknown = cli("pki", "revoke", tmp_path, "edge-1")
    assert unknown.exit_code == ExitCode.NOT_ALLOWED
    done = cli("pki", "revoke", tmp_path, "edge-1", "--namespace", "plant-7")
    assert done.exit_code == 0
    assert done.stdout.startswith("1 certificate of edge-1 revoked")
    assert "identity.crl" in done.stdout


def test_without_an_authority_nothing_is_issued(cli: Run, tmp_path: Path) -> None:
    result = cli("pki", "issue", tmp_path, "edge-1")
    assert result.exit_code == ExitCode.NOT_ALLOWED
    assert "twingateway pki init" in result.stderr


def test_a_device_and_a_client_with_a_role(cli: Run, tmp_path: Path) -> None:
    cli("pki", "init", tmp_path)
    result = cli("pki", "issue", tmp_path, "modbus-client", "--device", "--role", "operator")
    assert result.exit_code == 0, result.output
    assert f"{tmp_path / 'modbus-client.key'}  key_file" in result.stdout
    certificate = x509.load_pem_x509_certificate((tmp_path / "modbus-client.crt").read_bytes())
    assert b"operator" in certificate.extensions.get_extension_for_oid(ROLE).value.public_bytes()
