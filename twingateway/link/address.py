"""How a peer's socket address is shown."""

from __future__ import annotations

from typing import Any


def address_text(address: Any) -> str:
    """`host:port` of what the socket module calls an address; `nobody` for None."""
    if not address:
        return "nobody"
    host, port = address[0], address[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
