"""The role in a certificate, by which a device over Modbus/TCP Security decides which functions a client may use.

It is one UTF-8 string in an extension of its own; a certificate without it has no role.
"""

from __future__ import annotations

from pathlib import Path

from twingateway_modbus.address import AddressSettings, Transport
from twingateway_modbus.exceptions import ILLEGAL_FUNCTION

_OID = "1.3.6.1.4.1.50316.802.1"
_UTF8_STRING = 0x0C
_SHORT = 0x80


def role_in(certificate: bytes) -> str | None:
    """Of a certificate in DER; None if it has none that can be read."""
    from cryptography import x509

    try:
        found = x509.load_der_x509_certificate(certificate).extensions.get_extension_for_oid(
            x509.ObjectIdentifier(_OID)
        )
        return _text(found.value.public_bytes())
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension):
        return None


def _text(content: bytes) -> str:
    """Of a UTF-8 string in DER. Raises ValueError."""
    if len(content) < 2 or content[0] != _UTF8_STRING or content[1] >= _SHORT or len(content) != 2 + content[1]:
        raise ValueError("not a short UTF-8 string")
    return content[2:].decode()


def refusal_hint(address: AddressSettings, code: int) -> str:
    """What an exception may mean besides where roles count: the end of a sentence."""
    if code != ILLEGAL_FUNCTION or address.transport is not Transport.TLS:
        return ""
    file = None if address.tls is None else address.tls.certificate_file
    role = None if file is None else _role_in_file(file)
    mine = "our certificate, which names none" if role is None else f"our certificate, {role!r}"
    if file is None:
        mine = "a certificate, and we show none"
    return f"; the function may need another role than that of {mine}"


def _role_in_file(file: Path) -> str | None:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    try:
        return role_in(x509.load_pem_x509_certificate(file.read_bytes()).public_bytes(Encoding.DER))
    except (OSError, ValueError):
        return None
