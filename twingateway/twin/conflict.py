"""Cloud and edge wanted different things: whose value stands, and what the device follows until that is decided.

Two pure functions, one for each side. `judge` is the root's, once per override; what it decides becomes a `verdict`
register, which is state: it replicates like any other, and a later write of the property does not cover it.
`followed` is the holder's, from whatever registers have reached it so far; it is made so that the device is never
sent from one value to another and back by the order in which registers arrive.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum

from twingateway.twin.desired import origin_of, plain
from twingateway.twin.equality import same
from twingateway.twin.model import ConflictPolicy
from twingateway.twin.override import Override, OverrideId
from twingateway.twin.record import record
from twingateway.twin.register import ZERO, Register, Version
from twingateway.twin.value import Value


class Outcome(StrEnum):
    ACCEPTED = "accepted"  # it is the desired value now
    LOST = "lost"  # the cloud's value stands
    OPEN = "open"  # a person is to decide
    WITHDRAWN = "withdrawn"  # its operator took it back


@record
class Verdict:
    """What became of the override `override`. `by`: who decided, empty if the policy did. `stands`: the desired
    version that it lost to. `before`: what the desired register held before this line of overrides, so that one that
    is withdrawn too late can be taken back. `time`: Unix milliseconds at the root. `said`: that of the override."""

    override: OverrideId
    outcome: Outcome
    time: int
    by: str = ""
    before: Value = None
    stands: Version = ZERO
    said: Version = ZERO

    def to_value(self) -> dict[str, Value]:
        document: dict[str, Value] = {
            "override": str(self.override),
            "outcome": self.outcome.value,
            "time": self.time,
        }
        if self.by:
            document["by"] = self.by
        if self.before is not None:
            document["before"] = self.before
        if self.stands != ZERO:
            document["stands"] = str(self.stands)
        if self.said != ZERO:
            document["said"] = str(self.said)
        return document

    @classmethod
    def read(cls, value: Value) -> Verdict | None:
        """The inverse of `to_value`; None for anything else."""
        try:
            return cls._from_value(value)
        except (ValueError, KeyError):
            return None

    @classmethod
    def _from_value(cls, value: Value) -> Verdict:
        if not isinstance(value, dict):
            raise ValueError("a verdict is an object")
        time = value["time"]
        return cls(
            override=OverrideId.parse(str(value["override"])),
            outcome=Outcome(str(value["outcome"])),
            time=time if isinstance(time, int) else 0,
            by=str(value.get("by", "")),
            before=value.get("before"),
            stands=Version.parse(str(value.get("stands", ZERO))),
            said=Version.parse(str(value.get("said", ZERO))),
        )


@dataclass(frozen=True, slots=True)
class Judgement:
    """`conflict`: the cloud's value and the override's were at odds. `changes`: the desired register is to hold the
    override's value from now on, or what was `before`. `stands`: the desired version that the override lost to."""

    outcome: Outcome
    conflict: bool = False
    changes: bool = False
    before: Value = None
    stands: Version = ZERO

    def verdict(self, override: Override, time: int, by: str = "") -> Verdict:
        return Verdict(override.id, self.outcome, time, by, self.before, self.stands, override.said)


def judge(
    override: Override,
    desired: Register | None,
    verdict: Verdict | None,
    judged: Version,
    policy: ConflictPolicy,
) -> Judgement | None:
    """What becomes of an override as it is now; None if that was decided before. `desired`: as the root has it;
    `verdict`: the newest on this property, whose register has the version `judged`. What that verdict made of the
    desired value has a greater one: a root that was put back may have been given the one without the other."""
    settled = outcome_of(override, verdict)
    before = _before(desired, verdict, override)
    if override.withdrawn is not None:
        stands = _is_of_line(desired, override)
        is_left_over = stands and desired is not None and desired.version < judged
        if settled is Outcome.LOST or (settled is Outcome.WITHDRAWN and not is_left_over):
            return None
        return Judgement(Outcome.WITHDRAWN, changes=stands, before=before)
    if settled is not None:
        return None
    held = None if desired is None else desired.value
    if not _is_foreign(desired, override, verdict) or same(plain(held), override.value):
        return Judgement(Outcome.ACCEPTED, changes=True, before=before)
    return _conflict(_BY_POLICY[policy], override, desired, verdict)


def decide(override: Override, desired: Register | None, verdict: Verdict | None, *, edge: bool) -> Judgement | None:
    """What a person's decision makes of an override: `edge` for it, or against it; None if there is nothing open."""
    if override.withdrawn is not None or outcome_of(override, verdict) is not Outcome.OPEN:
        return None
    return _conflict(Outcome.ACCEPTED if edge else Outcome.LOST, override, desired, verdict)


def _conflict(outcome: Outcome, override: Override, desired: Register | None, verdict: Verdict | None) -> Judgement:
    accepted = outcome is Outcome.ACCEPTED
    before = _before(desired, verdict, override) if accepted or _is_of_line(desired, override) else None
    stands = desired.version if desired is not None and outcome is Outcome.LOST else ZERO
    return Judgement(outcome, conflict=True, changes=accepted, before=before, stands=stands)


_BY_POLICY = {
    ConflictPolicy.CLOUD_WINS: Outcome.LOST,
    ConflictPolicy.EDGE_WINS: Outcome.ACCEPTED,
    ConflictPolicy.MANUAL: Outcome.OPEN,
}


class Source(Enum):
    """What a device follows."""

    DESIRED = "desired"
    OVERRIDE = "override"
    NEITHER = "neither"  # the override was withdrawn, and its value is still to be taken back at the root


def followed(
    override: Override,
    desired: Register | None,
    verdict: Verdict | None,
    judged: Version,
    policy: ConflictPolicy,
) -> Source:
    """What the device follows while it has this override. `verdict`: the newest on this property here, whose register
    has the version `judged`; what a verdict makes of the desired value has a greater one."""
    settled = outcome_of(override, verdict)
    arrived = desired is not None and desired.version > judged
    if override.withdrawn is not None:
        is_over = settled is Outcome.LOST or (settled is Outcome.WITHDRAWN and arrived)
        return Source.NEITHER if _is_of_line(desired, override) and not is_over else Source.DESIRED
    if settled is Outcome.WITHDRAWN:
        return Source.DESIRED
    if settled is Outcome.ACCEPTED:
        return Source.DESIRED if arrived else Source.OVERRIDE
    if verdict is not None and settled is Outcome.LOST:
        held = ZERO if desired is None else desired.version
        if held >= verdict.stands:
            return Source.DESIRED
    newer = _is_newer(desired, override) and not _is_of_line(desired, override)
    return Source.DESIRED if newer and policy is ConflictPolicy.CLOUD_WINS else Source.OVERRIDE


def outcome_of(override: Override, verdict: Verdict | None) -> Outcome | None:
    """What was decided of it, as far as is known here. One that is here still, or again, when a later one was judged
    ended with that."""
    if verdict is None:
        return None
    if verdict.override == override.id:
        return verdict.outcome
    return Outcome.LOST if ZERO < override.said < verdict.said else None


def is_open(override: Override, verdict: Verdict | None) -> bool:
    """Neither withdrawn nor decided, as far as is known here."""
    return override.withdrawn is None and outcome_of(override, verdict) in (None, Outcome.OPEN)


def is_settled(override: Override, desired: Register | None, verdict: Verdict | None, judged: Version) -> bool:
    """Decided, and what was decided is here: the next override begins a line of its own. Of one that was withdrawn
    and accepted all the same the root is still to take the value back, and learns that from the next of its line."""
    outcome = outcome_of(override, verdict)
    if outcome in (None, Outcome.OPEN) or (outcome is Outcome.ACCEPTED and override.withdrawn is not None):
        return False
    return outcome is Outcome.LOST or (desired is not None and desired.version > judged)


def _is_foreign(desired: Register | None, override: Override, verdict: Verdict | None) -> bool:
    """Somebody else changed the desired value since the override's base."""
    if not _is_newer(desired, override):
        return False
    if not _is_of_line(desired, override):
        return True
    return verdict is not None and bool(verdict.by) and verdict.override == _came_from(desired)


def _is_newer(desired: Register | None, override: Override) -> bool:
    """Since the override's base; of a value that was removed nothing may be left, not even a tombstone. With the same
    seq under a later epoch it is the base itself, kept by a root that was put back."""
    if desired is None or desired.value is None:
        return override.base != ZERO
    return desired.version > override.base and desired.version.seq != override.base.seq


def _before(desired: Register | None, verdict: Verdict | None, override: Override) -> Value:
    if desired is None:
        return None
    if not _is_of_line(desired, override):
        return desired.value
    return None if verdict is None else verdict.before


def _is_of_line(desired: Register | None, override: Override) -> bool:
    """The desired value was an override of this line."""
    came_from = _came_from(desired)
    return came_from is not None and came_from.line == override.id.line


def _came_from(desired: Register | None) -> OverrideId | None:
    text = "" if desired is None else origin_of(desired.value).override
    try:
        return OverrideId.parse(text) if text else None
    except ValueError:
        return None
