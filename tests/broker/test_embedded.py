"""Of the embedded broker what is ours."""

from __future__ import annotations

from twingateway.broker.embedded import Subscriptions


def test_who_subscribes_while_a_client_connects_breaks_nobody_s_connection() -> None:
    table = Subscriptions({"a": [], "b": []})
    seen = []
    for topic in table:
        seen.append(topic)
        table[f"new/{topic}"] = []
        table.pop("b", None)
    assert seen == ["a", "b"]
    assert set(table) == {"a", "new/a", "new/b"}
