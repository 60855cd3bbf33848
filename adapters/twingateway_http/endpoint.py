"""One device's address: makes a request, bounded in time, size and redirects, and translates what can go wrong.

The time-out holds for the request as a whole, so a device that sends a byte now and then does not hold it up. An
answer is refused before more than the limit is in memory. A redirect is followed only where credentials may go too:
to the same origin, or from http to https on the same host.
"""

from __future__ import annotations

import asyncio
import base64
import os
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import urljoin, urlsplit

import httpx2

from twingateway.errors import DeviceError, DeviceReplyInvalid, DeviceTimeout, DeviceUnreachable
from twingateway_http.clients import Clients
from twingateway_http.document import MAX_BYTES
from twingateway_http.settings import AddressSettings, Names
from twingateway_http.statuses import error_of, phrase, reason_in

MAX_REDIRECTS = 3

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
#: Those by which a request other than GET may be sent again as it is.
_SAME_METHOD = frozenset({307, 308})
#: What a server does that closes an idle connection at the moment it is used again.
_DROPPED = (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError)
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Call:
    """One request. `path` is put behind the address; `repeatable`: asking twice does no harm."""

    method: str
    path: str
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool = False

    def __str__(self) -> str:
        """As messages name it: without the query, which may hold a key."""
        return f"{self.method} {self.path.partition('?')[0] or '/'}"


@dataclass(frozen=True, slots=True)
class Answer:
    """Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Endpoint:
    """Not safe for two calls at once: its driver makes one after the other."""

    def __init__(self, settings: AddressSettings, names: Names, clients: Clients) -> None:
        self._url = names.expand(settings.url)
        self._timeout = settings.timeout
        self._tls = (settings.verify, settings.ca_file)
        self._clients = clients
        self._headers = {name.lower(): value.get_secret_value() for name, value in settings.headers.items()}
        self._secrets = tuple(self._headers.values())
        if settings.auth is not None:
            self._authenticate(settings)

    def _authenticate(self, settings: AddressSettings) -> None:
        auth = settings.auth
        assert auth is not None
        if auth.bearer is not None:
            secret = auth.bearer.get_secret_value()
            proof = f"Bearer {secret}"
        else:
            assert auth.password is not None
            secret = auth.password.get_secret_value()
            proof = "Basic " + base64.b64encode(f"{auth.username}:{secret}".encode()).decode()
        self._headers["authorization"] = proof
        self._secrets = (proof.partition(" ")[2], secret, *self._secrets)

    async def ask(self, call: Call) -> Answer:
        """The device's answer, whatever its status. Raises DeviceTimeout, DeviceUnreachable, DeviceReplyInvalid."""
        try:
            async with asyncio.timeout(self._timeout):
                return await self._follow(call)
        except TimeoutError:
            raise DeviceTimeout(f"{call}: no answer within {self._timeout:g} s") from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            kind = DeviceUnreachable if isinstance(error, httpx2.NetworkError) else DeviceReplyInvalid
            raise kind(f"{call}: {self.redact(_reason(error))}") from error
        except DeviceReplyInvalid as error:
            raise DeviceReplyInvalid(f"{call}: {error.message}", **error.detail) from None

    def refusal(self, call: Call, answer: Answer) -> DeviceError:
        """The error that an unwelcome answer stands for."""
        reason = self.redact(reason_in(answer.body, answer.headers.get("content-type", "")))
        said = f": {reason}" if reason else ""
        message = f"{call}: the device answered {phrase(answer.status)}{said}"
        return error_of(answer.status)(message, status=answer.status)

    def redact(self, text: str) -> str:
        """A device may quote what it was sent."""
        for secret in self._secrets:
            text = text.replace(secret, "***") if secret else text
        return text

    async def _follow(self, call: Call) -> Answer:
        url = self._url.rstrip("/") + call.path if call.path.startswith("/") else self._url + call.path
        seen = {url}
        while True:
            answer = await self._try(call, url)
            target = _redirect(call, url, answer)
            if target is None:
                return answer
            if target in seen or len(seen) > MAX_REDIRECTS:
                how = "in a circle" if target in seen else f"more than {MAX_REDIRECTS} times"
                raise DeviceReplyInvalid(f"the device redirects {how}", status=answer.status)
            seen.add(target)
            url = target

    async def _try(self, call: Call, url: str) -> Answer:
        try:
            return await self._exchange(call, url)
        except _DROPPED:
            if not call.repeatable:
                raise
            return await self._exchange(call, url)

    async def _exchange(self, call: Call, url: str) -> Answer:
        client = self._clients.get(self._tls if url.startswith("https:") else None)
        headers = {**self._headers, **call.headers}
        if call.body is not None:
            headers.setdefault("content-type", "application/json")
        async with client.stream(call.method, url, headers=headers, content=call.body) as response:
            return Answer(response.status_code, _lower(response), await _read(response))


async def _read(response: httpx2.Response) -> bytes:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise DeviceReplyInvalid("the answer is compressed, though that was not asked for")
    declared = response.headers.get("content-length", "")
    if declared.isdigit() and int(declared[:18]) > MAX_BYTES:
        raise _too_large()
    parts, size = [], 0
    async for part in response.aiter_raw():
        size += len(part)
        if size > MAX_BYTES:
            raise _too_large()
        parts.append(part)
    return b"".join(parts)


def _too_large() -> DeviceReplyInvalid:
    return DeviceReplyInvalid(f"the answer is larger than {MAX_BYTES // 1024} KiB")


def _lower(response: httpx2.Response) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}


def _redirect(call: Call, url: str, answer: Answer) -> str | None:
    """Where to go on; None when the answer is to be taken as it is. Raises DeviceReplyInvalid for elsewhere."""
    location = answer.headers.get("location", "")
    if not location or answer.status not in _REDIRECTS:
        return None
    if call.method != "GET" and answer.status not in _SAME_METHOD:
        return None
    try:
        target = urljoin(url, location)
        old, new = _origin(url), _origin(target)
    except ValueError:
        raise DeviceReplyInvalid(f"a redirect to {location[:80]!r}, which is no address") from None
    upgraded = (old[0], new[0]) == ("http", "https") and old[1] == new[1]
    if new != old and not upgraded:
        raise DeviceReplyInvalid(
            f"{answer.status} {HTTPStatus(answer.status).phrase} to {new[0]}://{new[1]}:{new[2]}, another origin; "
            "if that is right, make it the device's address"
        )
    return target


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0)


def _reason(error: Exception) -> str:
    """The operating system's reason if there is one below `error`."""
    for each in _chain(error):
        if isinstance(each, ssl.SSLError):
            return f"TLS: {getattr(each, 'verify_message', '') or each.reason or each}"
        if isinstance(each, OSError) and each.errno is not None:
            return os.strerror(each.errno) if each.errno > 0 and each.strerror is not None else str(each.strerror)
    return str(error) or type(error).__name__


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
