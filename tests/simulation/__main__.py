"""`python -m tests.simulation --seeds 100000`: many seeds; `--seed N --trace`: one, with what happened.

Seeds run in as many processes as there are processors. The first failing seeds are printed with the command that
replays each, at the end all of them; an interrupt ends it with the summary of what ran.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import MutableMapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any, NoReturn

import structlog

from tests.simulation.tally import Tally
from tests.simulation.virtual_time import run
from tests.simulation.world import World, simulate


def try_seed(seed: int, *, dense: bool = False, logged: bool = False) -> tuple[int, str, list[str]]:
    """(seed, what is wrong or nothing, trace); `logged`: with what the nodes log."""
    world = World(seed, dense=dense)
    if logged:
        _log_into(world)
    return seed, _played(world), world.trace


def _played(world: World) -> str:
    try:
        run(simulate(world))
    except AssertionError as error:
        return str(error) or traceback.format_exc()
    except BaseException:
        return traceback.format_exc()
    return ""


def _log_into(world: World) -> None:
    def into_trace(logger: object, level: str, event: MutableMapping[str, Any]) -> NoReturn:
        what = event.pop("event")
        world.note(f"    {level}: {what} " + " ".join(f"{name}={value}" for name, value in event.items()))
        raise structlog.DropEvent

    structlog.configure([into_trace], wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))


def quieten() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def prepare() -> None:
    """Of a process that tries many seeds: rubbish is collected between worlds, of which none outlives its end, rather
    than looked for again and again among all modules. An interrupt is for the process that hands out the seeds."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    quieten()
    gc.collect()
    gc.freeze()
    gc.disable()


def try_one_of_many(seed: int, *, dense: bool = False) -> tuple[int, str, set[str]]:
    world = World(seed, dense=dense)
    problem, excuses = _played(world), world.oracle.excuses
    del world
    gc.collect()
    return seed, problem, excuses.ever | excuses.now


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--start", type=int, default=0, help="the first")
    parser.add_argument("--seed", type=int, help="replay this one and print its trace")
    parser.add_argument("--dense", action="store_true", help="with more moves, and stores that are put back or lost")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":
        # Sets are walked in the same order in every process only if text hashes alike.
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, "PYTHONHASHSEED": "0"})
    quieten()
    if options.seed is not None:
        _, problem, trace = try_seed(options.seed, dense=options.dense, logged=True)
        print("\n".join(trace))
        print(problem or "everything is as it must be")
        return int(bool(problem))
    return many(range(options.start, options.start + options.seeds), options.jobs, dense=options.dense)


def many(seeds: range, jobs: int, *, dense: bool = False) -> int:
    work = partial(try_one_of_many, dense=dense)
    tally, interrupted = Tally(len(seeds), time.monotonic(), " --dense" if dense else ""), False
    with ProcessPoolExecutor(jobs, initializer=prepare) as pool:
        try:
            for seed, problem, excuses in pool.map(work, seeds, chunksize=8):
                for line in tally.add(seed, problem, time.monotonic(), excuses):
                    print(line, flush=True)
        except KeyboardInterrupt:
            interrupted = True
            pool.shutdown(cancel_futures=True)
    print("\n".join(tally.summary(time.monotonic())))
    if interrupted:
        return 128 + signal.SIGINT
    return int(bool(tally.failed))


if __name__ == "__main__":
    sys.exit(main())
