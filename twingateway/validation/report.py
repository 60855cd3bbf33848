"""What checking a document found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from twingateway.errors import InvalidDocument, Problem

#: So many problems are told of one document at most.
MOST_PROBLEMS = 100


@dataclass(frozen=True, slots=True)
class Report:
    """`problems` make a document unusable; `warnings` do not. Both in document order as far as it is known, and so
    many as `bounded` leaves."""

    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.problems

    def require(self, what: str) -> None:
        """Raise InvalidDocument, naming `what` and the first problem, unless the document is usable."""
        if self.problems:
            more = f" (and {len(self.problems) - 1} more)" if len(self.problems) > 1 else ""
            raise InvalidDocument(f"{what}: {self.problems[0]}{more}", self.problems)


def bounded(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """The first of them; one more says so if that is not all."""
    rest = iter(problems)
    first = tuple(islice(rest, MOST_PROBLEMS))
    if next(rest, None) is None:
        return first
    return (*first, Problem(f"more is wrong than these {MOST_PROBLEMS} problems", rule="more"))


def in_document_order(problems: Iterable[Problem], document: object, path: str = "") -> list[Problem]:
    """Problems of one document, or of the part of it that is at `path`, in the order of what they are about."""
    return sorted(problems, key=lambda problem: _place(document, problem.path.removeprefix(path).removeprefix(".")))


def _place(value: object, path: str) -> tuple[int, ...]:
    """Where a dotted path leads, or as much of it as is there: positions from the outermost container on."""
    place: list[int] = []
    while path:
        items = value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else ())
        for position, (key, item) in enumerate(items):
            if path == str(key) or path.startswith(f"{key}."):
                place.append(position)
                value, path = item, path[len(str(key)) + 1 :]
                break
        else:
            break
    return tuple(place)
