"""Where a certificate says which node it is for: a SAN URI `twingateway://{namespace}/{node}`.

A URI with one colon, because `service_identity`, with which aioquic checks host names, fails on any certificate that
holds a URI with more of them (as every URN has). The common name repeats the node's name for people and decides
nothing.
"""

from __future__ import annotations

from cryptography import x509

from twingateway.errors import CertificateError, InvalidValue
from twingateway.mqtt.auth import Identity
from twingateway.twin.identity import DeviceId

_PREFIX = "twingateway://"


def node_uri(identity: Identity) -> str:
    """Raises CertificateError for names that are not allowed."""
    _check(identity)
    return f"{_PREFIX}{identity.namespace}/{identity.node}"


def identity_of(certificate: x509.Certificate) -> Identity:
    """Raises CertificateError when the certificate names no node or several, ValueError when it is malformed."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        uris: list[str] = []
    else:
        uris = [uri for uri in names.get_values_for_type(x509.UniformResourceIdentifier) if uri.startswith(_PREFIX)]
    if len(uris) != 1:
        raise CertificateError(f"the certificate names {'more than one' if uris else 'no'} node ({_PREFIX}…)")
    namespace, _, node = uris[0].removeprefix(_PREFIX).partition("/")
    identity = Identity(namespace, node)
    _check(identity)
    return identity


def _check(identity: Identity) -> None:
    try:
        DeviceId.parse(f"{identity.namespace}/{identity.node}")
    except InvalidValue as error:
        raise CertificateError(
            f"{identity.namespace!r}/{identity.node!r} is not a node's name: letters, digits, '.', '_' and '-' "
            "(at most 128 each), beginning with a letter or digit"
        ) from error
