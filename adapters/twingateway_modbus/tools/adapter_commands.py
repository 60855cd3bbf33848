"""`twingateway adapter test PROFILE`: a profile's test vectors, without hardware."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Adapters and device profiles.")


@app.callback()
def _group() -> None:
    pass


@app.command("test")
def test(
    profiles: Annotated[list[Path], typer.Argument(metavar="PROFILE…", help="Files with a DeviceProfile.")],
) -> None:
    """Run the test vectors of Modbus profiles against the adapter; exit 1 if any fails."""
    from twingateway_modbus.tools.vectors import run_vector, vectors_of

    failed = total = 0
    for profile in profiles:
        vectors = vectors_of(profile)
        if not vectors:
            print(f"{profile}: no tests")
        for number, vector in enumerate(vectors, 1):
            problems = asyncio.run(run_vector(profile, vector))
            total += 1
            failed += bool(problems)
            print(f"{'FAILED' if problems else 'ok':6}  {profile}: {vector.name or f'test {number}'}")
            for problem in problems:
                print(f"        {problem}")
    print(f"{total - failed} of {total} passed")
    raise typer.Exit(1 if failed else 0)
