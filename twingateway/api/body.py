"""Request bodies: JSON with limits of size and depth, without NaN, duplicate keys or half characters."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, NoReturn

from starlette.requests import Request

from twingateway.errors import MalformedText, TooLarge
from twingateway.twin.value import Value
from twingateway.validation.documents import DOCUMENT_DEPTH
from twingateway.validation.normalise import normalise

#: Largest body of a document or patch, in bytes: some values of up to 64 KiB and the structure around them.
MAX_BODY = 256 * 1024


async def read_body(request: Request, limit: int = MAX_BODY) -> bytes:
    """The body, refused before more than `limit` bytes were read, by its announced length if it has one. Raises
    TooLarge."""
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and (len(announced) > 15 or int(announced) > limit):
        raise _too_large(limit)
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        parts.append(part)
    return b"".join(parts)


async def read_json(request: Request) -> Value:
    """The body as plain JSON data. Raises MalformedText, InvalidValue, TooLarge."""
    body = await read_body(request)
    try:
        parsed = json.loads(body, parse_constant=_no_constant, object_pairs_hook=_unique)
    except RecursionError as error:
        raise TooLarge(f"the body is nested deeper than {DOCUMENT_DEPTH} levels", rule="depth") from error
    except ValueError as error:
        raise MalformedText(f"the body is not JSON: {error}") from error
    return normalise(parsed, max_depth=DOCUMENT_DEPTH, max_bytes=MAX_BODY)


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"the body is larger than {limit} bytes", rule="size", limit=limit)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise ValueError(f"the key {twice!r} is written twice")
    return members
