"""Reminding a peer of what it was told before, in one class of the journal.

What was told is in no queue any more. So each process of the peer is sent, once, a gap record of each journal as far
as it was told: of that a peer whose store was put back to an older copy takes what it lacks. Reminders let what waits
go first, if it comes to an end soon, and wait for one another: each few of them until those before are acknowledged.
"""

from __future__ import annotations

from collections.abc import Sequence

from twingateway.twin.entry import JournalEntry


class Reminders:
    """`wanted` → `take` brings them, `batch` takes them away, `acked` lets the next ones come."""

    def __init__(self) -> None:
        self._owed = True
        self.stop()

    def stop(self) -> None:
        """The link is gone: what is owed still begins anew on the next."""
        self._asked = False
        self._behind = b""
        """The journal of the last one."""
        self._gaps: list[JournalEntry] = []
        self._unacknowledged = 0
        """The batch with the last ones, 0 for none."""

    def start(self, *, forgotten: bool) -> None:
        """The peer is ready; `forgotten`: it names nothing that it has from here, as if it had just been started."""
        self._owed = self._owed or forgotten

    @property
    def waiting(self) -> bool:
        return bool(self._gaps)

    @property
    def wanted(self) -> bytes | None:
        """Look up what was told of the journals behind this one, None for not now. Answer with `take` or `failed`."""
        held_up = self._asked or self._gaps or self._unacknowledged
        return self._behind if self._owed and not held_up else None

    def asked(self) -> None:
        """What `wanted` names is being looked up."""
        self._asked = True

    def take(self, behind: bytes, gaps: Sequence[JournalEntry]) -> None:
        """Of the journals behind `behind`, in order of their ids; none at the end."""
        if not self._asked or behind != self._behind:
            return  # asked for on a link that is gone
        self._asked = False
        self._gaps = list(gaps)
        self._owed = bool(gaps)

    def failed(self) -> None:
        """They could not be looked up; they are wanted again."""
        self._asked = False

    def batch(self, number: int) -> list[JournalEntry]:
        """What waits goes out with this batch."""
        gaps, self._gaps = self._gaps, []
        self._behind, self._unacknowledged = gaps[-1].journal_id, number
        return gaps

    def acked(self, number: int) -> None:
        """Batches up to `number` are durable at the peer."""
        if number >= self._unacknowledged:
            self._unacknowledged = 0
