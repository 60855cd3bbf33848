"""The accepting end: who is at the other end, is that proven, and are its packets those of a node."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import ClassVar

import mqtt5

from twingateway.errors import LinkError, NotAuthorized, ProtocolViolation, TwinGatewayError
from twingateway.mqtt import auth, codec
from twingateway.mqtt.capabilities import from_user_properties, to_user_properties
from twingateway.mqtt.connection import CONNECT_TIMEOUT, Connection, Duties, continues
from twingateway.mqtt.events import Accepted, Event, PlainClient
from twingateway.mqtt.keepalive import KeepAlive
from twingateway.mqtt.opening import Opening, read_opening
from twingateway.mqtt.reasons import ReasonCode, reason_code
from twingateway.mqtt.state import SERVER, Duty, Outcome, Phase
from twingateway.mqtt.streams import CONTROL_STREAM

_LEVEL_5 = 5


def _admit(_: auth.Identity) -> str | None:
    return None


class ServerConnection(Connection):
    """One connection from a client.

    `server_certificate` is our own DER, `random(n)` gives n unpredictable bytes, `wall()` seconds since 1970.
    `accept` is asked once a node has proven itself; a text it returns is the reason for turning the node away.
    """

    def __init__(
        self,
        verifier: auth.Verifier,
        tokens: auth.TokenBook,
        *,
        server_certificate: bytes,
        random: Callable[[int], bytes],
        wall: Callable[[], float],
        capabilities: Mapping[str, str],
        max_packet: int = codec.MAX_PACKET,
        accept: Callable[[auth.Identity], str | None] = _admit,
    ) -> None:
        super().__init__(SERVER, max_packet)
        self._verifier = verifier
        self._tokens = tokens
        self._server_certificate = server_certificate
        self._random = random
        self._wall = wall
        self._capabilities = capabilities
        self._max_packet = max_packet
        self._accept = accept
        self._client_id = ""
        self._first = bytearray()
        self._opening: Opening | None = None
        self._peer_capabilities: Mapping[str, str] = {}
        self._claim: auth.Claim | None = None
        self._nonce = b""

    def receive(self, stream: int, data: bytes, now: float) -> list[Event]:
        """Who is at the other end is known when its CONNECT is whole; until then nothing of it is judged."""
        if stream != CONTROL_STREAM or self._machine.phase is not Phase.CONNECTING:
            return [] if self._machine.phase is Phase.UNDECIDED else super().receive(stream, data, now)
        self._first += data
        try:
            self._opening = read_opening(self._first, self._max_packet)
        except TwinGatewayError as error:
            self._fail(reason_code(error), error.message)
            return self._drain()
        if self._opening is None:
            return []
        first, self._first = bytes(self._first), bytearray()
        if self._opening.is_node:
            return super().receive(stream, first, now)
        self._machine.step(Outcome.PLAIN)
        return [PlainClient(self._opening, first, self._streams.held)]

    def publish(self, topic: str, payload: bytes, stream: int = CONTROL_STREAM) -> None:
        """PUBLISH at QoS 0 on a stream that the client opened; does nothing after the end.

        Raises TooLarge for more than the client accepts, LinkError before `Accepted`.
        """
        if self.closed:
            return
        if not self.open:
            raise LinkError("nothing can be published before the connection was accepted")
        self._streams.write(stream, self._wrapped(topic, payload))

    def refuse(self, reason_code: int, text: str) -> None:
        """Answer a `PlainClient` with a CONNACK that says no."""
        self.disconnect(reason_code, text)

    def _farewell(self, code: int, reason: str) -> bytes:
        if self.open:
            return codec.disconnect(code, reason)
        if self._opening is not None and self._opening.level < _LEVEL_5:
            return codec.connack_refusal_older(code)
        return codec.connack_refusal(code, reason)

    def _connect_timed_out(self) -> None:
        self._fail(ReasonCode.NOT_AUTHORIZED, f"no proof of who you are within {CONNECT_TIMEOUT:.0f} s")

    def _judge(self, stream: int, packet: mqtt5.ConnectPacket, now: float) -> None:
        self._keep_alive = KeepAlive(packet.keep_alive, now)
        self._peer_max_packet = packet.max_packet_size
        self._client_id = packet.client_id
        self._peer_capabilities = from_user_properties(packet.user_properties)
        method = packet.authentication_method
        if method is None and packet.authentication_data is not None:
            raise ProtocolViolation("authentication data without a method", ReasonCode.PROTOCOL_ERROR)
        self._require_node(method, packet.client_id)
        self._claim = auth.decode_claim(packet.authentication_data)
        digest = auth.chain_digest(self._claim.chain)
        token = self._claim.token
        if token is not None and self._tokens.redeem(token, self._claim.node, digest, now):
            self._open(self._claim, None, b"", now)
        else:
            self._challenge()

    def _require_node(self, method: str | None, client_id: str) -> None:
        if method is None:
            raise NotAuthorized(f"a node proves who it is with authentication method {auth.METHOD}")
        if method != auth.METHOD:
            raise ProtocolViolation(
                f"the authentication method here is {auth.METHOD}", ReasonCode.BAD_AUTHENTICATION_METHOD
            )
        if not self._peer_capabilities:
            raise ProtocolViolation("a node names its protocol version in a user property")
        if not client_id:
            raise ProtocolViolation("a node has a client identifier", ReasonCode.CLIENT_IDENTIFIER_NOT_VALID)

    def _challenge(self) -> None:
        self._nonce = self._random(auth.NONCE_LENGTH)
        self._machine.step(Outcome.CHALLENGE)
        challenge = mqtt5.AuthPacket(
            reason_code=mqtt5.AuthReasonCode.CONTINUE_AUTHENTICATION,
            authentication_method=auth.METHOD,
            authentication_data=self._nonce,
        )
        self._streams.write(CONTROL_STREAM, challenge.write())

    def _check_proof(self, stream: int, packet: mqtt5.AuthPacket, now: float) -> None:
        continues(packet, auth.METHOD)
        claim = self._claim
        if claim is None or packet.authentication_data is None:
            raise NotAuthorized("AUTH carries no signature")
        signed = auth.transcript(self._nonce, self._server_certificate, claim.node)
        self._open(claim, packet.authentication_data, signed, now)

    def _open(self, claim: auth.Claim, signature: bytes | None, signed: bytes, now: float) -> None:
        identity = auth.identify(self._verifier, claim, self._wall(), signature, signed)
        refusal = self._accept(identity)
        if refusal is not None:
            raise NotAuthorized(refusal)
        digest = auth.chain_digest(claim.chain)
        token = self._tokens.issue(identity, digest, self._random(auth.TOKEN_LENGTH), now)
        connack = mqtt5.ConnAckPacket(
            authentication_method=auth.METHOD,
            authentication_data=auth.encode_grant(auth.Grant(token, self._tokens.lifetime)),
            max_qos=mqtt5.QoS.AT_MOST_ONCE,
            retain_available=False,
            max_packet_size=self._max_packet,
            user_properties=to_user_properties(self._capabilities),
        )
        self._streams.write(CONTROL_STREAM, connack.write())
        self._machine.step(Outcome.ACCEPT)
        self._emit(Accepted(identity, self._peer_capabilities, self._client_id, replace(claim, token=None)))
        self._release(now)

    def _hold(self, stream: int, packet: mqtt5.PublishPacket, now: float) -> None:
        if self._claim is None or self._claim.token is None:
            raise ProtocolViolation("PUBLISH before CONNACK, and CONNECT brought no token", ReasonCode.PROTOCOL_ERROR)
        self._streams.hold(stream, packet, len(packet.topic) + len(packet.payload))

    def _pong(self, stream: int, packet: mqtt5.PingReqPacket, now: float) -> None:
        self._streams.write(stream, mqtt5.PingRespPacket().write())

    _duties: ClassVar[Duties] = {
        Duty.JUDGE: _judge,
        Duty.CHECK_PROOF: _check_proof,
        Duty.HOLD: _hold,
        Duty.DELIVER: Connection._deliver,
        Duty.PONG: _pong,
        Duty.LEAVE: Connection._leave,
    }
