"""The files that people name on the command line: files, folders and patterns."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer

SUFFIXES = frozenset({".yaml", ".yml", ".json"})

Files = Annotated[
    list[str],
    typer.Argument(metavar="FILE", help="Files, folders (all YAML and JSON files below them) or patterns."),
]


def find_files(names: Iterable[str]) -> list[Path]:
    """Every file once, in the order given. Raises typer.BadParameter for a folder or pattern that holds none; a
    plain name is returned whether or not there is such a file."""
    found: dict[Path, None] = {}
    for name in names:
        files = list(_expand(name))
        if not files:
            raise typer.BadParameter(f"{name}: no YAML or JSON file here")
        found.update(dict.fromkeys(files))
    return list(found)


def _expand(name: str) -> Iterator[Path]:
    if os.path.isdir(name):
        inside = (path for path in sorted(Path(name).rglob("*")) if path.suffix in SUFFIXES and path.is_file())
        yield from (path for path in inside if not _hidden(path.relative_to(name)))
    elif glob.has_magic(name) and not os.path.exists(name):
        for match in sorted(glob.glob(name, recursive=True)):
            yield from _expand(match)
    else:
        yield Path(name)


def _hidden(path: Path) -> bool:
    """Also what a node writes beside its file: its tickets, and what its adapters learn."""
    kept = any(part.endswith(".adapters") for part in path.parts) or path.name.endswith(".tickets.json")
    return kept or any(part.startswith(".") for part in path.parts)
