"""`twingateway move`: give a device to another node."""

from __future__ import annotations

from typing import Annotated

import typer

from twingateway.cli.client import DEFAULT_API, Api, ApiOption, NamespaceOption, TokenOption
from twingateway.errors import NotFound
from twingateway.validation.explain import guess


def move(
    device: Annotated[str, typer.Argument(metavar="DEVICE", help="The twin's name.")],
    node: Annotated[str, typer.Argument(metavar="NODE", help="The node that is to hold it.")],
    unseen: Annotated[bool, typer.Option("--unseen", help="Also if nobody has heard of that node yet.")] = False,
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
      twingateway move hvac edge-3 --unseen
    """
    from urllib.parse import quote

    caller = Api(api, token_file, namespace)
    if not unseen:
        around = list(caller.pages("/nodes"))
        known = [each["name"] for each in around]
        is_root = all(each.get("role") != "self" for each in around)  # another node says itself who is
        if is_root and node not in known:
            hint = guess(node, known) if len(known) > 1 else ""
            raise NotFound(
                f"no node {node} was ever seen here{hint}, and nobody would run {device} until it claims it; "
                "nothing was changed. With --unseen it is given the device all the same"
            )
    caller.send("POST", f"/twins/{quote(device, safe='')}/move", body={"node": node})
    print(f"{device} is given to {node}; it holds the device once it claims it")
