"""`twingateway delete`: remove a twin for good."""

from __future__ import annotations

from typing import Annotated

import typer

from twingateway.cli.client import DEFAULT_API, Api, ApiOption, NamespaceOption, TokenOption


def delete(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The twin's name.")],
    api: ApiOption = DEFAULT_API,
    token_file: TokenOption = None,
    namespace: NamespaceOption = None,
) -> None:
    """Remove a twin with all its values; ask the root.

    A node that still has the device's document stops running it, also if it
    hears of this later. `twingateway apply` with a twin of the same name
    makes a new one, and the device is run again.

    Examples:
      twingateway delete hvac
    """
    from urllib.parse import quote

    Api(api, token_file, namespace).send("DELETE", f"/twins/{quote(name, safe='')}")
    print(f"twin {name} deleted")
