"""Why the server's certificate was not accepted, in words that say what to do about it.

That it is for another name than the one dialled is the usual mistake; OpenSSL and aioquic have words of their own for
it.
"""

from __future__ import annotations

from twingateway.errors import NotAuthorized

#: OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH.
_OTHER_NAME = frozenset({62, 64})
#: X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, …_DEPTH_ZERO_SELF_SIGNED_CERT, …_SELF_SIGNED_CERT_IN_CHAIN,
#: …_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, …_UNABLE_TO_VERIFY_LEAF_SIGNATURE, and what they are called in words.
_OTHER_AUTHORITY = frozenset({2, 18, 19, 20, 21})
_OTHER_AUTHORITY_SAID = ("issuer certificate", "self-signed certificate", "self signed certificate")


def unverified(peer: str, name: str | None, reason: str, code: int = 0) -> NotAuthorized:
    """`name`: what the certificate had to be for. `reason`: aioquic's or OpenSSL's, the latter with its `code`."""
    if code in _OTHER_NAME or reason.startswith("hostname ") or "mismatched_id" in reason:
        reason = (
            f"it is not for {name!r}; issue it with `pki issue … --host {name}`, or say in uplink.server_name which "
            "of its names it is to be known by"
        )
    elif code in _OTHER_AUTHORITY or any(words in reason for words in _OTHER_AUTHORITY_SAID):
        reason += "; the authority that issued it is none of those in this node's file of authorities (identity.ca)"
    return NotAuthorized(f"the certificate of {peer} does not verify: {reason}")
