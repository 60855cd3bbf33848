"""By which clocks this suite waits, and for how long; see `fair_loop`."""

from __future__ import annotations

import asyncio

from twingateway.testing.fair_loop import FairLoop

#: Seconds after which another process or thread is taken for hung: many times what any machine needs, however loaded.
PATIENCE = 300.0

#: How many times as fast a hurried loop's clock runs while it waits.
HURRY = 10.0


def hurried() -> FairLoop:
    """For who waits for nobody outside of the loop."""
    return FairLoop(HURRY)


class FairPolicy(asyncio.DefaultEventLoopPolicy):
    """Makes fair loops for `asyncio.run`, and for threads."""

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        return FairLoop()
