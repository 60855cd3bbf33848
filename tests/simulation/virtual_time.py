"""An asyncio event loop whose time passes only when nothing is left to do: hours in milliseconds, always the same.

It waits for nothing but time: no sockets, threads or signals. What is due at the same time goes in the order in which
it was asked for, and time stands at exactly what was asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from heapq import heappop, heappush
from typing import Any, TypeVar

T = TypeVar("T")


class Stuck(Exception):
    """Nothing is scheduled any more, and the work is not done."""


class _Call(asyncio.TimerHandle):
    """One that keeps no record of where it came from."""

    __slots__ = ()

    def __init__(self, when: float, callback: Callable[..., object], args: tuple[Any, ...], context: Context) -> None:
        self._when, self._callback, self._args, self._context = when, callback, args, context
        self._cancelled = False
        self._source_traceback = None

    def cancel(self) -> None:
        self._cancelled = True
        self._callback = self._args = None


class VirtualLoop(asyncio.BaseEventLoop):
    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._count = 0
        self._timers: list[tuple[float, int, _Call]] = []

    def time(self) -> float:
        return self._now

    def call_soon(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        handle = _Call(self._now, callback, args, copy_context() if context is None else context)
        self._ready.append(handle)
        return handle

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        self._count += 1
        handle = _Call(when, callback, args, copy_context() if context is None else context)
        heappush(self._timers, (when, self._count, handle))
        return handle

    def _run_once(self) -> None:
        """Turn after turn until the loop is stopped: do what is ready, for which time passes first if nothing is."""
        timers, ready = self._timers, self._ready
        while True:
            if not ready and not self._stopping:
                while timers and timers[0][2]._cancelled:
                    heappop(timers)
                if not timers:
                    raise Stuck("every task waits for something that nobody will do")
                self._now = max(self._now, timers[0][0])
            now = self._now
            while timers and timers[0][0] <= now:
                ready.append(heappop(timers)[2])
            for _ in range(len(ready)):
                handle = ready.popleft()
                if not handle._cancelled:
                    try:
                        handle._context.run(handle._callback, *handle._args)
                    except (SystemExit, KeyboardInterrupt):
                        raise
                    except BaseException as error:
                        self.call_exception_handler({"message": f"{handle._callback!r} failed", "exception": error})
            if self._stopping:
                return


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run to completion in virtual time, from time 0."""
    loop = VirtualLoop()
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(work)
    finally:
        pending = asyncio.all_tasks(loop)
        for task in pending:
            task.cancel()
        if pending:
            loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        asyncio.set_event_loop(None)
        loop.close()
