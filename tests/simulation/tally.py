"""What came of the seeds so far, in lines for the person who waits for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import timedelta

#: Seconds between two lines of progress.
PROGRESS_EVERY = 10.0
#: Failing seeds that are told with what is wrong; of more only the numbers are.
EXPLAINED = 10


class Tally:
    """Of `wanted` seeds, begun at `now`; times are monotonic seconds. `options`: with which a seed is replayed."""

    def __init__(self, wanted: int, now: float, options: str = "") -> None:
        self._wanted = wanted
        self._options = options
        self._began = self._told_at = now
        self._done = 0
        self._excused: Counter[str] = Counter()
        self.failed: list[int] = []

    def add(self, seed: int, problem: str, now: float, excuses: Iterable[str] = ()) -> list[str]:
        """One seed is done, in which nothing is wrong thanks to these excuses; the lines to print."""
        lines = []
        self._done += 1
        self._excused.update(excuses)
        if problem:
            self.failed.append(seed)
            replay = f"  replay: python -m tests.simulation --seed {seed}{self._options}"
            is_explained = len(self.failed) <= EXPLAINED
            lines.append(f"seed {seed}: {problem}\n{replay}" if is_explained else f"seed {seed} failed")
        if now - self._told_at >= PROGRESS_EVERY:
            self._told_at = now
            lines.append(self._progress(now))
        return lines

    def _progress(self, now: float) -> str:
        rate = self._done / (now - self._began)
        left = timedelta(seconds=round((self._wanted - self._done) / rate))
        return f"{self._done} of {self._wanted} seeds, {len(self.failed)} failed, {rate:.1f}/s, {left} left"

    def summary(self, now: float) -> list[str]:
        """The last lines, of what ran."""
        lines = [f"{self._done} seeds, {len(self.failed)} failed, {now - self._began:.1f} s"]
        if self._excused:
            lines.append("excused in: " + ", ".join(f"{n} {name}" for name, n in self._excused.most_common()))
        if self.failed:
            lines.append("failed: " + " ".join(map(str, sorted(self.failed))))
        return lines
