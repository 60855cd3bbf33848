"""Where a value becomes a register: it gets the next lsn, and a version under the incarnation and epoch that its
writer was granted.
"""

from __future__ import annotations

from collections.abc import Iterable

from twingateway.gateway.state.clock import Clock
from twingateway.gateway.state.lifecycle import granted_epoch
from twingateway.gateway.state.numbers import Numbers
from twingateway.gateway.state.table import TwinTable
from twingateway.twin.kept import LIFECYCLE_NAME
from twingateway.twin.record import record
from twingateway.twin.register import WRITER, Register, RegisterKey, Section, StoredRegister, Version, Writer
from twingateway.twin.value import Value


@record
class Draft:
    """A value about to become a register of this node. `time`: Unix milliseconds, None for now. `seq`: that of the
    version under which the same was said before, None for a fresh one."""

    key: RegisterKey
    value: Value
    time: int | None = None
    seq: int | None = None


class Mint:
    """Of one node."""

    def __init__(self, clock: Clock, numbers: Numbers, table: TwinTable) -> None:
        self._clock = clock
        self._numbers = numbers
        self._table = table

    def basis(self, key: RegisterKey) -> tuple[int, int]:
        """Incarnation and epoch under which this node mints a register: both follow from the lifecycle register."""
        if key.section is Section.REACH:
            known = self._table.get(key)
            return (1, 1) if known is None else known.register.version[:2]
        lifecycle = self._table.get(RegisterKey(key.device, Section.LIFECYCLE, LIFECYCLE_NAME))
        if lifecycle is None:
            return (0, 0) if WRITER[key.section] is Writer.HOLDER else (1, 1)
        version = lifecycle.register.version
        if WRITER[key.section] is not Writer.HOLDER:
            return version.incarnation, version.epoch
        return version.incarnation, granted_epoch(lifecycle.register)

    def next_version(self, key: RegisterKey) -> Version:
        """Greater than each that this node has minted of this register, and not than the next."""
        known = self._table.get(key)
        basis = self.basis(key)
        incarnation, epoch = basis if known is None else max(basis, known.register.version[:2])
        return Version(incarnation, epoch, self._numbers.last_lsn + 1)

    def issue(self, drafts: Iterable[Draft], version: Version | None = None) -> list[StoredRegister]:
        """Registers with fresh lsns. `version` overrides incarnation and epoch; its seq is ignored. Raises
        Unavailable when the store has no numbers left."""
        drafts = list(drafts)
        lsns = self._numbers.lsns(len(drafts))
        now = self._clock.wall_ms()
        minted = []
        device, section, basis = None, None, (0, 0)
        for draft, lsn in zip(drafts, lsns, strict=True):
            key = draft.key
            if key.device is not device or key.section is not section:
                device, section = key.device, key.section
                basis = self.basis(key) if version is None else version[:2]
            known = None if version is not None else self._table.get(key)
            incarnation, epoch = basis
            if known is not None and known.register.version[:2] > basis:
                incarnation, epoch, _ = known.register.version  # what is said now is newer, whatever it is said under
            time = now if draft.time is None else draft.time
            minted_as = Version(incarnation, epoch, lsn if draft.seq is None else draft.seq)
            minted.append(StoredRegister(Register(key, minted_as, draft.value, time), lsn))
        return minted
