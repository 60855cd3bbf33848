"""`twingateway override` and `resolve`: desired values set at an edge, and what a person decides of them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from twingateway.cli.assignments import ActorOption, parse_assignment
from twingateway.cli.client import DEFAULT_API, Api, ApiOption, NamespaceOption, TokenOption
from twingateway.cli.durations import seconds, text_of
from twingateway.cli.exit_codes import for_acks
from twingateway.cli.get import ack_note
from twingateway.cli.output import Form, FormOption, print_data, print_table


def override(
    device: Annotated[str, typer.Argument(metavar="DEVICE", help="The twin's name.")],
    assignments: Annotated[
        list[str],
        typer.Argument(
            metavar="PROPERTY=VALUE", help="Values as in YAML or JSON; with --withdraw the properties' names alone."
        ),
    ],
    withdraw: Annotated[
        bool, typer.Option("--withdraw", help="End the override: the device follows the desired value again.")
    ] = False,
    actor: ActorOption = None,
    wait: Annotated[
        float | None,
        typer.Option(parser=seconds, metavar="DURATION", help="Wait until each is settled: 5s, 500ms."),
    ] = None,
    output: FormOption = Form.TABLE,
    api: ApiOption = DEFAULT_API,
    token_file: TokenOption = None,
    namespace: NamespaceOption = None,
) -> None:
    """Set desired values at the edge itself; ask the node that holds the device, also while it is offline.

    The value is durable when this returns, and the device follows it at
    once. When the cloud hears of it, it becomes the desired value, unless
    that was changed there meanwhile: then the model's `conflict` of the
    property says whose value stands (cloud-wins, edge-wins), or a person
    does (manual: `twingateway resolve`). Either way an event names both
    values and who set them. To change a desired value while the cloud can
    be reached, `twingateway set` there is enough.

    With --wait the exit code tells the outcome, as with `set`: 0 all were
    applied (or delivered to a device that cannot confirm), 4 one lost to
    the cloud's value or was replaced, 5 one was rejected or failed, 10 one
    is still on its way.

    Examples:
      twingateway override pump speed=40 --wait 5s
      twingateway override pump speed=40 valve=true --actor "night shift"
      twingateway override pump speed --withdraw
      twingateway get twin pump
    """
    caller = Api(api, token_file, namespace)
    if withdraw:
        for name in assignments:
            caller.send("DELETE", _path(device, name), params={"actor": actor})
            print(f"{name} of {device} follows the desired value again")
        return
    params = {"actor": actor, "wait": text_of(wait)}
    found: dict[str, dict[str, Any]] = {}
    for name, value in map(parse_assignment, assignments):
        response = caller.send("PUT", _path(device, name), params=params, body={"value": value}, wait=wait or 0.0)
        found[name] = response.json()
    if output is Form.TABLE:
        rows = (
            (name, each["value"], each["id"], each["state"], ack.get("state"), ack_note(ack))
            for name, each in found.items()
            for ack in (each.get("ack", {}),)
        )
        print_table(("PROPERTY", "OVERRIDE", "ID", "STATE", "ACK", ""), rows)
    else:
        print_data(found, output)
    if wait is not None:
        acks = [each.get("ack", {}) for each in found.values()]
        raise typer.Exit(for_acks([(ack.get("state", "pending"), ack.get("code", "")) for ack in acks]))


def resolve(
    device: Annotated[str, typer.Argument(metavar="DEVICE", help="The twin's name.")],
    name: Annotated[str, typer.Argument(metavar="PROPERTY", help="The property in conflict.")],
    cloud: Annotated[bool, typer.Option("--cloud", help="The cloud's desired value stands.")] = False,
    edge: Annotated[bool, typer.Option("--edge", help="The edge's override becomes the desired value.")] = False,
    actor: ActorOption = None,
    api: ApiOption = DEFAULT_API,
    token_file: TokenOption = None,
    namespace: NamespaceOption = None,
) -> None:
    """Decide a conflict between cloud and edge; ask the root.

    Only properties whose model says `conflict: manual` wait for this; until
    then the device follows the edge's value. `get twin` shows both values.

    Examples:
      twingateway get twin pump
      twingateway resolve pump speed --edge
      twingateway resolve pump speed --cloud --actor dora
    """
    if cloud == edge:
        raise typer.BadParameter("say whose value stands: --cloud or --edge", param_hint="--cloud / --edge")
    caller = Api(api, token_file, namespace)
    seen = caller.get(_path(device, name))
    winner = "edge" if edge else "cloud"
    headers = {"If-Match": f'"{seen["id"]}"'}
    caller.send(
        "POST",
        f"{_path(device, name)}/resolution",
        params={"actor": actor},
        body={"winner": winner},
        headers=headers,
    )
    print(f"{name} of {device}: the {winner}'s value stands")


def _path(device: str, name: str) -> str:
    from urllib.parse import quote

    return f"/twins/{quote(device, safe='')}/overrides/{quote(name, safe='')}"
