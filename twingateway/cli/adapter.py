"""`twingateway adapter new`: the package of an adapter of one's own, which works as it is written.

Installed packages add their own commands to this group (see `group`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath
from typing import Annotated

import typer

from twingateway.errors import InvalidConfig

app = typer.Typer(no_args_is_help=True, help="Adapters and device profiles.")

#: What an adapter may be called: it becomes the name of a package.
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_SUFFIX = ".template"


@app.callback()
def _group() -> None:
    pass


@app.command("new")
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What device documents call it: `adapter: NAME`.")],
    directory: Annotated[
        Path | None, typer.Argument(metavar="DIR", show_default="twingateway-NAME", help="The folder, made for it.")
    ] = None,
) -> None:
    """Write the package of an adapter of your own: typed, tested without hardware, and found by entry point.

    It speaks a small protocol over TCP, to be replaced by that of your
    devices. Its README says what is where.

    Examples:
      twingateway adapter new acme
    """
    words = _words(name)
    folder = directory or Path(words["@distribution@"])
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InvalidConfig(f"{folder} exists already: nothing was written")
    for path, text in _filled(words):
        try:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
        except OSError as error:
            raise InvalidConfig(f"{folder / path} cannot be written: {error.strerror}") from error
        print(f"wrote {folder / path}")
    print(
        f"\nNext:\n  cd {folder}"
        "\n  pip install --editable '.[dev]'    where twingateway is installed, too"
        "\n  pytest && mypy"
        f"\n  edit {words['@package@']}/device.py    what your devices say"
    )


def _words(name: str) -> dict[str, str]:
    """What stands for what in the templates."""
    from twingateway.plugins.registry import AdapterRegistry

    if not _NAME.fullmatch(name):
        message = (
            f"{name!r} is no name for an adapter: small letters and digits, hyphens between them, a letter first"
        )
        raise typer.BadParameter(message, param_hint="NAME")
    package = AdapterRegistry.installed().packages().get(name)
    if package is not None:
        raise InvalidConfig(f"there is an adapter {name!r} already, in the package {package}; choose another name")
    return {
        "@name@": name,
        "@distribution@": f"twingateway-{name}",
        "@package@": f"twingateway_{name.replace('-', '_')}",
        "@Class@": "".join(part.capitalize() for part in name.split("-")),
    }


def _filled(words: dict[str, str]) -> Iterator[tuple[Path, str]]:
    for path, template in _templates(files("twingateway.cli") / "templates" / "adapter", PurePosixPath()):
        yield Path(_fill(str(path), words).removesuffix(_SUFFIX)), _fill(template, words)


def _fill(text: str, words: dict[str, str]) -> str:
    for placeholder, word in words.items():
        text = text.replace(placeholder, word)
    return text


def _templates(folder: Traversable, at: PurePosixPath) -> Iterator[tuple[PurePosixPath, str]]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from _templates(entry, at / entry.name)
        else:
            yield at / entry.name, entry.read_text(encoding="utf-8")
