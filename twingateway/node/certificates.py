"""Says in good time that the node's own certificate runs out, and when new files of it are not taken into use.

A node whose certificate has expired is let in nowhere. It says so while it can still be heard: as an event, which
goes up to the root, once a day.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from twingateway.gateway.state.ledger import Ledger

if TYPE_CHECKING:
    from twingateway.pki.credential import NodeCredential


#: Seconds between two looks at the files.
LOOK = 3600.0


def concern(credential: NodeCredential, now: datetime) -> tuple[str, str] | None:
    """What a person should know of the certificate: a code and a text; None if all is well."""
    renew_by, expires = credential.renew_by, credential.expires
    if credential.problem:
        return "certificate-problem", f"new files of the node's certificate are not used: {credential.problem}"
    if now >= renew_by:
        left = (expires - now).days
        how = f"expires on {expires:%Y-%m-%d %H:%M UTC}, in {left} {'day' if left == 1 else 'days'}"
        if now >= expires:
            how = f"expired on {expires:%Y-%m-%d %H:%M UTC}, and no other node lets this one in"
        text = f"the certificate of {credential.node} {how}: issue a new one; the node reads it by itself"
        return "certificate-expires", text
    return None


async def watch_certificate(credential: NodeCredential, ledger: Ledger) -> None:
    """Look again and again; the same is told once."""
    told = None
    while True:
        found = concern(credential, datetime.now(UTC))
        if found is not None and found != told:
            code, text = found
            ledger.notice(code, text)
        told = found
        await asyncio.sleep(LOOK)
