"""Each error of ours has an answer in MQTT."""

from __future__ import annotations

from twingateway.errors import NotAuthorized, ProtocolViolation, all_codes
from twingateway.mqtt.reasons import REASON, ReasonCode, reason_code


def test_the_table_covers_every_code_and_nothing_else() -> None:
    assert set(REASON) == all_codes()


def test_every_answer_is_a_failure() -> None:
    assert all(code >= ReasonCode.UNSPECIFIED_ERROR for code in REASON.values())


def test_a_violation_brings_its_own_reason_code() -> None:
    assert reason_code(ProtocolViolation("too large", 0x95)) == 0x95
    assert reason_code(NotAuthorized("no")) == 0x87
