"""What goes into the journal of this node: values that are to have history, notices, and whatever others append.

Where entries go follows from where the node stands. With a parent they are queued for it; at the root, and wherever
people can ask (a node with an API), they are kept. Nothing of the journal ever becomes state.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial

import structlog

from twingateway.errors import InvalidValue, TooLarge
from twingateway.gateway.state.clock import Clock
from twingateway.gateway.state.committer import Committer
from twingateway.gateway.state.mint import Draft
from twingateway.ports.journal import OWN, Depth, Filing, Told
from twingateway.twin.entry import CLASSES, EVENT, HISTORY, LOST, JournalClass, JournalEntry
from twingateway.twin.identity import DeviceId
from twingateway.twin.model import Property
from twingateway.twin.value import Value
from twingateway.validation.normalise import normalise

log = structlog.get_logger("journal")


def _everything(name: str) -> bool:
    return True


def _nothing(name: str) -> bool:
    return False


class WithHistory(StrEnum):
    """Which reported properties have history: all, those whose model gives a retention, or none."""

    ALL = "all"
    MODELLED = "modelled"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class JournalPolicy:
    """`retention`: seconds that history is kept where no model says it; `max_history`: bytes of all of it; `kept`:
    entries of each other class that are kept; `serves`: this node answers people, so it keeps its own and its
    children's entries."""

    classes: Mapping[str, JournalClass] = field(default_factory=lambda: CLASSES)
    history: WithHistory = WithHistory.MODELLED
    retention: float = 30 * 86400.0
    max_history: int = 1024 * 1024 * 1024
    kept: int = 100_000
    serves: bool = False

    @property
    def order(self) -> list[str]:
        """Class names, the most urgent first."""
        return [each.name for each in sorted(self.classes.values(), key=lambda each: (each.priority, each.name))]


class Age:
    """Milliseconds that this node has run since the oldest entry in its queues began to wait: no clock on a wall can
    make them old, and time switched off does not count."""

    def __init__(self, clock: Clock, depths: Iterable[Depth]) -> None:
        self._clock = clock
        self._base = max((depth.newest_stamp for depth in depths), default=0)
        self._start: float | None = None

    def stamp(self) -> int:
        now = self._clock.now()
        if self._start is None:
            self._start = now
        return self._base + int((now - self._start) * 1000)


class Journal:
    """Makes entries. `properties_of` finds what a device's model says of its properties."""

    def __init__(
        self,
        node: str,
        namespace: str,
        root: bool,
        policy: JournalPolicy,
        age: Age,
        committer: Committer,
        clock: Clock,
        properties_of: Callable[[DeviceId], Mapping[str, Property]],
    ) -> None:
        self.policy = policy
        self.appended = 0
        """Entries that began here since the start."""
        self._node = node
        self._namespace = namespace
        self._root = root
        self._age = age
        self._committer = committer
        self._clock = clock
        self._properties_of = properties_of
        self._watchers: list[Callable[[str], None]] = []
        self._tellers: dict[str, Callable[[], None]] = {}
        """Tell the watchers, by class."""

    def watch(self, watcher: Callable[[str], None]) -> None:
        """Tell `watcher` of a class in which something new is durable."""
        self._watchers.append(watcher)

    async def append(
        self, class_name: str, device: DeviceId | None, name: str, value: Value, time: int | None = None
    ) -> None:
        """Durable on return. `name`: the event's code or the property; `time`: Unix milliseconds, None for now.
        Raises StoreError (then it is not in the journal), InvalidValue or TooLarge."""
        filing = self._filing(class_name, device, name, value, time)
        committing = self._committer.submit(journal=[filing])
        committing.add_done_callback(lambda done: self._tell(class_name) if done.exception() is None else None)
        await asyncio.shield(committing)

    def note(
        self, class_name: str, device: DeviceId | None, name: str, value: Value, time: int | None = None
    ) -> None:
        """As `append`, durable with the next commit; while the store refuses it is kept back, not for ever."""
        try:
            filing = self._filing(class_name, device, name, value, time)
        except (InvalidValue, TooLarge) as error:
            log.error("an entry cannot be written", name=name, reason=error.message)
            return
        self._file([filing])

    def record(self, reported: Iterable[Draft]) -> None:
        """Values that devices of this node reported just now: those that are to have history are durable with the
        next commit."""
        filings = []
        about: DeviceId | None = None
        has_history: Callable[[str], bool] = _nothing
        for draft in reported:
            device, _, name = draft.key
            if device is not about:
                about, has_history = device, self.with_history(device)
            if has_history(name):
                time = self._clock.wall_ms() if draft.time is None else draft.time
                entry = JournalEntry(HISTORY, device.namespace, self._node, device.name, name, time, draft.value)
                filings.append(self.placed(entry))
        if filings:
            self._file(filings)

    def event(self, code: str, message: str, device: DeviceId, detail: Mapping[str, Value]) -> Filing:
        """An event that is to be durable together with something else: for whoever commits that. Raises InvalidValue
        or TooLarge."""
        return self._filing(EVENT, device, code, {**detail, "message": message}, None)

    def committed(self, filing: Filing) -> None:
        """Such an event is durable: pass it on."""
        self.appended += 1
        self._tell(filing.entry.class_name)

    def on_notice(
        self, code: str, message: str, device: DeviceId | None, time: int, detail: Mapping[str, Value]
    ) -> None:
        """Every notice of this node is an event."""
        self.note(EVENT, device, code, {**detail, "message": message}, time)

    def reminder(self, class_name: str, told: Told) -> JournalEntry:
        """What a parent that was put back to an older copy lacks of this is lost."""
        node = self._node if told.node == OWN else told.node
        time, count = self._clock.wall_ms(), told.last
        return JournalEntry(
            class_name, self._namespace, node, None, "", time, None, told.journal_id, seq=1, count=count, gap=LOST
        )

    def placed(self, entry: JournalEntry) -> Filing:
        """Where an entry goes that came from elsewhere. One of another tenant is never passed on under ours."""
        queue = not self._root and entry.namespace == self._namespace
        return Filing(entry, self._age.stamp(), queue, self._root or self.policy.serves)

    def stamp(self) -> int:
        """See `Age`."""
        return self._age.stamp()

    def with_history(self, device: DeviceId) -> Callable[[str], bool]:
        """Says of a device's properties which have history."""
        if self.policy.history is WithHistory.MODELLED:
            properties = self._properties_of(device)
            return lambda name: (found := properties.get(name)) is not None and found.retention is not None
        return _everything if self.policy.history is WithHistory.ALL else _nothing

    def _filing(self, class_name: str, device: DeviceId | None, name: str, value: Value, time: int | None) -> Filing:
        time = self._clock.wall_ms() if time is None else time
        namespace = self._namespace if device is None else device.namespace
        checked = normalise(value, name)
        device_name = None if device is None else device.name
        return self.placed(JournalEntry(class_name, namespace, self._node, device_name, name, time, checked))

    def _file(self, filings: list[Filing]) -> None:
        self.appended += len(filings)
        self._committer.add(journal=filings)
        for class_name in {filing.entry.class_name for filing in filings}:
            tell = self._tellers.setdefault(class_name, partial(self._tell, class_name))
            self._committer.after_journal(tell)

    def _tell(self, class_name: str) -> None:
        for watcher in self._watchers:
            watcher(class_name)
