"""Secrets in settings: typed so that they are never printed, and read from files where `*_file` says so.

A model that has a field `password: Secret | None = None` and a field `password_file: Path | None = None` and derives
from `SecretFiles` finds the file's content in `password`, whichever of the two was written. Relative paths count from
the folder of the file that the settings were written in (`context["folder"]` of the validation).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

#: A secret text; `get_secret_value()` gives it, `repr` and logs do not.
Secret = SecretStr

MAX_SECRET_BYTES = 64 * 1024
_SUFFIX = "_file"


class SecretFiles(BaseModel):
    """Base of models with `name` and `name_file` pairs."""

    @model_validator(mode="before")
    @classmethod
    def _read_files(cls, data: Any, info: ValidationInfo) -> Any:
        if not isinstance(data, Mapping):
            return data
        folder = Path((info.context or {}).get("folder", "."))
        filled = dict(data)
        for key in cls.model_fields:
            stem = key.removesuffix(_SUFFIX)
            given = filled.get(key)
            if stem == key or stem not in cls.model_fields or not isinstance(given, str | Path):
                continue
            if filled.get(stem) is not None:
                raise _refusal(key, f"give {stem} or {key}, not both")
            path = folder / given
            filled[key] = path
            filled[stem] = _read(key, path)
        return filled


def _read(key: str, path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SECRET_BYTES + 1)
    except OSError as error:
        raise _refusal(key, f"cannot read {path}: {error.strerror}") from error
    if len(content) > MAX_SECRET_BYTES:
        raise _refusal(key, f"{path} is larger than {MAX_SECRET_BYTES // 1024} KiB, so it is no secret")
    try:
        text = content.decode().strip("\r\n")
    except UnicodeDecodeError as error:
        raise _refusal(key, f"{path} is not UTF-8 text") from error
    if not text:
        raise _refusal(key, f"{path} is empty")
    return text


def _refusal(key: str, reason: str) -> PydanticCustomError:
    # `at` tells the configuration loader which key of this mapping to point at.
    return PydanticCustomError("secret_file", "{reason}", {"reason": reason, "at": key})
