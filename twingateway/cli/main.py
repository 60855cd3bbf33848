"""The program `twingateway`: which commands there are. Each imports what it needs when it is called."""

from __future__ import annotations

from typing import Annotated

import typer

from twingateway import __version__
from twingateway.cli import (
    adapter,
    apply,
    backup,
    check,
    delete,
    demo,
    get,
    history,
    init,
    move,
    override,
    pki,
    restore,
    run,
    set,
    validate,
    watch,
)
from twingateway.cli.exit_codes import MEANING
from twingateway.cli.group import RootGroup

_EPILOG = "\n".join(
    [
        "[bold]First steps[/bold]",
        "  twingateway demo                       the whole of it, over a bad link",
        "  twingateway init site                  write a node file and a first device",
        "  twingateway check site/devices/*.yaml  read the device, without a node",
        "  twingateway run site/node.yaml         run the node",
        "  twingateway get twins                  in another terminal: what it knows",
        "",
        "[bold]Exit codes[/bold]",
        *(f"  {code.value:>3}  {meaning}" for code, meaning in MEANING.items()),
    ]
)

app = typer.Typer(
    name="twingateway",
    cls=RootGroup,
    help="Device twins kept equal at edge and cloud, over MQTT 5 on QUIC.",
    epilog=_EPILOG,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"twingateway {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error comes from.")] = False,
) -> None:
    pass


_NODE, _DOCUMENTS, _TWINS = "Nodes", "Documents and devices", "Twins, through a node's API"
app.command("demo", rich_help_panel=_NODE)(demo.demo)
app.command("init", rich_help_panel=_NODE)(init.init)
app.command("run", rich_help_panel=_NODE)(run.run)
app.command("backup", rich_help_panel=_NODE)(backup.backup)
app.command("restore", rich_help_panel=_NODE)(restore.restore)
app.add_typer(pki.app, name="pki", rich_help_panel=_NODE)
app.command("validate", rich_help_panel=_DOCUMENTS)(validate.validate)
app.command("check", rich_help_panel=_DOCUMENTS)(check.check)
app.add_typer(adapter.app, name="adapter", rich_help_panel=_DOCUMENTS)
app.add_typer(get.app, name="get", rich_help_panel=_TWINS)
app.command("set", rich_help_panel=_TWINS)(set.set_desired)
app.command("override", rich_help_panel=_TWINS)(override.override)
app.command("resolve", rich_help_panel=_TWINS)(override.resolve)
app.command("move", rich_help_panel=_TWINS)(move.move)
app.command("apply", rich_help_panel=_TWINS)(apply.apply)
app.command("delete", rich_help_panel=_TWINS)(delete.delete)
app.command("history", rich_help_panel=_TWINS)(history.history)
app.command("watch", rich_help_panel=_TWINS)(watch.watch)


def main() -> None:
    """The entry point."""
    app()
