"""Whether a reported value is to be relied on, and if not, why: computed when it is read.

Three registers of section `presence` have a say: `state`, of the device as a whole; `quality`, in which its driver
names the properties that it cannot read or understand; `refused`, what the device reported and its model refused, so
that an older value is shown. A device that is away takes all its values with it, and one whose holder cannot be heard
likewise; for that no register has to be written, and when it is back none has to be written again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from twingateway.twin.presence import Presence, PresenceState
from twingateway.twin.value import Value

GOOD, BAD = "good", "bad"
#: Name, in history, of what was known of the quality of a device's values: of no property, since those have names.
MARKS = ""
#: Code of a property whose last report was refused.
REFUSED = "value-refused"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a value is not to be relied on: a stable word, a sentence for people, and since when (Unix milliseconds by
    the clock of who says it, 0 when unknown)."""

    code: str
    message: str = ""
    since: int = 0

    def to_value(self) -> dict[str, Value]:
        return {"code": self.code, "message": self.message, "since": self.since}

    @classmethod
    def from_value(cls, value: Mapping[str, Value]) -> Reason:
        """The inverse of `to_value`; what makes no sense is left out."""
        return cls(_word(value, "code"), _word(value, "message"), _time(value, "since"))


@dataclass(frozen=True, slots=True)
class Quality:
    """Of all values of one twin. `whole`: why none of them is good; `bad`: which are not in themselves."""

    whole: Reason | None = None
    bad: Mapping[str, Reason] = field(default_factory=dict)

    def of(self, name: str) -> Reason | None:
        """Why a property's value is bad, None if it is good."""
        return self.bad.get(name) or self.whole

    def to_value(self) -> dict[str, Value]:
        """`quality` of all, with `reason` if it is bad, and in `bad` the reasons that single properties have."""
        bad: dict[str, Value] = {name: reason.to_value() for name, reason in sorted(self.bad.items())}
        return described(self.whole) | ({"bad": bad} if bad else {})

    @classmethod
    def from_value(cls, value: Value) -> Quality:
        """The inverse of `to_value`; of anything else all values are good."""
        told = value if isinstance(value, dict) else {}
        whole = told.get("reason")
        return cls(
            Reason.from_value(whole) if isinstance(whole, dict) else None,
            {name: Reason.from_value(each) for name, each in _entries(told.get("bad"))},
        )


def described(reason: Reason | None) -> dict[str, Value]:
    """`quality`, and `reason` unless it is good."""
    return {"quality": GOOD} if reason is None else {"quality": BAD, "reason": reason.to_value()}


def quality_of(presence: Presence, told: Value, refused: Value) -> Quality:
    """presence: the effective one; told, refused: the values of the registers `quality` and `refused`."""
    bad = {name: Reason(REFUSED, _word(each, "message"), _time(each, "time")) for name, each in _entries(refused)}
    for name, each in _entries(told):
        bad[name] = Reason.from_value(each)
    if presence.state is PresenceState.ONLINE:
        return Quality(None, bad)
    return Quality(Reason(presence.code or presence.state.value, presence.message, presence.since), bad)


def _entries(value: Value) -> list[tuple[str, Mapping[str, Value]]]:
    """Of a map of properties; anything else has none."""
    return [(name, each) for name, each in value.items() if isinstance(each, dict)] if isinstance(value, dict) else []


def _word(entry: Mapping[str, Value], name: str) -> str:
    word = entry.get(name, "")
    return word if isinstance(word, str) else ""


def _time(entry: Mapping[str, Value], name: str) -> int:
    time = entry.get(name, 0)
    return time if isinstance(time, int) else 0
