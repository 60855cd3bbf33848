"""Everything in a document that is no plain JSON, for those who wrote it: `normalise` stops at the first of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from twingateway.errors import InvalidValue, Problem, TooLarge
from twingateway.validation.normalise import normalise

#: Values that are looked at: more than any file holds, and few enough for a document that holds itself.
_MOST_VALUES = 100_000


def refusals(document: object) -> Iterator[Problem]:
    """In document order, what is wrong with an object's keys before what is in it; nothing about size and depth."""
    waiting: list[tuple[str, object]] = [("", document)]
    for _ in range(_MOST_VALUES):
        if not waiting:
            return
        path, value = waiting.pop()
        members: Iterable[tuple[object, object]]
        if isinstance(value, dict) and type(value) is dict:
            for name in value:
                yield from _refusal({name: None}, path)
            members = value.items()
        elif isinstance(value, list | tuple) and type(value) in (list, tuple):
            members = enumerate(value)
        else:
            yield from _refusal(value, path)
            continue
        waiting += [(f"{path}.{name}" if path else str(name), item) for name, item in reversed(list(members))]


def _refusal(part: object, path: str) -> Iterator[Problem]:
    try:
        normalise(part, path)
    except InvalidValue as error:
        yield error.problem
    except TooLarge:
        pass  # the whole document's size is judged
