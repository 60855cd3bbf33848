from __future__ import annotations

import pytest

from tests.cli.conftest import Run
from twingateway import errors
from twingateway.cli.exit_codes import BY_ACK, BY_ERROR, MEANING, ExitCode, for_acks
from twingateway.twin.ack import AckState


def test_every_error_code_has_an_exit_code() -> None:
    assert BY_ERROR.keys() == errors.all_codes()


def test_no_error_exits_with_success_or_as_a_usage_error() -> None:
    assert not {ExitCode.OK, ExitCode.USAGE} & set(BY_ERROR.values())


def test_every_state_of_an_acknowledgement_has_an_exit_code() -> None:
    assert BY_ACK.keys() == {state.value for state in AckState}


def test_help_documents_every_exit_code(cli: Run) -> None:
    text = cli("--help").stdout
    assert MEANING.keys() == set(ExitCode)
    for code, meaning in MEANING.items():
        assert f"{code.value:>3}  {meaning}" in text


@pytest.mark.parametrize(
    ("acks", "expected"),
    [
        ([], ExitCode.OK),
        ([("applied", ""), ("applied", "")], ExitCode.OK),
        ([("delivered", "unconfirmed")], ExitCode.OK),
        ([("delivered", "device-unreachable")], ExitCode.UNFINISHED),
        ([("applied", ""), ("pending", "")], ExitCode.UNFINISHED),
        ([("pending", ""), ("rejected", "maximum")], ExitCode.DEVICE_REFUSED),
        ([("superseded", ""), ("applied", "")], ExitCode.CONFLICT),
    ],
)
def test_a_failure_counts_more_than_what_still_waits(acks: list[tuple[str, str]], expected: ExitCode) -> None:
    assert for_acks(acks) is expected
