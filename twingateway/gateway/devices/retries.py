"""When something about a device's desired values is to be done although nothing happens.

What failed for a passing reason is tried again, ever more seldom, while it is the same that is wanted. What else
comes with time (a ttl that ends) is looked at again when it was asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

from twingateway.gateway.state.clock import Clock

#: Seconds before a write that failed for a passing reason is tried again: doubling from the first to the second.
RETRY = (1.0, 30.0)


@dataclass(frozen=True, slots=True)
class _Retry:
    """A wish that waits until `at` (monotonic seconds), `delay` after it failed."""

    mark: str
    at: float
    delay: float


class Retries:
    """Of one device's properties. `mark`: what was wanted of a property when it failed."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: dict[str, _Retry] = {}
        self._looked = clock.now()
        self._looks: list[float] = []
        """Monotonic seconds."""

    def put_off(self, name: str, mark: str) -> None:
        """It failed."""
        before = self._waiting.get(name)
        again = before is not None and before.mark == mark
        delay = min(2 * before.delay, RETRY[1]) if before is not None and again else RETRY[0]
        self._waiting[name] = _Retry(mark, self._clock.now() + delay, delay)

    def is_due(self, name: str, mark: str) -> bool:
        """Whether it may be tried now."""
        retry = self._waiting.get(name)
        return retry is None or retry.mark != mark or self._clock.now() >= retry.at

    def look(self) -> None:
        """All values are looked at now; whoever wants to look at one again later says so once more."""
        self._looked = self._clock.now()
        self._looks = []

    def look_again(self, after: float) -> None:
        """Something is to be looked at again, after so many seconds."""
        self._looks.append(self._clock.now() + after)

    def pause(self) -> float | None:
        """Seconds to the next retry or look that was not due when the values were last looked at; None without
        one."""
        times = (*(retry.at for retry in self._waiting.values()), *self._looks)
        later = [at for at in times if at > self._looked]
        return max(0.0, min(later) - self._clock.now()) + 0.001 if later else None

    def forget(self, name: str) -> None:
        """It is settled."""
        self._waiting.pop(name, None)

    def clear(self) -> None:
        """Whatever waits is tried now."""
        self._waiting.clear()
