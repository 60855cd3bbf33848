"""What counts as lost."""

from __future__ import annotations

from interop.throughput import missing


def test_a_register_is_lost_that_is_old_or_not_there_at_all():
    whole = {"d0": {"a": 3, "b": 3}, "d1": {"a": 4, "b": 4}}
    assert missing(whole, 2, 2, 4) == 0
    assert missing({**whole, "d0": {"a": 3, "b": 1}}, 2, 2, 4) == 1
    assert missing({**whole, "d0": {"a": 3}}, 2, 2, 4) == 1
    assert missing({"d0": whole["d0"]}, 2, 2, 4) == 2
