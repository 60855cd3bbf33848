"""Contenders in turn: one that fails costs the others nothing."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any, Generic, TypeVar

from interop.command import reason
from interop.link import NeedsRoot

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Turn(Generic[T]):
    """`outcome`: None if it failed; `problem` then says why, in a line."""

    name: str
    outcome: T | None
    problem: str = ""


async def in_turn(names: Iterable[str], measure: Callable[[str], Awaitable[T]]) -> AsyncIterator[Turn[T]]:
    """Measure one after the other. What a contender wrote last before it failed goes to standard error."""
    for name in names:
        try:
            yield Turn(name, await measure(name))
        except NeedsRoot:
            raise
        except Exception as error:
            problem, *rest = reason(error).splitlines()
            print(*rest, sep="\n", file=sys.stderr, flush=True)
            yield Turn(name, None, problem)


def json_line(name: str, result: Any, problem: str) -> str:
    """The object of a contender: the fields of its result (a dataclass), or that it has none, and why."""
    return json.dumps(asdict(result) if result is not None else {"contender": name, "error": problem})
