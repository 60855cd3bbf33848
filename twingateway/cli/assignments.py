"""`PROPERTY=VALUE` on a command line, and who writes it there."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from twingateway.errors import InvalidDocument, MalformedText


def _or_login_name(actor: str | None) -> str | None:
    """`actor`, else whose shell or process this is; None in a container where that user has no name."""
    import getpass

    try:
        return actor or getpass.getuser()
    except (KeyError, OSError, ImportError):
        return None


ActorOption = Annotated[
    str | None,
    typer.Option(
        "--actor",
        metavar="NAME",
        envvar="TWINGATEWAY_ACTOR",
        callback=_or_login_name,
        help="Who does this, else the login name: kept with the value, and named in a conflict.",
        show_default=False,
    ),
]


def parse_assignment(assignment: str) -> tuple[str, Any]:
    """`property=value` with the value as YAML 1.2 or JSON."""
    from twingateway.config.source import load_text

    name, equals, text = assignment.partition("=")
    if not (name and equals):
        raise typer.BadParameter(f"{assignment!r} is not property=value", param_hint="PROPERTY=VALUE")
    if not text.strip():
        raise typer.BadParameter(f"""{name}: write {name}='""' for an empty text, {name}=null to remove it""")
    try:
        documents = load_text(text)
    except MalformedText as error:
        raise InvalidDocument(
            f"{name}: {error.message}; put quotes inside quotes for text: {name}='\"…\"'"
        ) from error
    if len(documents) != 1:
        raise InvalidDocument(f"{name}: one value is needed, not {len(documents)}")
    return name, documents[0].data
