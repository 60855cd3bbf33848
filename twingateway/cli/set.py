"""`twingateway set`: desired values of one twin, and what becomes of them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from twingateway.cli.assignments import ActorOption, parse_assignment
from twingateway.cli.client import DEFAULT_API, Api, ApiOption, NamespaceOption, TokenOption
from twingateway.cli.durations import seconds, text_of
from twingateway.cli.exit_codes import for_acks
from twingateway.cli.get import ack_note
from twingateway.cli.output import Form, FormOption, print_data, print_table
from twingateway.twin.desired import Priority


def set_desired(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The twin's name.")],
    assignments: Annotated[
        list[str], typer.Argument(metavar="PROPERTY=VALUE", help="Values as in YAML or JSON; null removes.")
    ],
    wait: Annotated[
        float | None,
        typer.Option(parser=seconds, metavar="DURATION", help="Wait until each value is acknowledged: 5s, 500ms."),
    ] = None,
    ttl: Annotated[
        float | None,
        typer.Option(parser=seconds, metavar="DURATION", help="How long the values are wanted; never written later."),
    ] = None,
    priority: Annotated[
        Priority | None, typer.Option(help="Which of the values that wait goes first.", case_sensitive=True)
    ] = None,
    actor: ActorOption = None,
    output: FormOption = Form.TABLE,
    api: ApiOption = DEFAULT_API,
    token_file: TokenOption = None,
    namespace: NamespaceOption = None,
) -> None:
    """Set desired values and show how far each has come: pending, delivered, then applied, rejected or failed.

    With --wait the exit code tells the outcome: 0 all were applied (or
    delivered to a device that cannot confirm), 4 a newer value took the
    place of one, 5 one was rejected or failed, 10 one is still on its way.

    Examples:
      twingateway set hvac setpoint=21.5 --wait 5s
      twingateway set hvac mode=2 fan=true
      twingateway set sensor samplingRate=10s limits='{"low": 5, "high": 30}'
      twingateway set valve open=true --ttl 30s --priority high
      twingateway set hvac setpoint=null
    """
    from urllib.parse import quote

    desired = dict(map(parse_assignment, assignments))
    response = Api(api, token_file, namespace).send(
        "PATCH",
        f"/twins/{quote(name, safe='')}",
        params={"wait": text_of(wait), "ttl": text_of(ttl), "priority": priority, "actor": actor},
        body={"spec": {"desiredProperties": desired}},
        wait=wait or 0.0,
    )
    status = response.json()["status"]["properties"]["desired"]
    acks: dict[str, dict[str, Any]] = {each: status.get(each, {}).get("ack", {}) for each in desired}
    if output is Form.TABLE:
        rows = (
            (each, value, acks[each].get("state", "removed"), ack_note(acks[each])) for each, value in desired.items()
        )
        print_table(("PROPERTY", "DESIRED", "ACK", ""), rows)
    else:
        print_data(acks, output)
    if wait is not None:
        raise typer.Exit(for_acks([(ack["state"], ack.get("code", "")) for ack in acks.values() if ack]))
