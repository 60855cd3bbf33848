"""The tables themselves."""

from __future__ import annotations

import mqtt5
import pytest

from tests.mqtt.peers import Hub, make_client
from twingateway.errors import ProtocolViolation
from twingateway.mqtt.client import ClientConnection
from twingateway.mqtt.server import ServerConnection
from twingateway.mqtt.state import CLIENT, SERVER, TRANSITIONS, Duty, Machine, Outcome, Phase, Table


def test_every_phase_can_be_closed_and_leads_nowhere_but_forward() -> None:
    order = list(Phase)
    assert set(TRANSITIONS) == set(Phase)
    for phase, outcomes in TRANSITIONS.items():
        assert outcomes[Outcome.CLOSE] is Phase.CLOSED
        assert all(
            order.index(after) > order.index(phase) for after in outcomes.values() if phase is not Phase.CLOSED
        )


@pytest.mark.parametrize(("end", "table"), [(Hub().server(), SERVER), (make_client(), CLIENT)])
def test_each_end_does_exactly_the_duties_its_table_names(
    end: ServerConnection | ClientConnection, table: Table
) -> None:
    named = {answer for row in table.values() for answer in row.values() if isinstance(answer, Duty)}
    assert set(end._duties) == named


def test_a_packet_that_no_row_lists_is_a_protocol_error() -> None:
    for table in (SERVER, CLIENT):
        machine = Machine(table)
        for stream in (0, 4):
            with pytest.raises(ProtocolViolation) as caught:
                machine.duty(stream, mqtt5.PingReqPacket())
            assert caught.value.reason_code == 0x82
