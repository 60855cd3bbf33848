"""Whose word of when can have come to whom: told by the messages that arrived, whatever was in them.

A message tells what its sender knew when it set out: its own doings up to then, and those of the nodes it had heard.
How much a node was told is counted in *rounds* with the root, each a word of the root's that came to the node and a
word of the node's, from after that, which came back: whoever has had several of them since something happened had it
told, or could say what he lacks and be told.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from math import inf, nextafter

from tests.simulation.topology import ROOT

Moments = Mapping[str, float]
"""By node: up to when what it did can be known."""
#: Rounds in which a node has been told: a message or an answer may have been lost, and the link be new.
TOLD = 3
#: Seconds in which what a node was told last may not be durable there yet, nor what it has begun be done.
SETTLED = 0.1


class Word:
    def __init__(self, nodes: Iterable[str], now: Callable[[], float]) -> None:
        self._now = now
        self._known: dict[str, dict[str, float]] = {node: {} for node in nodes}
        self._came: defaultdict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
        """By speaker and listener: from which moment a word came, and when; both ascending."""

    def sent(self, speaker: str) -> Moments:
        return {**self._known[speaker], speaker: self._now()}

    def arrived(self, listener: str, moments: Moments) -> None:
        known = self._known[listener]
        for speaker, moment in moments.items():
            if moment > known.get(speaker, -1.0):
                known[speaker] = moment
                came = self._came[speaker, listener]
                if ROOT in (speaker, listener) and (not came or moment > came[-1][0]):
                    came.append((moment, self._now()))

    def ended(self, node: str, kept_until: float = inf) -> None:
        """Its process: what that had not passed on, nobody hears from it; and what it was told last, or since
        `kept_until`, it could not keep."""
        self._known[node].clear()
        came, kept_until = self._came[ROOT, node], min(kept_until, self._now() - SETTLED)
        while came and came[-1][1] > kept_until:
            came.pop()

    def rounds(self, node: str, since: float) -> Iterator[float]:
        """When each of those began, at the node, that it had with the root from that moment on."""
        while (heard := self._first(ROOT, node, since)) < inf:
            yield heard
            since = nextafter(self._first(node, ROOT, heard), inf)

    def told_at(self, node: str, since: float) -> float:
        """When the node had been told what the root knew at that moment and since; the root has heard it, too."""
        return next(islice(self.rounds(node, since), TOLD - 1, None), inf) + SETTLED

    def is_told(self, node: str, since: float, by: float) -> bool:
        return self.told_at(node, since) <= by

    def _first(self, speaker: str, listener: str, since: float) -> float:
        """When the first word from this moment or a later one came."""
        came = self._came[speaker, listener]
        index = bisect_left(came, (since, -1.0))
        return came[index][1] if index < len(came) else inf


class Path:
    """What is between a node and its parent. Implements `Witness`."""

    def __init__(self, word: Word, child: str, parent: str) -> None:
        self._word = word
        self._ends = {True: (child, parent), False: (parent, child)}

    def sent(self, *, up: bool) -> Moments:
        return self._word.sent(self._ends[up][0])

    def arrived(self, sent: object, *, up: bool) -> None:
        if isinstance(sent, dict):
            self._word.arrived(self._ends[up][1], sent)
