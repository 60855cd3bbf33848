"""Fixtures of the HTTP adapter's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.adapters_http.http_plant import Plant


@pytest.fixture
async def plant() -> AsyncIterator[Plant]:
    plant = Plant()
    yield plant
    await plant.close()
