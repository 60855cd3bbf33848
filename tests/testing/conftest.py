"""The meter of these tests is there as pip leaves what is installed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Lead the entry point `meter` to another target."""
    info = tmp_path / "meters-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: meters\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    def lead(target: str) -> None:
        (info / "entry_points.txt").write_text(f"[twingateway.adapters]\nmeter = {target}\n")

    lead("tests.testing.meter:METER")
    return lead
