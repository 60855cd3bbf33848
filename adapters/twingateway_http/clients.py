"""The HTTP clients of one node: one for plain HTTP, one for each way to verify certificates.

They keep connections only: no cookies, no redirects of their own, no proxies or passwords from the environment.
"""

from __future__ import annotations

import logging
import ssl
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path

import httpx2

#: Idle connections that are kept, and for how many seconds.
_KEPT = 256
_KEPT_FOR = 30.0

_HEADERS = {"user-agent": "twingateway", "accept": "application/json", "accept-encoding": "identity"}

#: verify, ca_file; None for plain HTTP.
Trust = tuple[bool, Path | None] | None

# It logs every request with its whole address, in which a query may hold a key.
logging.getLogger("httpx2").setLevel(logging.WARNING)


class Clients:
    """Made when first needed: loading the certificates of the system takes time and memory."""

    def __init__(self) -> None:
        self._clients: dict[Trust, httpx2.AsyncClient] = {}

    def get(self, trust: Trust) -> httpx2.AsyncClient:
        client = self._clients.get(trust)
        if client is None:
            client = self._clients[trust] = _client(trust)
        return client

    async def close(self) -> None:
        clients, self._clients = self._clients, {}
        for client in clients.values():
            await client.aclose()


def _client(trust: Trust) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        verify=_verification(trust),
        trust_env=False,
        timeout=None,
        # No more connections are open than there are devices, since each has one request under way.
        limits=httpx2.Limits(max_connections=None, max_keepalive_connections=_KEPT, keepalive_expiry=_KEPT_FOR),
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        headers=_HEADERS,
    )


def _verification(trust: Trust) -> ssl.SSLContext | bool:
    if trust is None:
        return False  # for plain HTTP, which then spares loading certificates
    verify, ca_file = trust
    return ssl.create_default_context(cafile=ca_file) if ca_file is not None else verify
