"""What a desired register holds: a plain value, or one with terms (how long it is wanted, and how soon) and an origin
(who wanted it).

Value and terms are one register: a node that had the one without the other would write what it must not. Without
either the register's value is the plain value itself; with one it is an envelope

    {"$desired": value, "ttl": seconds, "priority": "high" | "low", "actor": who, "override": id}

and so is a plain object that has the envelope's key itself, whatever its terms. An envelope with anything else in it
is no desired value: who does not know a term must not act as if it were not there.

`ttl` says how long the value was wanted when it was written, not since when: no wall clock decides. What is left of
it the root counts, and tells whoever asks (gateway.lifetimes).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from twingateway.errors import InvalidValue, Problem
from twingateway.twin.value import Value

_VALUE, _TTL, _PRIORITY, _ACTOR, _OVERRIDE = "$desired", "ttl", "priority", "actor", "override"
_KEYS = frozenset({_VALUE, _TTL, _PRIORITY, _ACTOR, _OVERRIDE})


class Priority(StrEnum):
    """Which of a device's open values is written first; of one priority, the older."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


_RANK = {priority: rank for rank, priority in enumerate(Priority)}


@dataclass(frozen=True, slots=True)
class Terms:
    """`ttl`: seconds that the value is wanted, None for ever."""

    ttl: float | None = None
    priority: Priority = Priority.NORMAL

    @property
    def rank(self) -> int:
        """The lowest goes first."""
        return _RANK[self.priority]

    def __bool__(self) -> bool:
        return self != PLAIN

    def to_value(self) -> dict[str, Value]:
        """Only what is stated."""
        stated: dict[str, Value] = {}
        if self.ttl is not None:
            stated[_TTL] = self.ttl
        if self.priority is not Priority.NORMAL:
            stated[_PRIORITY] = self.priority.value
        return stated


PLAIN = Terms()


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a desired value came from. `actor`: who set it, as far as known; `override`: the id of the local override
    that it was, if it was one."""

    actor: str = ""
    override: str = ""

    def __bool__(self) -> bool:
        return self != NOWHERE

    def to_value(self) -> dict[str, Value]:
        """Only what is known."""
        known = {_ACTOR: self.actor, _OVERRIDE: self.override}
        return {name: text for name, text in known.items() if text}


NOWHERE = Origin()


@dataclass(frozen=True, slots=True)
class Desired:
    """A desired value, its terms and where it came from."""

    value: Value
    terms: Terms = field(default=PLAIN)
    origin: Origin = field(default=NOWHERE)

    def to_value(self) -> Value:
        """What the register holds."""
        if self.terms or self.origin or _is_envelope(self.value):
            return {_VALUE: self.value, **self.terms.to_value(), **self.origin.to_value()}
        return self.value

    @classmethod
    def from_value(cls, value: Value) -> Desired:
        """The inverse of `to_value`; raises InvalidValue for an envelope that is not understood."""
        if not isinstance(value, dict) or _VALUE not in value:
            return cls(value)
        ttl, priority = value.get(_TTL), value.get(_PRIORITY, Priority.NORMAL)
        if isinstance(ttl, bool) or not isinstance(ttl, int | float | None) or (ttl is not None and ttl <= 0):
            raise InvalidValue(Problem("a desired value whose ttl is no time", "", "terms"))
        if not (value.keys() <= _KEYS and isinstance(priority, str) and priority in _RANK):
            raise InvalidValue(Problem("a desired value with terms that are not known here", "", "terms"))
        return cls(value[_VALUE], Terms(None if ttl is None else float(ttl), Priority(priority)), origin_of(value))


def plain(value: Value) -> Value:
    """The value without its terms, also where these are not understood."""
    return value[_VALUE] if isinstance(value, dict) and _VALUE in value else value


def terms_of(value: Value) -> Terms:
    """The terms alone; none where they are not understood."""
    try:
        return Desired.from_value(value).terms
    except InvalidValue:
        return PLAIN


def origin_of(value: Value) -> Origin:
    """The origin alone, also where the terms are not understood."""
    if not isinstance(value, dict) or _VALUE not in value:
        return NOWHERE
    actor, override = value.get(_ACTOR), value.get(_OVERRIDE)
    return Origin(actor if isinstance(actor, str) else "", override if isinstance(override, str) else "")


def _is_envelope(value: Value) -> bool:
    return isinstance(value, dict) and _VALUE in value
