"""Every state transition of both ends, and what each packet means in each state.

Rule: whatever decides which packet is welcome when, or which phase follows which, stands in these tables and nowhere
else. A connection asks `Machine.duty` what to do with a packet, does it, and tells `Machine.step` the outcome.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto

import mqtt5
from mqtt5 import Packet

from twingateway.errors import ProtocolViolation
from twingateway.mqtt.reasons import ReasonCode
from twingateway.mqtt.streams import CONTROL_STREAM


class Phase(Enum):
    """IDLE: not started. CONNECTING: CONNECT awaited or sent. AUTHENTICATING: the nonce is out (server) or signed
    (client). UNDECIDED: a plain client awaits the owner's answer, nothing of it is read. OPEN: CONNACK success.
    CLOSED: the end."""

    IDLE = auto()
    CONNECTING = auto()
    AUTHENTICATING = auto()
    UNDECIDED = auto()
    OPEN = auto()
    CLOSED = auto()


class Outcome(Enum):
    START = auto()
    CHALLENGE = auto()
    ACCEPT = auto()
    PLAIN = auto()
    CLOSE = auto()


TRANSITIONS: Mapping[Phase, Mapping[Outcome, Phase]] = {
    Phase.IDLE: {Outcome.START: Phase.CONNECTING, Outcome.CLOSE: Phase.CLOSED},
    Phase.CONNECTING: {
        Outcome.CHALLENGE: Phase.AUTHENTICATING,
        Outcome.ACCEPT: Phase.OPEN,
        Outcome.PLAIN: Phase.UNDECIDED,
        Outcome.CLOSE: Phase.CLOSED,
    },
    Phase.AUTHENTICATING: {Outcome.ACCEPT: Phase.OPEN, Outcome.CLOSE: Phase.CLOSED},
    Phase.UNDECIDED: {Outcome.CLOSE: Phase.CLOSED},
    Phase.OPEN: {Outcome.CLOSE: Phase.CLOSED},
    Phase.CLOSED: {Outcome.CLOSE: Phase.CLOSED},
}


class Duty(Enum):
    """What to do with a packet."""

    JUDGE = auto()  # CONNECT at the server
    CHECK_PROOF = auto()  # AUTH at the server
    PROVE = auto()  # AUTH at the client
    OPEN = auto()  # CONNACK at the client
    HOLD = auto()  # keep until the connection is open
    DELIVER = auto()
    PONG = auto()
    ANSWERED = auto()  # PINGRESP at the client
    LEAVE = auto()  # DISCONNECT
    IGNORE = auto()


#: Duty by packet class; a reason code ends the connection. A packet that is not listed is a protocol error.
Row = Mapping[type, Duty | ReasonCode]
#: Row by phase, and by whether the packet came on the control stream.
Table = Mapping[tuple[Phase, bool], Row]

_CONTROL, _DATA = True, False

#: What MQTT lets a client ask for and a node does not do.
_NOT_DONE_HERE: Row = {
    mqtt5.SubscribePacket: ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR,
    mqtt5.UnsubscribePacket: ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR,
    mqtt5.AuthPacket: ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR,
}

SERVER: Table = {
    (Phase.CONNECTING, _CONTROL): {mqtt5.ConnectPacket: Duty.JUDGE},
    (Phase.AUTHENTICATING, _CONTROL): {
        mqtt5.AuthPacket: Duty.CHECK_PROOF,
        mqtt5.PublishPacket: Duty.HOLD,
        mqtt5.DisconnectPacket: Duty.LEAVE,
    },
    (Phase.OPEN, _CONTROL): {
        **_NOT_DONE_HERE,
        mqtt5.PublishPacket: Duty.DELIVER,
        mqtt5.PingReqPacket: Duty.PONG,
        mqtt5.DisconnectPacket: Duty.LEAVE,
    },
    (Phase.OPEN, _DATA): {
        **_NOT_DONE_HERE,
        mqtt5.PublishPacket: Duty.DELIVER,
        mqtt5.PingReqPacket: Duty.PONG,
    },
}

CLIENT: Table = {
    (Phase.CONNECTING, _CONTROL): {
        mqtt5.AuthPacket: Duty.PROVE,
        mqtt5.ConnAckPacket: Duty.OPEN,
        mqtt5.DisconnectPacket: Duty.LEAVE,
    },
    (Phase.AUTHENTICATING, _CONTROL): {
        mqtt5.ConnAckPacket: Duty.OPEN,
        mqtt5.DisconnectPacket: Duty.LEAVE,
    },
    (Phase.OPEN, _CONTROL): {
        mqtt5.PublishPacket: Duty.DELIVER,
        mqtt5.PingRespPacket: Duty.ANSWERED,
        mqtt5.DisconnectPacket: Duty.LEAVE,
    },
    (Phase.OPEN, _DATA): {
        mqtt5.PublishPacket: Duty.DELIVER,
        mqtt5.PingRespPacket: Duty.ANSWERED,
    },
}


class Machine:
    """Where one end stands."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self.phase = Phase.IDLE
        self.open = self.closed = False
        """Whether it stands in the phase of that name."""

    def step(self, outcome: Outcome) -> None:
        self.phase = TRANSITIONS[self.phase][outcome]
        self.open, self.closed = self.phase is Phase.OPEN, self.phase is Phase.CLOSED

    def duty(self, stream: int, packet: Packet) -> Duty:
        """Raises ProtocolViolation for a packet that is not welcome now."""
        row = self._table.get((self.phase, stream == CONTROL_STREAM), {})
        answer = row.get(type(packet), ReasonCode.PROTOCOL_ERROR)
        if isinstance(answer, ReasonCode):
            name = type(packet).__name__.removesuffix("Packet").upper()
            raise ProtocolViolation(f"{name} is not accepted here ({self.phase.name.lower()})", answer)
        return answer
