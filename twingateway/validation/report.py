"""What checking a document found."""

from __future__ import annotations

from dataclasses import dataclass

from twingateway.errors import InvalidDocument, Problem


@dataclass(frozen=True, slots=True)
class Report:
    """`problems` make a document unusable; `warnings` do not. Both in document order as far as it is known."""

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
