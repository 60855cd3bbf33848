"""`twingateway demo`: the whole of it on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from twingateway.cli.durations import seconds as duration


def demo(
    seconds: Annotated[
        float | None, typer.Option(min=5, help="How long it runs, at least 5; until Ctrl-C if left out.")
    ] = None,
    loss: Annotated[float, typer.Option(min=0, max=0.9, help="Share of packets that the link loses.")] = 0.1,
    delay: Annotated[
        float,
        typer.Option(parser=duration, metavar="DURATION", show_default="50ms", help="Delay of the link, one way."),
    ] = 0.05,
    outage: Annotated[
        float,
        typer.Option(
            parser=duration, metavar="DURATION", show_default="5s", help="How long the link is cut once; 0s: never."
        ),
    ] = 5.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
    seed: Annotated[int, typer.Option(help="The same seed moves the machines and loses packets alike.")] = 1,
) -> None:
    """Show it all on this machine: devices of three protocols, two nodes, and a bad link between them.

    Ends with a proof: the truth, read from each device by its own protocol,
    against every twin at the cloud.

    Examples:
      twingateway demo --seconds 30
      twingateway demo --loss 0.3 --delay 150ms
      twingateway demo --seconds 20 --loss 0.1 --delay 50ms --json | tail -1
    """
    from twingateway.demo.run import run_demo

    raise typer.Exit(run_demo(seconds, loss, delay, outage or None, as_json, seed))
