"""When two values are the same: as JSON has it, so `1` equals `1.0` and `true` never equals `1`."""

from __future__ import annotations

from twingateway.twin.value import Value


def same(one: Value, other: Value) -> bool:
    """JSON equality, at every depth; the order of an object's keys does not matter."""
    if one is other:
        return True
    if isinstance(one, bool) or isinstance(other, bool):
        return False  # the two booleans are singletons, so equal ones were identical
    if isinstance(one, dict):
        return (
            isinstance(other, dict)
            and one.keys() == other.keys()
            and all(same(value, other[name]) for name, value in one.items())
        )
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(same, one, other))
    return one == other
