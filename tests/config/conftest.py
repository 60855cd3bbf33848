"""A fake adapter with required and optional settings, and a folder to write files into."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, field_validator

from twingateway.adapter import AdapterKind, Duration, Secret, SecretFiles
from twingateway.plugins.registry import AdapterRegistry


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FakeSettings(Strict):
    timeout: Duration = 1.0


class Basic(Strict, SecretFiles):
    type: Literal["basic"]
    password: Secret | None = Field(default=None, min_length=4)
    password_file: Path | None = None


class Bearer(Strict):
    type: Literal["bearer"]
    token: Secret


class FakeProperty(Strict):
    register_: int = Field(alias="register", ge=0, le=65535)
    kind: Literal["input", "holding"] = "holding"


class FakeDevice(Strict):
    host: str
    port: int = Field(default=502, ge=1, le=65535)
    auth: Annotated[Basic | Bearer, Field(discriminator="type")] | None = None
    properties: dict[str, FakeProperty] = Field(default_factory=dict)

    @field_validator("host")
    @classmethod
    def _no_crash(cls, host: str) -> str:
        if host == "crash":
            raise KeyError("a bug of the adapter")
        if " " in host:
            raise ValueError(f"{host!r} is not a host")
        return host


class NeedySettings(Strict):
    bus: str


def _open(settings: object, context: object) -> object:
    raise AssertionError("checking a configuration opens nothing")


FAKE = AdapterKind("fake", "for tests", FakeSettings, FakeDevice, _open)  # type: ignore[arg-type]
NEEDY = AdapterKind("needy", "needs settings", NeedySettings, FakeDevice, _open)  # type: ignore[arg-type]

Write = Callable[[str, str], Path]


@pytest.fixture
def registry() -> AdapterRegistry:
    return AdapterRegistry([FAKE, NEEDY])


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a file below the working directory; paths in problems are then as short as the names given."""
    monkeypatch.chdir(tmp_path)

    def _write(name: str, text: str) -> Path:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return _write
