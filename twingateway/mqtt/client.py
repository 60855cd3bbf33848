"""The connecting end: CONNECT, the proof of who we are, PUBLISHes early or late, and PINGREQ on stream 0."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import ClassVar

import mqtt5

from twingateway.errors import ProtocolViolation
from twingateway.mqtt import auth, codec
from twingateway.mqtt.capabilities import from_user_properties, to_user_properties
from twingateway.mqtt.connection import Connection, Duties, continues
from twingateway.mqtt.events import Connected, Event, Refused
from twingateway.mqtt.keepalive import KeepAlive
from twingateway.mqtt.reasons import ReasonCode
from twingateway.mqtt.state import CLIENT, Duty, Outcome, Phase
from twingateway.mqtt.streams import CONTROL_STREAM, EARLY_LIMIT


class ClientConnection(Connection):
    """One connection to a server: another node, or without a credential any MQTT 5 broker.

    `keep_alive` is in seconds (0: none), `ping_every` the interval by which PINGREQs are sent if that is to be
    shorter, `server_certificate` the DER that the link verified, `token` what an earlier `Connected` from the same
    server brought. With a token, PUBLISHes follow CONNECT at once (up to EARLY_LIMIT
    bytes); otherwise, and beyond that, they wait for CONNACK. They are never reordered.
    """

    def __init__(
        self,
        client_id: str,
        credential: auth.Credential | None,
        *,
        keep_alive: int,
        token: bytes | None,
        server_certificate: bytes,
        capabilities: Mapping[str, str],
        max_packet: int = codec.MAX_PACKET,
        ping_every: float | None = None,
    ) -> None:
        super().__init__(CLIENT, max_packet)
        self._client_id = client_id
        self._credential = credential
        self._interval = keep_alive
        self._ping_every = ping_every
        self._token = token if credential is not None else None
        self._server_certificate = server_certificate
        self._capabilities = capabilities
        self._max_packet = max_packet
        self._early_room = EARLY_LIMIT if self._token is not None else 0
        self._waiting: deque[tuple[int, bytes]] = deque()
        self.asked_since: float | None = None
        """When the oldest PINGREQ that no PINGRESP followed was sent; None if the last was answered."""

    def start(self, now: float) -> None:
        """Write CONNECT. Raises TooLarge when the certificate chain does not fit."""
        connect = self._connect_packet()
        super().start(now)
        self._keep_alive = KeepAlive(self._interval, now, self._ping_every)
        self._streams.write(CONTROL_STREAM, connect.write())
        self._pump()

    @property
    def sends(self) -> bool:
        machine = self._machine
        return machine.open or (machine.phase is Phase.CONNECTING and self._early_room > 0 and not self._waiting)

    def publish(self, topic: str, payload: bytes, stream: int = CONTROL_STREAM) -> None:
        """PUBLISH at QoS 0; does nothing after the end. Raises TooLarge for more than the server accepts."""
        if not self.closed:
            self._waiting.append((stream, self._wrapped(topic, payload)))
            self._pump()

    def timer(self, now: float) -> list[Event]:
        ping_at = self._keep_alive.ping_at
        if self.open and ping_at is not None and now >= ping_at:
            self._streams.write(CONTROL_STREAM, mqtt5.PingReqPacket().write())
            self._keep_alive.pinged(now)
            self.asked_since = now if self.asked_since is None else self.asked_since
        return super().timer(now)

    def _connect_packet(self) -> mqtt5.ConnectPacket:
        method = data = None
        if self._credential is not None:
            method = auth.METHOD
            data = auth.encode_claim(auth.Claim(self._credential.node, self._credential.chain, self._token))
        return mqtt5.ConnectPacket(
            self._client_id,
            clean_start=True,
            keep_alive=self._interval,
            authentication_method=method,
            authentication_data=data,
            max_packet_size=self._max_packet,
            user_properties=to_user_properties(self._capabilities),
        )

    def _pump(self) -> None:
        while self._waiting and self._may_send(len(self._waiting[0][1])):
            self._streams.write(*self._waiting.popleft())

    def _may_send(self, size: int) -> bool:
        if self.open:
            return True
        if self._machine.phase is not Phase.CONNECTING or size > self._early_room:
            return False
        self._early_room -= size
        return True

    def _farewell(self, code: int, reason: str) -> bytes:
        return codec.disconnect(code, reason)

    def _connect_timed_out(self) -> None:
        self._fail(ReasonCode.KEEP_ALIVE_TIMEOUT, "the server did not answer CONNECT in time")

    def _next_of_phase(self) -> float | None:
        return self._keep_alive.ping_at if self._machine.open else self._connect_by

    def _prove(self, stream: int, packet: mqtt5.AuthPacket, now: float) -> None:
        if self._credential is None:
            raise ProtocolViolation("AUTH, and CONNECT named no method", ReasonCode.PROTOCOL_ERROR)
        continues(packet, auth.METHOD)
        nonce = packet.authentication_data or b""
        if len(nonce) != auth.NONCE_LENGTH:
            raise ProtocolViolation(f"a nonce of {len(nonce)} bytes", ReasonCode.PROTOCOL_ERROR)
        signature = self._credential.sign(auth.transcript(nonce, self._server_certificate, self._credential.node))
        self._machine.step(Outcome.CHALLENGE)
        proof = mqtt5.AuthPacket(
            reason_code=mqtt5.AuthReasonCode.CONTINUE_AUTHENTICATION,
            authentication_method=auth.METHOD,
            authentication_data=signature,
        )
        self._streams.write(CONTROL_STREAM, proof.write())

    def _answered(self, stream: int, packet: mqtt5.PingRespPacket, now: float) -> None:
        self.asked_since = None

    def _connack(self, stream: int, packet: mqtt5.ConnAckPacket, now: float) -> None:
        if int(packet.reason_code) != ReasonCode.SUCCESS:
            self._machine.step(Outcome.CLOSE)
            self._emit(Refused(int(packet.reason_code), packet.reason_str or ""))
            return
        capabilities = from_user_properties(packet.user_properties)
        grant = None
        if packet.authentication_method == auth.METHOD and packet.authentication_data is not None:
            grant = auth.decode_grant(packet.authentication_data)
        if packet.server_keep_alive is not None:
            self._keep_alive = KeepAlive(packet.server_keep_alive, now, self._ping_every)
        self._peer_max_packet = packet.max_packet_size
        self._machine.step(Outcome.ACCEPT)
        self._emit(
            Connected(capabilities, grant.token, grant.lifetime) if grant is not None else Connected(capabilities)
        )
        self._pump()
        self._release(now)

    _duties: ClassVar[Duties] = {
        Duty.PROVE: _prove,
        Duty.OPEN: _connack,
        Duty.DELIVER: Connection._deliver,
        Duty.ANSWERED: _answered,
        Duty.LEAVE: Connection._leave,
    }
