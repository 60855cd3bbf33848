"""The journal section of a node file."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from twingateway.config.journal import JournalSection
from twingateway.config.node import NodeConfig
from twingateway.node.parts import journal_policy
from twingateway.twin.entry import CLASSES


def test_without_the_section_everything_is_as_given() -> None:
    config = NodeConfig.model_validate({"node": {"name": "edge"}})
    policy = journal_policy(config)
    assert policy.classes == CLASSES
    assert (policy.history, policy.retention, policy.serves) == ("modelled", 30 * 86400.0, False)


def test_classes_are_changed_in_part_and_added() -> None:
    section = {"history": "all", "classes": {"history": {"max_bytes": "2GiB"}, "audit": {"ttl": "1h"}}}
    config = NodeConfig.model_validate({"node": {"name": "edge"}, "api": None, "journal": section})
    policy = journal_policy(config)
    assert policy.serves
    assert policy.classes["history"].max_bytes == 2 * 1024**3
    assert policy.classes["history"].ttl == CLASSES["history"].ttl
    assert policy.classes["audit"].ttl == 3600.0
    assert policy.order == ["alarm", "event", "history", "raw", "audit"]


@pytest.mark.parametrize(
    "section",
    [
        {"history": "some"},
        {"retention": "0s"},
        {"classes": {"event": {"ttl": 0}}},
        {"classes": {f"c{n}": {} for n in range(5)}},
    ],
)
def test_what_cannot_be_is_refused(section: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        JournalSection.model_validate(section)
