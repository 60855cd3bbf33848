"""What this node itself has to say about devices and nodes, said again until it is durable.

A statement is the newest value of one register. While the store has no room it waits, replaced by a newer one if
there is one, and it is compared with what was said last, committed or not: so of `online`, `offline`, `online` in
quick succession the last word is the last.

The words of one device are shown in the order in which they were said. What it reports together with a statement, or
while one is on its way into the store, commits and is shown with that in one step: nobody sees a value with the
quality that the one before it had. While the store refuses, values do not wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from types import MappingProxyType

from twingateway.errors import StoreError, Unavailable
from twingateway.gateway.holding.insistence import Insistence
from twingateway.gateway.state.ledger import Ledger
from twingateway.gateway.state.mint import Draft
from twingateway.gateway.state.table import TwinTable
from twingateway.gateway.state.tasks import Tasks
from twingateway.twin.equality import same
from twingateway.twin.identity import DeviceId
from twingateway.twin.register import RegisterKey, Section, Version
from twingateway.twin.value import Value

#: Seconds between two attempts at a store that refuses.
RETRY_SECONDS = 1.0
_NOTHING: Mapping[RegisterKey, Value] = MappingProxyType({})


class Statements:
    """`say` for what commits before it is shown (presence, reach), `report` for what is shown first."""

    def __init__(self, table: TwinTable, ledger: Ledger, tasks: Tasks) -> None:
        self._table = table
        self._ledger = ledger
        self._tasks = tasks
        self.insistence = Insistence(table, ledger, tasks, self.renew)
        """For what was said in time, and refused."""
        self._owed: dict[RegisterKey, Draft] = {}
        self._writing: dict[RegisterKey, Draft] = {}
        self._unreported: dict[RegisterKey, Draft] = {}
        self._speaking: set[DeviceId] = set()
        """Of which a statement is owed, or being written: what they report goes with it."""
        self._is_refused = False
        """The store did not take the last statements."""
        self._renewed: set[RegisterKey] = set()
        self._task: asyncio.Task[None] | None = None

    def value(self, key: RegisterKey) -> Value:
        """What was said last."""
        for waiting in (self._unreported, self._owed, self._writing):
            draft = waiting.get(key)
            if draft is not None:
                return draft.value
        return self._table.value(key.device, key.section, key.name)

    def last(self, device: DeviceId, section: Section) -> Callable[[str], Value]:
        """What was said last of one section, by name; until something is said."""
        if self._unreported or self._owed or self._writing:
            return lambda name: self.value(RegisterKey(device, section, name))
        shown = self._table.section(device, section)
        return lambda name: None if (stored := shown.get(name)) is None else stored.register.value

    def say(self, values: Mapping[RegisterKey, Value]) -> None:
        """Write what differs from what was said last."""
        self._owe(values)
        self._work_on()

    def _owe(self, values: Mapping[RegisterKey, Value]) -> None:
        for key, value in values.items():
            if not same(self.value(key), value):
                self._owed[key] = Draft(key, value)
                if not self._is_refused:
                    self._speaking.add(key.device)

    def drop(self, device: DeviceId, sections: Collection[Section]) -> None:
        """Do not say what waits: the device is another's now, and it would be said under that one's grant."""
        for waiting in (self._unreported, self._owed, self._writing):
            for key in [key for key in waiting if key.device == device and key.section in sections]:
                del waiting[key]

    async def renew(self, keys: Iterable[RegisterKey]) -> None:
        """Say what was said last of these again, under a new epoch; returns when it is durable. In turn with all
        else: an older word that came with the greater epoch would be the last one."""
        self._renewed.update(keys)
        self._work_on()
        if self._renewed and self._task is not None:
            await asyncio.wait([self._task])

    def report(self, drafts: Iterable[Draft], beside: Mapping[RegisterKey, Value] = _NOTHING) -> None:
        """Mint these now, or as soon as the store can reserve numbers again; with what is said of the same device
        `beside` them, and was not said before, in one step."""
        drafts = list(drafts)
        self._ledger.file(drafts)
        self._owe(beside)
        if self._speaking:
            drafts = self._join(drafts)
        if not self._unreported:
            try:
                self._ledger.report(drafts)
            except Unavailable:
                pass
            else:
                return
        self._unreported.update((draft.key, draft) for draft in drafts)
        self._try_reports()
        self._work_on()

    def _join(self, drafts: Iterable[Draft]) -> list[Draft]:
        """Let go with a statement what has to; the others are returned."""
        others = []
        for draft in drafts:
            if draft.key.device in self._speaking:
                self._unreported.pop(draft.key, None)
                self._owed[draft.key] = draft
            else:
                others.append(draft)
        self._work_on()
        return others

    def _try_reports(self) -> bool:
        drafts = list(self._unreported.values())
        if drafts:
            try:
                self._ledger.report(drafts)
            except Unavailable:
                return False
            self._unreported.clear()
        return True

    def _work_on(self) -> None:
        if (self._owed or self._unreported or self._renewed) and self._task is None:
            self._task = self._tasks.start(self._work(), "statements")

    async def _work(self) -> None:
        try:
            while self._owed or self._unreported or self._renewed:
                renewed = all([await self._try_renewed(key) for key in list(self._renewed)])
                written, reported = await self._try_owed(), self._try_reports()
                if not (renewed and written and reported):
                    await asyncio.sleep(RETRY_SECONDS)
        finally:
            self._task = None

    async def _try_renewed(self, key: RegisterKey) -> bool:
        known = self._table.get(key)
        if known is not None:
            register, version = known.register, known.register.version
            draft = self._writing[key] = self._owed.pop(key, Draft(key, register.value, register.time))
            try:
                above = Version(version.incarnation, version.epoch + 1, 0)
                await self._ledger.write([draft], version=above, vital=True)
            except (StoreError, Unavailable):
                self._owed.setdefault(key, draft)
                return False
            finally:
                self._writing.pop(key, None)
        self._renewed.discard(key)
        return True

    async def _try_owed(self) -> bool:
        self._writing, self._owed = self._owed, {}
        try:
            if self._writing:
                await self._ledger.write(self._writing.values(), vital=True)
        except (StoreError, Unavailable):
            self._is_refused = True
            self._part(self._writing | self._owed)
            return False
        finally:
            self._writing = {}
        self._is_refused = False
        self._speaking = {key.device for key in self._owed}
        return True

    def _part(self, refused: Mapping[RegisterKey, Draft]) -> None:
        """Statements wait for the store; values, which are shown before they are durable, do not."""
        self._speaking.clear()
        self._owed = {key: draft for key, draft in refused.items() if key.section is not Section.REPORTED}
        values = {key: draft for key, draft in refused.items() if key.section is Section.REPORTED}
        self._unreported = values | self._unreported
