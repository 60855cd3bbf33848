"""Request bodies: JSON with a size limit, without NaN and duplicate keys."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from fastapi import Request

from twingateway.errors import MalformedText, TooLarge
from twingateway.twin.value import Value

#: Largest body of a document or patch, in bytes: 64 KiB of values and some structure around them.
MAX_BODY = 256 * 1024


async def read_body(request: Request, limit: int = MAX_BODY) -> bytes:
    """The body, refused before more than `limit` bytes were read. Raises TooLarge."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise TooLarge(f"the body is larger than {limit} bytes")
        parts.append(part)
    return b"".join(parts)


async def read_json(request: Request) -> Value:
    """The body as JSON. Raises MalformedText, TooLarge."""
    body = await read_body(request)
    try:
        parsed: Value = json.loads(body, parse_constant=_no_constant, object_pairs_hook=_unique)
    except RecursionError as error:
        raise TooLarge("the body is nested too deeply") from error
    except (ValueError, UnicodeDecodeError) as error:
        raise MalformedText(f"the body is not JSON: {error}") from error
    return parsed


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        twice = next(name for i, (name, _) in enumerate(pairs) if name in dict(pairs[:i]))
        raise ValueError(f"the key {twice!r} occurs twice")
    return members
