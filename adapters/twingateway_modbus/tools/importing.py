"""Finds out what a foreign file describes, and imports it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any

from twingateway.config.source import load_file, load_text
from twingateway.errors import InvalidConfig, InvalidDocument
from twingateway_modbus.importers.draft import Draft
from twingateway_modbus.importers.edgex import import_edgex
from twingateway_modbus.importers.evcc import import_evcc
from twingateway_modbus.importers.sunspec import import_sunspec


class Foreign(StrEnum):
    SUNSPEC = "sunspec"
    EDGEX = "edgex"
    EVCC = "evcc"


#: A top-level key that gives a format away.
_SIGNS = {"group": Foreign.SUNSPEC, "deviceResources": Foreign.EDGEX, "render": Foreign.EVCC}


def import_file(path: Path, form: Foreign | None = None, *, repeat: int = 0) -> Draft:
    """Raises InvalidConfig."""
    try:
        sources = load_file(path)
    except InvalidDocument as error:
        raise InvalidConfig(error.message, error.problems) from error
    data: Any = sources[0].data if sources else None
    if not isinstance(data, dict):
        raise InvalidConfig(f"{path} holds no document that could be imported")
    form = form or next((each for sign, each in _SIGNS.items() if sign in data), None)
    if form is None:
        raise InvalidConfig(f"{path} is no SunSpec model, EdgeX profile or template; say which with --as")
    try:
        if form is Foreign.SUNSPEC:
            return import_sunspec(data, repeat=repeat)
        return import_edgex(data) if form is Foreign.EDGEX else import_evcc(data, _yaml)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidConfig(f"{path} is not a proper {form} file: {type(error).__name__}: {error}") from error


def _yaml(text: str) -> Any:
    try:
        sources = load_text(text)
    except InvalidDocument as error:
        raise InvalidConfig(f"the template's text cannot be read without its directives: {error.message}") from error
    return sources[0].data if sources else None
