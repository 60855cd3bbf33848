"""`twingateway apply`: documents of twins and models to a node's API."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from twingateway.cli.client import DEFAULT_API, Api, ApiOption, NamespaceOption, TokenOption
from twingateway.cli.files import find_files
from twingateway.errors import InvalidDocument

if TYPE_CHECKING:
    from twingateway.config.source import Source

Document = dict[str, Any]


def apply(
    files: Annotated[
        list[str] | None,
        typer.Option("--file", "-f", metavar="FILE", help="File, folder or pattern; may be repeated."),
    ] = None,
    more: Annotated[list[str] | None, typer.Argument(metavar="FILE", help="Further ones.")] = None,
    api: ApiOption = DEFAULT_API,
    token_file: TokenOption = None,
    namespace: NamespaceOption = None,
) -> None:
    """Create or change twins and models: each twin's desired properties and labels become those of its document.

    Everything is checked before anything is sent; models go first.
    reportedProperties are ignored: only the device itself reports.

    Examples:
      twingateway apply -f twin.yaml
      twingateway apply -f models/ -f twins/
      twingateway apply -f twins/*.yaml
    """
    from twingateway.config.source import load_file
    from twingateway.config.validate import check

    names = [*(files or ()), *(more or ())]
    if not names:
        raise typer.BadParameter("give at least one file", param_hint="--file")
    paths = find_files(names)
    problems = list(check(paths).problems)
    sources = [] if problems else [source for path in paths for source in load_file(path)]
    problems += [
        source.problem(_not_applied(source.data.get("kind")), "kind", "enum")
        for source in sources
        if source.data.get("kind") not in _KINDS
    ]
    if problems:
        raise InvalidDocument("nothing was applied", problems)
    caller = Api(api, token_file, namespace)
    for source in sorted(sources, key=lambda source: _KINDS[source.data["kind"]].order):
        _apply(caller, source)


def _not_applied(kind: Any) -> str:
    said = "only twins and models can be applied"
    where = "it belongs to the files of the node that runs it: put it there and reload that node"
    return f"{said}; {where}" if kind in ("Device", "DeviceProfile") else said


def _apply(caller: Api, source: Source) -> None:
    document: Document = source.data
    kind = _KINDS[document["kind"]]
    caller = replace(caller, namespace=caller.namespace or document["metadata"].get("namespace"))
    response = caller.send("PUT", kind.path(document["metadata"]), body=document)
    outcome = "created" if response.status_code == 201 else kind.known
    print(f"{kind.label(document['metadata'])} {outcome}")
    for warning in response.json().get("warnings", ()):
        print(f"{source.file}: {warning} (warning)", file=sys.stderr)


@dataclass(frozen=True, slots=True)
class _Kind:
    """How a kind of document is applied. `known`: what a 200 means; `order`: lower ones go first."""

    order: int
    path: Callable[[Document], str]
    label: Callable[[Document], str]
    known: str


_KINDS = {
    "DeviceModel": _Kind(
        0,
        lambda metadata: f"/models/{quote(metadata['name'])}/versions/{quote(metadata['version'], safe='')}",
        lambda metadata: f"model {metadata['name']}@{metadata['version']}",
        "unchanged",
    ),
    "DeviceTwin": _Kind(
        1,
        lambda metadata: f"/twins/{quote(metadata['name'])}",
        lambda metadata: f"twin {metadata['name']}",
        "applied",
    ),
}
