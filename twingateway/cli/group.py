"""The root command group: mounts plug-ins' commands, each imported when it is called or listed, and turns every error
into a line on standard error and an exit code.

A plug-in's group of the same name as a built-in one adds its commands to that; the built-in ones win."""

from __future__ import annotations

import sys
import traceback
from typing import Any

import typer
from typer.core import TyperGroup

from twingateway.cli.exit_codes import BY_ERROR, ExitCode
from twingateway.errors import AdapterFault, InvalidDocument, TwinGatewayError


class RootGroup(TyperGroup):
    """Built-in commands win over plug-ins of the same name, a group command by command."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        return [*super().list_commands(ctx), *(name for name in _plugins() if name not in self.commands)]

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override]
        """What `--help` lists; a broken plug-in is listed with what is wrong, and hides no other."""
        command = super().get_command(ctx, cmd_name)
        plugin = None if command is not None and not isinstance(command, TyperGroup) else _plugins().get(cmd_name)
        if plugin is None:
            return command
        try:
            added = typer.main.get_command(plugin.load())
        except AdapterFault as fault:
            return command or TyperGroup(name=cmd_name, help=fault.message)
        if not isinstance(command, TyperGroup):
            added.name = cmd_name
            return added
        if isinstance(added, TyperGroup):
            command.commands = {**added.commands, **command.commands}
        return command

    def resolve_command(self, ctx: typer.Context, args: list[str]) -> Any:  # type: ignore[override]
        name = args[0]
        if name not in self.commands and (plugin := _plugins().get(name)) is not None:
            plugin.load()  # what is wrong with it is the error of who calls it
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        try:
            return super().invoke(ctx)
        except TwinGatewayError as error:
            if ctx.params["debug"]:
                traceback.print_exc()
            _print_error(error)
            raise typer.Exit(BY_ERROR[error.code]) from error
        except typer.BadParameter as error:
            error.message = error.message.removeprefix("Value error, ")  # pydantic's, whose words typer prints
            raise
        except (typer.Exit, typer.Abort, typer.TyperException, BrokenPipeError, EOFError):
            raise
        except Exception as error:
            if ctx.params["debug"]:
                traceback.print_exc()
            hint = "" if ctx.params["debug"] else " (twingateway --debug … shows where)"
            print(f"error: unexpected {type(error).__name__}: {error}{hint}", file=sys.stderr)
            raise typer.Exit(ExitCode.INTERNAL) from error


def _plugins() -> dict[str, Any]:
    from twingateway.plugins.registry import commands

    return {command.name: command for command in commands()}


def _print_error(error: TwinGatewayError) -> None:
    """`error: …`, then each problem that the message does not say already."""
    print(f"error: {error.message}", file=sys.stderr)
    for problem in error.problems if isinstance(error, InvalidDocument) else ():
        if error.message not in (str(problem), problem.message):
            print(f"  {problem}", file=sys.stderr)
