"""The `journal:` section of a node file: what has history, and how entries are treated on their way to the root."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from twingateway.config.types import Duration, Name, Section, Size
from twingateway.twin.entry import CLASSES, JournalClass

#: Classes that a node can have: each takes a stream.
MOST_CLASSES = 8
#: What a class of its own begins with.
_NEW = JournalClass("", len(CLASSES), 7 * 86400.0, 64 * 1024 * 1024)


class JournalClassSection(Section):
    """One class; what is left out stays as it is."""

    priority: int | None = Field(default=None, ge=0)
    """Classes with lower numbers go first."""
    ttl: Duration | None = Field(default=None, gt=0)
    """How long an entry waits at this node, while it runs, until a gap record takes its place."""
    max_bytes: Size | None = None
    """How much may wait at this node."""


class JournalSection(Section):
    """History, events and alarms on their way to the root, and what is kept of them."""

    history: Literal["all", "modelled", "none"] = "modelled"
    """Which reported properties have history; `modelled`: those whose model gives a `retention`."""
    retention: Duration = Field(default=30 * 86400.0, gt=0, json_schema_extra={"default": "30d"})
    """How long history is kept where no model says it (at nodes with an API, and at the root)."""
    max_history: Size = Field(default=1024 * 1024 * 1024, json_schema_extra={"default": "1GiB"})
    """How much history of all properties together is kept there; beyond it the points that came first go."""
    kept: int = Field(default=100_000, ge=0)
    """Entries of each other class that are kept there."""
    classes: Mapping[Name, JournalClassSection] = Field(default_factory=dict)
    """Changes to the classes alarm, event, history and raw, and further ones."""

    @model_validator(mode="after")
    def _not_too_many(self) -> Self:
        count = len({*CLASSES, *self.classes})
        if count > MOST_CLASSES:
            reason = f"{count} classes; there can be {MOST_CLASSES}, of which {', '.join(CLASSES)} are given"
            raise PydanticCustomError("rule", "{reason}", {"reason": reason, "at": "classes"})
        return self

    @property
    def all_classes(self) -> dict[str, JournalClass]:
        """By name, with what the file changes."""
        return {name: self._class(name) for name in [*CLASSES, *self.classes]}

    def _class(self, name: str) -> JournalClass:
        given, stated = CLASSES.get(name, _NEW), self.classes.get(name, JournalClassSection())
        return JournalClass(
            name,
            given.priority if stated.priority is None else stated.priority,
            given.ttl if stated.ttl is None else stated.ttl,
            given.max_bytes if stated.max_bytes is None else stated.max_bytes,
            given.linger,
        )
