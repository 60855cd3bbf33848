"""Whether a device can be reached, computed when it is read.

Two kinds of register speak about it. The holder writes the device's `presence`; each node's parent writes that node's
`reach`. A holder that is cut off cannot say so, therefore a `reach` that is down anywhere between the reader and the
holder outweighs what the holder said last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from twingateway.twin.value import Value

#: Name of the register of section `presence` that says it.
STATE = "state"


class PresenceState(StrEnum):
    ONLINE = "online"  # the device answers
    STALE = "stale"  # it answers, but what it last said is older than it should be
    OFFLINE = "offline"  # its holder says that it does not answer
    UNREACHABLE = "unreachable"  # its holder, or a node before it, cannot be heard
    UNKNOWN = "unknown"  # nobody has said anything yet


@dataclass(frozen=True, slots=True)
class Presence:
    """A device's presence. `since`: Unix milliseconds by its writer's clock, 0 when unknown; `code` a stable word and
    `message` a sentence for people (for instance the device error that took it offline)."""

    state: PresenceState
    since: int = 0
    code: str = ""
    message: str = ""

    def to_value(self) -> dict[str, Value]:
        return _to_value(self.state.value, self.since, self.code, self.message)

    @classmethod
    def from_value(cls, value: Value) -> Presence:
        """The inverse of `to_value`; anything that is not a presence is `unknown`."""
        word = _word(value, "state")
        state = PresenceState(word) if word in _PRESENCE_STATES else PresenceState.UNKNOWN
        return cls(state, _since(value), _word(value, "code"), _word(value, "message"))


@dataclass(frozen=True, slots=True)
class Reach:
    """A parent's word on one of its nodes: whether it holds that node's session. Fields as in `Presence`."""

    up: bool
    since: int = 0
    code: str = ""
    message: str = ""

    def to_value(self) -> dict[str, Value]:
        return _to_value("up" if self.up else "down", self.since, self.code, self.message)

    @classmethod
    def from_value(cls, value: Value) -> Reach:
        """The inverse of `to_value`; only what says `down` is down."""
        return cls(_word(value, "state") != "down", _since(value), _word(value, "code"), _word(value, "message"))


def effective(presence_value: Value, reach: Sequence[Value]) -> Presence:
    """What to tell a reader.

    presence_value: the value of the device's `presence` register, None if there is none.
    reach: the values of the `reach` registers of every node between the reader and the device, in any order.
    `unreachable` if any is down, since the longest broken hop went down or, if that is younger, since the holder
    last spoke.
    """
    said = Presence.from_value(presence_value)
    down = [hop for hop in map(Reach.from_value, reach) if not hop.up]
    if not down:
        return said
    first = min(down, key=lambda hop: hop.since)
    return Presence(PresenceState.UNREACHABLE, max(said.since, first.since), first.code, first.message)


_PRESENCE_STATES = frozenset(state.value for state in PresenceState)


def _to_value(state: str, since: int, code: str, message: str) -> dict[str, Value]:
    document: dict[str, Value] = {"state": state, "since": since}
    document.update({name: text for name, text in (("code", code), ("message", message)) if text})
    return document


def _word(value: Value, name: str) -> str:
    word = value.get(name, "") if isinstance(value, dict) else ""
    return word if isinstance(word, str) else ""


def _since(value: Value) -> int:
    since = value.get("since", 0) if isinstance(value, dict) else 0
    return since if isinstance(since, int) else 0
