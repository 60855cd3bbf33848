"""How every command here begins and ends: what it has begun is ended on every path, and its exit status is right."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Coroutine
from typing import Any, NoReturn

from interop.processes import Died

#: As a shell has it, of a program that a signal ended.
STOPPED = 130


def new_parser(module: str, description: str | None, *, epilog: str = "") -> argparse.ArgumentParser:
    """For `python -m interop.{module}`; line breaks of both texts are kept."""

    def form(prog: str) -> argparse.HelpFormatter:
        return argparse.RawDescriptionHelpFormatter(prog, max_help_position=36)

    return argparse.ArgumentParser(
        prog=f"python -m interop.{module}", description=description, epilog=epilog, formatter_class=form
    )


def tell(text: str) -> None:
    """Progress, for the person who waits: not on standard output, whose last lines may be JSON."""
    print(text, file=sys.stderr, flush=True)


def run(work: Coroutine[Any, Any, int | None]) -> NoReturn:
    """Do this and exit with the status that it returns, 0 for None; 1 and one line if it cannot be done here, or a
    process of it died; 130 after Ctrl-C or SIGTERM, when everything that it began has been ended (a second one does
    not wait for that)."""
    stopped = False

    async def stoppable() -> int | None:
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert task is not None

        def stop() -> None:
            nonlocal stopped
            stopped = True
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)
            tell("stopping: what was started is ended")
            task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop)
        return await work

    try:
        status = asyncio.run(stoppable())
    except asyncio.CancelledError:
        if not stopped:
            raise
        sys.exit(STOPPED)
    except (OSError, Died) as error:
        sys.exit(f"error: {reason(error)}")
    sys.exit(status)


def reason(error: BaseException) -> str:
    """One or more lines, never none."""
    return str(error) or type(error).__name__
