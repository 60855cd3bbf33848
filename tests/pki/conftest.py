from __future__ import annotations

from pathlib import Path

import pytest

from tests.pki.certificates import Made, make


@pytest.fixture(scope="session")
def root() -> Made:
    return make("root", ca=True)


@pytest.fixture
def ca_file(tmp_path: Path, root: Made) -> Path:
    file = tmp_path / "trusted.pem"
    file.write_bytes(root.pem)
    return file
