"""JSON merge patch (RFC 7396), and what one does to a section of registers.

A register is atomic, so a patch that reaches inside an object is applied by the section's writer, and the whole new
value becomes the register. In a patch, null means "remove".
"""

from __future__ import annotations

from collections.abc import Mapping

from twingateway.twin.equality import same
from twingateway.twin.value import Value


def merge_patch(target: Value, patch: Value) -> Value:
    """The result of applying `patch` to `target`; neither is changed, though the result may share parts of both."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, change in patch.items():
        if change is None:
            result.pop(name, None)
        else:
            result[name] = merge_patch(result.get(name), change)
    return result


def section_patch(current: Mapping[str, Value], patch: Mapping[str, Value]) -> dict[str, Value]:
    """The registers that `patch` changes, each with its whole new value; None for one that is removed.

    `current` holds a section's registers by name; one that is None (a tombstone) counts as absent.
    """
    changed: dict[str, Value] = {}
    for name, change in patch.items():
        before = current.get(name)
        after = merge_patch(before, change)
        if not same(before, after):
            changed[name] = after
    return changed
