"""A root whose store was put back to an older copy goes on with another history than the lost one: who tells it so,
and which of its registers it wrote since.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from twingateway.gateway.holding.claims import (
    COMMITTED_FIRST,
    HOLDER_SECTIONS,
    Claim,
    epoch_of,
    fields,
    lifecycle_key,
    registers_of,
)
from twingateway.gateway.holding.restored import DECIDED, MADE, MADE_IN, MOVED_IN, ONLY_MOVED, RESTORED, Restored
from twingateway.gateway.peering.peers import Peers
from twingateway.gateway.state.ledger import Ledger
from twingateway.gateway.state.lifecycle import DOUBT, lifecycle_of
from twingateway.gateway.state.mint import Draft
from twingateway.gateway.state.numbers import BLOCK, Numbers
from twingateway.gateway.state.table import TwinTable
from twingateway.twin.conflict import Verdict
from twingateway.twin.desired import origin_of
from twingateway.twin.identity import DeviceId
from twingateway.twin.presence import STATE
from twingateway.twin.register import ZERO, Register, RegisterKey, Section, StoredRegister
from twingateway.twin.value import Value

#: What clients write.
WRITTEN = (Section.DESIRED, Section.TAGS)


class Histories:
    """Writes nothing itself."""

    def __init__(self, peers: Peers, table: TwinTable, ledger: Ledger, numbers: Numbers) -> None:
        self._peers = peers
        self._table = table
        self._ledger = ledger
        self._numbers = numbers
        self._watchers: list[Callable[[str, int], None]] = []
        self.is_known = False
        """This process has found its store put back: it was before the process began, and so it is not again."""

    def watch(self, watcher: Callable[[str, int], None]) -> None:
        """Tell it of who knows what another history of this store wrote, and where that left this one."""
        self._watchers.append(watcher)

    def is_forked(self, claims: list[Claim]) -> bool:
        """Whether these tell that this store was put back, which nobody knew. Then nothing is sent to the claimants,
        which would replace what they know; the repair ends all sessions, and they claim again."""
        if self.is_known:
            return False
        forks = [fork for fork in map(self._fork_seen_by, claims) if fork is not None]
        for watcher in self._watchers if forks else ():
            watcher(claims[0].holder, min(forks))
        return bool(forks)

    def _fork_seen_by(self, claim: Claim) -> int | None:
        """Where this store was put back to an older copy of itself, if the claimant has what was written after that
        and lost, and this root does not know yet that something was. No node on the way need know it. A store that is
        open for the first time is no copy: it may have taken the place of one that is lost."""
        current = self._table.get(lifecycle_key(claim.device))
        lifecycle = {} if current is None else fields(current.register)
        if not lifecycle or RESTORED in lifecycle or lifecycle.get("holder") == self._peers.node:
            return None
        lost = [version.seq for version in claim.of_root if not self._numbers.is_issued(version.seq)]
        return self._numbers.left_at(lost) if lost and self._numbers.start else None

    def is_since(self, restored: Restored, register: Register) -> bool:
        """Whether this root wrote it after it was restored."""
        return restored.is_since(register.version, is_issued=self._numbers.is_issued(register.version.seq))

    def is_own(self, restored: Restored, register: Register) -> bool:
        """Whether this root wrote it in its present history, be it before the copy was made."""
        is_known = restored.seq > 0 and self._numbers.is_issued(register.version.seq)
        return is_known or self.is_since(restored, register)

    def known_until(self, device: DeviceId, told: Iterable[Register]) -> int:
        """Of a root that was put back again: the last lsn of what they know who tell these. They heard it since the
        restore that the device's note is of, or one after that, had been noted. 0 if they did not."""
        restored, until = Restored.of(lifecycle_of(self._table, device)), 0
        for state in (each for each in told if each.key == lifecycle_key(device)):
            note, seq = Restored.of(fields(state)), state.version.seq
            if restored is None or note is None or not 0 < restored.seq <= note.seq or self._numbers.is_issued(seq):
                continue
            if self._numbers.is_issued(note.seq + 1):  # it is of this history, which left that one later
                until = max(until, self._numbers.left_at([seq]))
        return until

    def known_before(self, device: DeviceId, until: int) -> dict[str, Value]:
        """The lifecycle as it was before anything is adopted. What somebody did with the device up to `until` (0: to
        the restore) counts as done before the restore."""
        current = self._table.get(lifecycle_key(device))
        value = {} if current is None else fields(current.register)
        done_in = max(_began(value.get(MOVED_IN)), _began(value.get(MADE_IN)))
        is_done_since = current is not None and current.register.version.seq > until
        if not until or (is_done_since and (value["state"] != "live" or done_in >= until)):
            return value
        return {name: each for name, each in value.items() if name != DECIDED}

    def written_since(
        self, device: DeviceId, until: int, told: Mapping[RegisterKey, Register]
    ) -> dict[RegisterKey, Draft]:
        """What people wrote, or decided, after the root was restored is newer than what it wrote before; and than
        what is told by who knows all up to `until`, what they did after that. It keeps its seq, so that nobody
        takes it for another word. What came of an override by itself is not kept: it is judged anew, if it was not
        before. Of a root that was put back more than once, what would lose to what is `told` now is newer, too, if it
        was written when this history had left all others that this is of."""
        restored = Restored.of(lifecycle_of(self._table, device))
        if restored is None:
            return {}
        restored, left_all_at = replace(restored, seq=max(restored.seq, until)), self._left_all_at(told.values())
        incarnation = max((each.version.incarnation for each in told.values()), default=0)

        def is_newer(ours: Register) -> bool:
            if self.is_since(restored, ours):
                return True
            of_same, seq = told.get(ours.key, ours), ours.version.seq
            is_overtaken = ours.version.incarnation < incarnation or of_same.version > ours.version
            return is_overtaken and left_all_at is not None and left_all_at < seq and self._numbers.is_issued(seq)

        verdicts = registers_of(self._table, device, (Section.VERDICT,))
        decided = [each for each in verdicts if is_newer(each) and _is_by_a_person(each)]
        names = {each.key.name for each in decided}
        said = [
            each
            for each in registers_of(self._table, device, WRITTEN)
            if (each.key.section is Section.DESIRED and each.key.name in names)  # also if it stood before
            or (is_newer(each) and not origin_of(each.value).override)
        ]
        return {each.key: Draft(each.key, each.value, each.time, each.version.seq) for each in [*decided, *said]}

    def _left_all_at(self, told: Iterable[Register]) -> int | None:
        """The last lsn from before this history went on when it had left all others that these are of; None if they
        are of none, or their numbers do not tell."""
        seqs = (register.version.seq for register in told)
        lost = max((seq for seq in seqs if not self._numbers.is_issued(seq)), default=None)
        return None if lost is None else self._numbers.forked_at(lost)

    def present(self, device: DeviceId) -> list[RegisterKey]:
        """What clients wrote of it that has a value."""
        registers = registers_of(self._table, device, WRITTEN)
        return [register.key for register in registers if register.value is not None]

    def epoch_above(
        self,
        device: DeviceId,
        incarnation: int,
        value: dict[str, Value],
        before: dict[str, Value],
        adopted: dict[str, Value],
    ) -> Value:
        """The holder's epoch, beyond what another holder was granted or said meanwhile. Whom the copy gave the device
        `before` may have written to it since: then it is a new one, so that the device is asked what it holds."""
        told = (r.version for r in registers_of(self._table, device, HOLDER_SECTIONS))
        greatest = max((version.epoch for version in told if version.incarnation == incarnation), default=0)
        epoch, other = epoch_of(value), epoch_of(adopted)
        if (value.get("holder"), value.get("store")) != (adopted.get("holder"), adopted.get("store")):
            epoch = max(epoch, other + 1)
        if before.get("holder") not in (None, value.get("holder")):
            epoch = max(epoch, epoch_of(before)) + 1
        return epoch if epoch >= greatest else greatest + 1

    def is_doubtful(self, lifecycle: Register) -> bool:
        """Whether what `doubtful` makes of it is there: by a repair that was interrupted; or by one that is over, but
        nobody could write since, as the device is in doubt still."""
        note = Restored.of(fields(lifecycle))
        if note is None or note.since is not None:
            return False
        return DOUBT in fields(lifecycle) or note.store in ("", self._peers.store_id.hex())

    def doubtful(self, lifecycle: StoredRegister, since: int) -> dict[str, Value]:
        """The value of a lifecycle register when it is found that this root was put back; `since`: the last seq from
        before that."""
        value, is_old = fields(lifecycle.register), lifecycle.register.version.seq <= since
        note = Restored(since, None, lifecycle.register.version if is_old else ZERO, self._peers.store_id.hex())
        value = {name: each for name, each in value.items() if name not in (DOUBT, DECIDED)}
        value[RESTORED] = note.to_value()
        is_free = value["state"] == "deleted" or value.get("holder") is None
        if _began(value.get(MADE_IN)) >= since or (not is_old and is_free):
            value[DECIDED] = MADE
        elif value["state"] == "live" and value.get("holder") is not None:
            value[DOUBT] = True
            if _began(value.get(MOVED_IN)) >= since:
                value[DECIDED] = ONLY_MOVED
        return value


def numbers_said(table: TwinTable, ledger: Ledger, claims: Iterable[Claim]) -> list[int]:
    """Of what is here of the claimants' word under their present grants, of every stretch of numbers the highest:
    what another history issued is in a stretch of its own, or beyond what both have in common."""
    highest: dict[int, int] = {}
    for claim in claims:
        granted = ledger.mint.basis(RegisterKey(claim.device, Section.PRESENCE, STATE))
        for register in registers_of(table, claim.device, COMMITTED_FIRST):
            if register.version[:2] == granted:
                stretch, seq = register.version.seq // BLOCK, register.version.seq
                highest[stretch] = max(seq, highest.get(stretch, 0))
    return sorted(highest.values())


def _began(value: Value) -> int:
    """The last lsn from before the process that did something; less than any if nobody did it."""
    return value if isinstance(value, int) else -1


def _is_by_a_person(verdict: Register) -> bool:
    """It is not what the policy made of an override."""
    read = Verdict.read(verdict.value)
    return read is not None and bool(read.by)
