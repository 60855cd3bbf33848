"""The role that Modbus/TCP Security looks for in a client's certificate: one UTF-8 string in an extension."""

from __future__ import annotations

from cryptography import x509

from twingateway.errors import CertificateError

_OID = x509.ObjectIdentifier("1.3.6.1.4.1.50316.802.1")
_UTF8_STRING = 0x0C
#: Bytes whose number fits the short form of a length in DER.
_MOST = 127


def role_extension(role: str) -> x509.UnrecognizedExtension:
    """Raises CertificateError for a text that is no name."""
    content = role.encode("utf-8", "replace")
    if not role.strip() or role != role.strip() or not role.isprintable() or len(content) > _MOST:
        raise CertificateError(
            f"{role!r} is no name of a role: printable, at most {_MOST} bytes, no blanks around it"
        )
    return x509.UnrecognizedExtension(_OID, bytes([_UTF8_STRING, len(content)]) + content)
