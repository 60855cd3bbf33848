"""Where the long parts of the simulation stand in a whole run."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Workers are handed whole stretches of tests: the parts are spread over all of them, at seams between modules,
    so that no worker has them all at the end."""
    parts = [item for item in items if item.get_closest_marker("part")]
    others = [item for item in items if not item.get_closest_marker("part")]
    seams = [at for at in range(1, len(others)) if others[at].path != others[at - 1].path]
    if len(seams) < len(parts):
        return
    for number in reversed(range(len(parts))):
        others.insert(seams[number * len(seams) // len(parts)], parts[number])
    items[:] = others
