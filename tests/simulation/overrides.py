"""What operators at edges set there, and what must have become of it: each judged once, by the policy of its
property, and its loser told.

The root's verdicts are watched as they appear. One that is accepted is a write of the desired value, at the moment
when it is seen; one that is withdrawn takes that back, for its whole line.

Excuses, as PROTOCOL.md has them:

- *An override that the root was never told of* ends with the store that held it, and with a move of its device, also
  one that its node had not heard of yet, or that a root which was put back to a copy from before does not know.
- *With its device* every override ends, also one that is set where the deletion is not known yet.
- *A root that is put back* may judge again what it has forgotten to have judged, so that the device follows it until
  a person decides; what is taken then, and was written and left before, is written again. And its former verdict may
  come back over that, from a node below that remembers it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf

from tests.simulation.excuses import Excuses
from tests.simulation.machines import WRITABLE
from tests.simulation.topology import WIRES
from tests.simulation.writes import ANYBODY, DONE, HOLDER, LOST, OPEN, REFUSED, UNKNOWN, Key, Write, Writes
from twingateway.ports.memory_store import MemoryDisk
from twingateway.twin.conflict import Outcome, Verdict
from twingateway.twin.desired import origin_of, plain
from twingateway.twin.entry import EVENT
from twingateway.twin.identity import DeviceId
from twingateway.twin.model import ConflictPolicy
from twingateway.twin.override import Override, OverrideId
from twingateway.twin.register import ZERO, Register, RegisterKey, Section, StoredRegister, Version
from twingateway.twin.value import Value

#: What may follow a verdict on the same override.
NEXT = {
    None: {*Outcome},
    Outcome.OPEN: {Outcome.ACCEPTED, Outcome.LOST, Outcome.WITHDRAWN},
    Outcome.ACCEPTED: {Outcome.WITHDRAWN},
    Outcome.LOST: set[Outcome](),
    Outcome.WITHDRAWN: set[Outcome](),
}
#: How a conflict may end by itself, by policy; `open` ends as a person says.
BY_ITSELF = {
    ConflictPolicy.CLOUD_WINS: {Outcome.ACCEPTED, Outcome.LOST, Outcome.WITHDRAWN},
    ConflictPolicy.EDGE_WINS: {Outcome.ACCEPTED, Outcome.WITHDRAWN},
    ConflictPolicy.MANUAL: {Outcome.ACCEPTED, Outcome.OPEN, Outcome.WITHDRAWN},
}
#: Where a store keeps what is desired, what an operator set instead, and the verdict on that.
REGISTERS = {
    (device, name): [
        RegisterKey(DeviceId("default", device), section, name)
        for section in (Section.DESIRED, Section.OVERRIDE, Section.VERDICT)
    ]
    for device in WIRES
    for name in WRITABLE
}


@dataclass(eq=False, slots=True)
class LocalEdit:
    """`behind`: its node did not know that the device was not its own any more, or another one. `outcome`: what its
    operator was told; `withdrawal`: the same of taking it back. `told`: when the root had it first. `write`: the
    desired value that it became."""

    key: Key
    value: int
    node: str
    asked: float
    behind: bool
    outcome: str = OPEN
    withdrawal: str = REFUSED
    id: OverrideId | None = None
    told: float = inf
    base: Version = ZERO
    verdict: Outcome | None = None
    judged_at: float = -1.0
    verdicts: dict[tuple[Outcome, str, int], float] = field(default_factory=dict)
    """When each of the root's was seen first: by its outcome, who decided, and the root's time."""
    write: Write | None = None

    @property
    def is_decided_anew(self) -> bool:
        """A person decided for the second time, since the root was put back: what the first did counts no more."""
        return sum(bool(by) for _, by, _ in self.verdicts) > 1


@dataclass(slots=True)
class LocalEdits:
    """All of them, by key, in the order in which they were asked for."""

    seed: int
    writes: Writes
    excuses: Excuses = field(default_factory=Excuses)
    by_key: dict[Key, list[LocalEdit]] = field(default_factory=dict)
    root_replaced: float = -1.0
    problems: list[str] = field(default_factory=list)
    _desired: dict[Key, Register] = field(default_factory=dict)
    """What the root desired when it was last looked at."""
    _looked: dict[Key, tuple[StoredRegister | None, ...]] = field(default_factory=dict)
    """What was on the root's disk then, of keys at which all of it was understood."""

    def policy(self, device: str, name: str) -> ConflictPolicy:
        policies = list(ConflictPolicy)
        return policies[(self.seed + 2 * [*WIRES].index(device) + WRITABLE.index(name)) % len(policies)]

    def ask(self, key: Key, value: int, node: str, now: float, *, behind: bool) -> LocalEdit:
        edit = LocalEdit(key, value, node, now, behind)
        self.by_key.setdefault(key, []).append(edit)
        return edit

    def find(self, key: Key, value: Value) -> LocalEdit | None:
        return next((edit for edit in self.by_key.get(key, []) if edit.value == value), None)

    def line_of(self, edit: LocalEdit) -> list[LocalEdit]:
        """Those of one line, as far as their ids are known."""
        if edit.id is None:
            return [edit]
        return [each for each in self.by_key[edit.key] if each.id is not None and each.id.line == edit.id.line]

    def is_void(self, edit: LocalEdit) -> bool:
        """It may have ended with its device, or with the store that held it."""
        return (
            edit.outcome == LOST
            or edit.behind
            or any(
                each.ended >= edit.asked
                and each.outcome != REFUSED
                and (each.value == ANYBODY or edit.told >= each.asked or edit.told == inf)
                for each in self.writes.by_key[edit.key[0], HOLDER]
            )
        )

    def is_open_again(self, key: Key, value: Value) -> bool:
        """A root that was put back, and had accepted it, made a conflict of it for a person to decide."""
        edit = self.find(key, value)
        return edit is not None and edit.write is not None and edit.verdict is Outcome.OPEN

    def is_taken_anew(self, key: Key, value: Value, since: float) -> bool:
        """A person took it since then, deciding for the second time: the root was put back to before the first."""
        edit = self.find(key, value)
        if edit is None or not edit.is_decided_anew:
            return False
        return edit.verdict is Outcome.ACCEPTED and edit.judged_at >= since

    # --- what happened -------------------------------------------------------------------------------------------

    def look(self, root: MemoryDisk, now: float) -> None:
        """What the root has durably of overrides and verdicts."""
        for device in WIRES:
            for name in WRITABLE:
                key = device, name
                stored = tuple(root.registers.get(register) for register in REGISTERS[key])
                # Nothing new can be seen in what was seen before, unless it is seen on another disk.
                if stored == self._looked.get(key) and self.root_replaced < 0:
                    continue
                if self._look(root, key, now):
                    self._looked[key] = stored
                desired = stored[0]
                if desired is not None:
                    self._desired[key] = desired.register

    def _look(self, root: MemoryDisk, key: Key, now: float) -> bool:
        """Whether there is no override that nobody is known to have set."""
        override, verdict = _read(root, key)
        edit = None if override is None else self.find(key, override.value)
        if override is None or edit is None:
            return override is None
        edit.id, edit.told, edit.base = override.id, min(edit.told, now), override.base
        judged = self._judged_by(key, verdict)
        if verdict is not None and judged is not None:
            self._see(judged, verdict, now)
        return True

    def _judged_by(self, key: Key, verdict: Verdict | None) -> LocalEdit | None:
        """The root may hear of the next one before what it made of this one is durable."""
        edits = self.by_key.get(key, [])
        return next((edit for edit in edits if verdict is not None and edit.id == verdict.override), None)

    def _see(self, edit: LocalEdit, verdict: Verdict, now: float) -> None:
        before, edit.verdict = edit.verdict, verdict.outcome
        first = edit.verdicts.setdefault((verdict.outcome, verdict.by, verdict.time), now)
        again = self.root_replaced >= min(edit.judged_at, first) >= 0
        is_anew = again and edit.write is not None and (edit.write.outcome == LOST or first == now)
        if before is verdict.outcome and not is_anew:
            return
        if not again:
            if verdict.outcome not in NEXT[before]:
                self.problems.append(f"{edit.key}: {edit.value} was {before}, and then {verdict.outcome}")
            if not verdict.by and verdict.outcome not in BY_ITSELF[self.policy(*edit.key)]:
                self.problems.append(f"{edit.key}: {edit.value} is {verdict.outcome}: not {self.policy(*edit.key)}")
            if verdict.outcome is Outcome.ACCEPTED and not verdict.by:
                self._see_accepted(edit)
        edit.judged_at = now
        if verdict.outcome is Outcome.ACCEPTED:
            if edit.write is None:
                edit.write = self.writes.ask(edit.key, edit.value, now)
            elif edit.is_decided_anew:
                edit.write.asked = now
            # A root that was put back may take what is of a device that was another's, or another one, before that.
            is_doubtful = again or (self.is_void(edit) and self.root_replaced >= edit.asked)
            edit.write.outcome, edit.write.ended = (UNKNOWN, inf) if is_doubtful else (DONE, now)
        elif verdict.outcome is Outcome.WITHDRAWN:
            self._take_back(edit)
        elif edit.is_decided_anew and edit.write is not None:
            edit.write.outcome = LOST

    def _see_accepted(self, edit: LocalEdit) -> None:
        """By itself a value is accepted over what the cloud wrote meanwhile only if the edge wins."""
        desired = self._desired.get(edit.key)
        if desired is None or desired.value is None or self.root_replaced >= 0 or edit.id is None:
            return
        is_of_line = origin_of(desired.value).override.startswith(f"{edit.id.line}.")
        is_at_odds = desired.version > edit.base and not is_of_line and plain(desired.value) != edit.value
        if is_at_odds and self.policy(*edit.key) is not ConflictPolicy.EDGE_WINS:
            self.problems.append(f"{edit.key}: {edit.value} is accepted over {plain(desired.value)} of the cloud")

    def _take_back(self, edit: LocalEdit) -> None:
        for each in self.line_of(edit):
            if each.write is not None:
                each.write.outcome = REFUSED

    def replaced(self, disks: Iterable[MemoryDisk], *, root_at: float | None) -> list[LocalEdit]:
        """A disk was replaced, the root's at `root_at`: the edits that went with it."""
        if root_at is not None:
            self.root_replaced = root_at
        gone = []
        on_disk = list(disks)
        for key, edits in self.by_key.items():
            read = (_read(disk, key)[0] for disk in on_disk)
            found = [self.find(key, override.value) for override in read if override is not None]
            kept = [each for each in found if each is not None]
            for edit in edits:
                if root_at is not None:
                    edit.told = inf
                # who knows of a later one knew of it, but for a node that is not the holder any more
                is_kept = any(each is edit or (each.value > edit.value and not each.behind) for each in kept)
                if edit.outcome in (DONE, UNKNOWN) and not is_kept:
                    edit.outcome = LOST
                    gone.append(edit)
        return gone

    # --- judgement -----------------------------------------------------------------------------------------------

    def judge(self, root: MemoryDisk, key: Key) -> list[str]:
        """What is wrong at the root with what was set at an edge."""
        override, verdict = _read(root, key)
        edits = self.by_key.get(key, [])
        expected = [edit for edit in edits if edit.outcome == DONE and not self.is_void(edit)]
        newest = None if override is None else self.find(key, override.value)
        if override is not None and (newest is None or newest.outcome == REFUSED):
            return [f"{key}: {override.value} is an override, and nobody set it"]
        if expected and (newest is None or edits.index(newest) < edits.index(expected[-1])):
            return [f"{key}: the override {expected[-1].value} is gone, there is {override}"]
        gone = [edit for edit in edits if newest is None or edits.index(edit) > edits.index(newest)]
        lost = {edit.outcome for edit in gone if edit.outcome in (DONE, LOST)}
        self.excuses.now |= {
            "override lost with its store" if outcome == LOST else "override void" for outcome in lost
        }
        if override is None or newest is None:
            return []
        if self._ended_with_a_later(newest, self._judged_by(key, verdict)):
            return []
        if verdict is None or verdict.override != override.id:
            return [f"{key}: the override {override.value} ({override.id}) is not judged: {verdict}"]
        ended = (Outcome.WITHDRAWN, Outcome.LOST)
        if override.withdrawn is not None and verdict.outcome not in ended:
            return [f"{key}: the override {override.value} was withdrawn, and is {verdict.outcome}"]
        # Where it was withdrawn may not be where it is now: a root that was put back may have heard of both.
        if newest.withdrawal == REFUSED and verdict.outcome is Outcome.WITHDRAWN:
            return [f"{key}: the override {override.value} was not withdrawn, and is {verdict.outcome}"]
        return self._judge_told(root, newest)

    def _ended_with_a_later(self, edit: LocalEdit, judged: LocalEdit | None) -> bool:
        """It is here again because the later one, which was judged, is void."""
        edits = self.by_key[edit.key]
        return judged is not None and edits.index(judged) > edits.index(edit) and self.is_void(judged)

    def _judge_told(self, root: MemoryDisk, edit: LocalEdit) -> list[str]:
        """The loser of a conflict is told, once."""
        codes = [
            (placed.entry.name, placed.entry.value["winner"])
            for placed in root.journal.kept.get(EVENT, [])
            if placed.entry.name in ("conflict", "conflict-open")
            and isinstance(placed.entry.value, dict)
            and isinstance(about := placed.entry.value["edge"], dict)
            and about["id"] == str(edit.id)
        ]
        wanted = {Outcome.LOST: ("conflict", "cloud"), Outcome.OPEN: ("conflict-open", None)}.get(
            edit.verdict or Outcome.WITHDRAWN
        )
        if len(codes) != len(set(codes)) or (wanted is not None and wanted not in codes):
            if self.root_replaced >= edit.asked:
                self.excuses.now.add("told by a root that was put back")
                return []
            return [f"{edit.key}: {edit.value} is {edit.verdict}, and was told so as {codes}"]
        return []


def _read(disk: MemoryDisk, key: Key) -> tuple[Override | None, Verdict | None]:
    _, override, verdict = (disk.registers.get(register) for register in REGISTERS[key])
    return (
        None if override is None else Override.read(override.register.value),
        None if verdict is None else Verdict.read(verdict.register.value),
    )
