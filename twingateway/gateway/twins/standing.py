"""What became of a local override, as far as is known at a node: for whoever waits for it, and for who looks.

While a device follows an override, its own register says how far it has come. One that the root accepted is the
desired value from then on, so the ack of that counts. One that lost, was withdrawn or was replaced comes no further:
its ack is `superseded`, and says by what.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from twingateway.gateway.state.overridden import override_of, verdict_of
from twingateway.gateway.state.table import TwinTable
from twingateway.twin.ack import Ack, AckState
from twingateway.twin.conflict import Outcome, Verdict, outcome_of
from twingateway.twin.desired import origin_of, plain
from twingateway.twin.identity import DeviceId
from twingateway.twin.override import Override
from twingateway.twin.register import Register, RegisterKey, Section, Version
from twingateway.twin.value import Value
from twingateway.validation.explain import shown as in_words

#: How far a desired version of a property has come.
AckOf = Callable[[DeviceId, str, Version], Ack]


class State(StrEnum):
    UNJUDGED = "unjudged"
    UNDECIDED = "undecided"  # a person is to decide
    ACCEPTED = "accepted"  # it is the desired value
    LOST = "lost"  # the cloud's value stands
    WITHDRAWN = "withdrawn"
    REPLACED = "replaced"  # by a later override
    VOID = "void"  # the device is not what it was, or not this node's


_BY_OUTCOME = {
    None: State.UNJUDGED,
    Outcome.OPEN: State.UNDECIDED,
    Outcome.ACCEPTED: State.ACCEPTED,
    Outcome.LOST: State.LOST,
    Outcome.WITHDRAWN: State.WITHDRAWN,
}
_OPEN = frozenset({State.UNJUDGED, State.UNDECIDED})


@dataclass(frozen=True, slots=True)
class Standing:
    """`ack`: how far it has come, None if nothing was said of it yet. `stands`: the desired register that it lost to,
    if that is here."""

    override: Override
    state: State
    ack: Ack | None
    stands: Register | None = None

    @property
    def is_open(self) -> bool:
        """Neither withdrawn nor decided."""
        return self.state in _OPEN

    @property
    def is_settled(self) -> bool:
        """Nothing more will happen to it unless the device or a person acts."""
        return self.ack is not None and self.ack.settled

    def to_value(self) -> dict[str, Value]:
        view: dict[str, Value] = {
            "id": str(self.override.id),
            "value": self.override.value,
            "actor": self.override.actor,
            "node": self.override.node,
            "since": self.override.time,
            "base": str(self.override.base),
            "state": self.state.value,
            "ack": None if self.ack is None else self.ack.to_value(),
            "stands": None if self.stands is None else _told(self.stands),
        }
        return {key: value for key, value in view.items() if value not in (None, "")}


def standing(table: TwinTable, ack_of: AckOf, device: DeviceId, name: str, override: Override) -> Standing:
    """Of an override that was the newest of its property once. What its verdict made of the desired value has a
    greater version than the verdict, and its id until somebody changes it again."""
    newest = override_of(table, device, name)
    if newest is None:
        return _over(override, State.VOID, f"{device.short} is not what it was, or not this node's")
    if newest.id != override.id:
        return _over(override, State.REPLACED, "another override took its place")
    verdict, judged = verdict_of(table, device, name)
    state = _BY_OUTCOME[outcome_of(newest, verdict)]
    stored = table.get(RegisterKey(device, Section.DESIRED, name))
    desired = None if stored is None else stored.register
    if newest.withdrawn is not None or state is State.WITHDRAWN:
        by = f" by {newest.withdrawn}" if newest.withdrawn else ""
        return _over(newest, State.WITHDRAWN, f"it was withdrawn{by}")
    if verdict is not None and state is State.LOST:
        return _lost(newest, verdict, desired)
    if desired is not None and state is State.ACCEPTED and desired.version > judged:
        is_it = origin_of(desired.value).override == str(newest.id)
        ack = ack_of(device, name, desired.version if is_it else judged)
        is_unsaid = ack.state is AckState.PENDING and newest.ack is not None
        return Standing(newest, state, newest.ack if is_unsaid else ack)
    return Standing(newest, state, newest.ack)


def _lost(override: Override, verdict: Verdict, desired: Register | None) -> Standing:
    """Where nothing was desired since its base there was no conflict to lose: the root refused the value itself."""
    if verdict.override != override.id:
        return _over(override, State.REPLACED, "a later override had taken its place")
    if verdict.stands == override.base:
        message = "the root refused the value; its event override-refused says why"
        return Standing(override, State.LOST, Ack(override.base, AckState.REJECTED, "override-refused", message))
    decided = f", decided by {verdict.by}" if verdict.by else ""
    if desired is None or desired.version < verdict.stands:
        return _over(override, State.LOST, f"it lost to the cloud's value{decided}")
    actor = origin_of(desired.value).actor
    by = f" by {actor}" if actor else ""
    return _over(override, State.LOST, f"it lost to {in_words(plain(desired.value))}{by}{decided}", desired)


def _over(override: Override, state: State, message: str, stands: Register | None = None) -> Standing:
    return Standing(override, state, Ack(override.base, AckState.SUPERSEDED, state.value, message), stands)


def _told(desired: Register) -> dict[str, Value]:
    """The desired value, and who set it, as far as known."""
    told: dict[str, Value] = {"value": plain(desired.value), "version": str(desired.version)}
    actor = origin_of(desired.value).actor
    return {**told, "actor": actor} if actor else told
