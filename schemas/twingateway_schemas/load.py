"""Reading a shipped schema by its name."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any


def load(name: str) -> dict[str, Any]:
    """A fresh copy of one schema (`device-twin`, `device-model`, …); raises FileNotFoundError for an unknown name."""
    schema: dict[str, Any] = json.loads(_text(name))
    return schema


@cache
def _text(name: str) -> str:
    return files("twingateway_schemas").joinpath(f"{name}.json").read_text(encoding="utf-8")
