"""`twingateway init`: a node file and a first device, to be edited."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from twingateway.errors import InvalidConfig

#: Template → where it is written, in the folder given.
_WRITTEN = {"node.yaml": Path("node.yaml"), "device.yaml": Path("devices/thermostat.yaml")}


def init(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The folder, made if it is not there.")] = Path(),
) -> None:
    """Write a node file and one device document, both valid and explained line by line. Nothing is overwritten.

    Examples:
      twingateway init
      twingateway init site
    """
    targets = {template: directory / path for template, path in _WRITTEN.items()}
    for target in targets.values():
        if target.exists():
            raise InvalidConfig(f"{target} exists already: nothing was written")
    for template, target in targets.items():
        text = (files("twingateway.cli") / "templates" / template).read_text(encoding="utf-8")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        except OSError as error:
            raise InvalidConfig(f"{target} cannot be written: {error.strerror}") from error
        print(f"wrote {target}")
    node, device = targets["node.yaml"], targets["device.yaml"]
    steps = {
        f"edit {device}": "what the device is, and where",
        f"twingateway modbus simulate {device}": "in another terminal, if you have none: that device",
        f"twingateway check {device}": "read it once",
        f"twingateway run {node}": "run the node",
        "twingateway get twins": "in another terminal again",
    }
    width = max(map(len, steps))
    print("\nNext:", *(f"  {step:<{width}}  {what}" for step, what in steps.items()), sep="\n")
