"""`twingateway move`: give a device to another node."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from twingateway.cli.client import DEFAULT_API, Api, ApiOption, NamespaceOption, TokenOption


def move(
    device: Annotated[str, typer.Argument(metavar="DEVICE", help="The twin's name.")],
    node: Annotated[str, typer.Argument(metavar="NODE", help="The node that is to hold it.")],
    api: ApiOption = DEFAULT_API,
    token_file: TokenOption = None,
    namespace: NamespaceOption = None,
) -> None:
    """Give a device to another node; ask the root.

    The present holder is fenced at once: what it still sends is refused.
    The other node holds the device as soon as it claims it, so put the
    device's document there first. Writes that were finished are not done again.

    Examples:
      twingateway move hvac edge-2
    """
    from urllib.parse import quote

    caller = Api(api, token_file, namespace)
    caller.send("POST", f"/twins/{quote(device, safe='')}/move", body={"node": node})
    print(f"{device} is given to {node}; it holds the device once it claims it")
    if all(each["name"] != node for each in caller.pages("/nodes")):
        print(
            f"warning: no node {node} was ever seen here; nobody runs {device} until one claims it", file=sys.stderr
        )
