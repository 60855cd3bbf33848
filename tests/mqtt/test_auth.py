"""The proof of who a node is, and everything that is not one: CONNACK 0x87 with a reason, then the end."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import cbor2
import mqtt5
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.mqtt.peers import SERVER_CERTIFICATE, WALL, Hub, NodeCredential, Pair, connect, make_client
from twingateway.errors import NotAuthorized, ProtocolViolation, TooLarge
from twingateway.mqtt import auth
from twingateway.mqtt.auth import Claim, Grant, Identity, TokenBook
from twingateway.mqtt.codec import PacketReader
from twingateway.mqtt.events import Accepted, Closing, Connected, Event, Published, Refused
from twingateway.mqtt.lanes import CONTROL_TOPIC, STATE_TOPIC
from twingateway.mqtt.server import ServerConnection
from twingateway.mqtt.streams import EARLY_LIMIT, STATE_STREAM

OTHER_KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)


@pytest.mark.parametrize(
    ("credential", "why"),
    [
        (NodeCredential(certified_key=OTHER_KEY), "signature"),
        (NodeCredential(expires=WALL - 1), "expired"),
        (NodeCredential(issuer="their CA"), "someone else"),
        (NodeCredential(certified_node="edge-2"), "edge-2"),
    ],
    ids=["wrong key", "expired", "foreign", "another name"],
)
@pytest.mark.parametrize("piece", [1, 1 << 20])
def test_a_false_claim_is_refused_with_its_reason(credential: NodeCredential, why: str, piece: int) -> None:
    pair = connect(Hub(), credential, piece=piece)
    [closing] = pair.at_server
    [refused] = pair.at_client
    assert isinstance(closing, Closing)
    assert isinstance(refused, Refused)
    assert (closing.reason_code, refused.reason_code) == (0x87, 0x87)
    assert why in refused.reason
    assert refused.reason == closing.message
    assert pair.server.closed
    assert pair.client.closed


def test_the_owner_may_turn_a_proven_node_away() -> None:
    pair = connect(Hub(), server_options={"accept": lambda identity: f"{identity.node} is not a child of this node"})
    assert pair.at_client == [Refused(0x87, "edge-1 is not a child of this node")]


def test_a_signature_for_another_servers_certificate_is_worthless() -> None:
    pair = connect(Hub(), server_certificate=b"the certificate of a server in the middle")
    assert [type(event) for event in pair.at_client] == [Refused]


def test_a_replayed_signature_does_not_fit_another_nonce() -> None:
    hub = Hub()
    client, server = make_client(), hub.server()
    client.start(0.0)
    [(_, connect_bytes)] = client.to_send()
    server.receive(0, connect_bytes, 0.0)
    client.receive(0, sent(server), 0.0)
    [(_, proof)] = client.to_send()
    assert isinstance(server.receive(0, proof, 0.0)[0], Accepted)

    thief = hub.server()
    thief.receive(0, connect_bytes, 0.0)
    thief.to_send()
    [closing] = thief.receive(0, proof, 0.0)
    assert (type(closing), closing.reason_code) == (Closing, 0x87)


# --- tokens ---------------------------------------------------------------------------------------------------


def test_a_token_opens_the_next_link_without_a_round_trip() -> None:
    hub = Hub()
    token = connected(connect(hub)).token
    client, server = make_client(token=token), hub.server()
    client.start(0.0)
    client.publish(CONTROL_TOPIC, b"hello")
    client.publish(STATE_TOPIC, b"state", STATE_STREAM)
    first_flight = client.to_send()
    assert [stream for stream, _ in first_flight] == [0, STATE_STREAM]
    events: list[Event] = []
    for stream, data in first_flight:
        events += server.receive(stream, data, 0.0)
    assert [type(event) for event in events] == [Accepted, Published, Published]
    assert hub.verifier.without_signature == 1
    again = connected(Pair(client, server).settle()).token
    assert again not in (None, token)


@pytest.mark.parametrize("piece", [1, 1 << 20])
def test_early_publishes_behind_a_used_token_are_held_until_the_signature_is_checked(piece: int) -> None:
    hub = Hub()
    token = connected(connect(hub)).token
    connect(hub, token=token)
    pair = Pair(make_client(token=token), hub.server(), piece)
    pair.client.start(0.0)
    pair.client.publish(CONTROL_TOPIC, b"1")
    pair.client.publish(STATE_TOPIC, b"2", STATE_STREAM)
    pair.client.publish(CONTROL_TOPIC, b"3")
    pair.settle()
    assert [type(event) for event in pair.at_server] == [Accepted, Published, Published, Published]
    assert [e.payload for e in pair.at_server if isinstance(e, Published) and e.stream == 0] == [b"1", b"3"]
    assert hub.verifier.without_signature == 1


def test_early_publishes_are_dropped_when_the_proof_fails() -> None:
    pair = Pair(make_client(NodeCredential(certified_key=OTHER_KEY), token=bytes(32)), Hub().server())
    pair.client.start(0.0)
    pair.client.publish(CONTROL_TOPIC, b"forged")
    pair.settle()
    assert [type(event) for event in pair.at_server] == [Closing]


def test_early_publishes_go_behind_connect_and_stop_at_the_servers_nonce() -> None:
    client, server = make_client(token=bytes(32)), Hub().server()
    client.publish(CONTROL_TOPIC, b"1")
    client.start(0.0)
    [(_, first_flight)] = client.to_send()
    assert [type(packet) for packet in PacketReader().feed(first_flight)] == [
        mqtt5.ConnectPacket,
        mqtt5.PublishPacket,
    ]
    server.receive(0, first_flight, 0.0)
    client.receive(0, sent(server), 0.0)
    client.publish(CONTROL_TOPIC, b"2")
    [(_, second_flight)] = client.to_send()
    assert [type(packet) for packet in PacketReader().feed(second_flight)] == [mqtt5.AuthPacket]


def test_early_data_stays_within_what_a_server_holds() -> None:
    hub = Hub()
    pair = Pair(make_client(token=bytes(32)), hub.server())
    pair.client.start(0.0)
    payloads = [bytes([index]) * 60_000 for index in range(8)]
    for payload in payloads:
        pair.client.publish(STATE_TOPIC, payload, STATE_STREAM)
    first_flight = pair.client.to_send()
    assert 3 * 60_000 < sum(len(data) for stream, data in first_flight if stream) <= EARLY_LIMIT
    for stream, data in first_flight:
        pair.at_server += pair.server.receive(stream, data, 0.0)
    pair.settle()
    assert [event.payload for event in pair.at_server if isinstance(event, Published)] == payloads


def test_publish_without_connack_and_without_token_is_a_protocol_error() -> None:
    server, client = Hub().server(), make_client()
    client.start(0.0)
    [(_, data)] = client.to_send()
    [closing] = server.receive(0, data + mqtt5.PublishPacket(STATE_TOPIC, b"x").write(), 0.0)
    assert (type(closing), closing.reason_code) == (Closing, 0x82)


def test_a_token_does_not_outweigh_a_revoked_certificate() -> None:
    hub = Hub()
    token = connected(connect(hub)).token
    hub.verifier.revoked.add("edge-1")
    assert connect(hub, token=token).at_client == [Refused(0x87, "the certificate was revoked")]


def test_a_token_is_bound_to_name_and_chain() -> None:
    hub = Hub()
    token = connected(connect(hub)).token
    other = NodeCredential(node="edge-2", key=OTHER_KEY)
    pair = connect(hub, other, token=token)
    assert isinstance(pair.at_server[0], Accepted)
    assert hub.verifier.without_signature == 0
    renewed = NodeCredential(key=OTHER_KEY)
    connect(hub, renewed, token=token)
    assert hub.verifier.without_signature == 0


def test_the_book_redeems_once_within_the_lifetime_and_stays_bounded() -> None:
    book = TokenBook(capacity=2, lifetime=100)
    node = Identity("default", "a")
    book.issue(node, b"digest", b"t" * 32, 0.0)
    assert not book.redeem(b"u" * 32, "a", b"digest", 1.0)
    assert not book.redeem(b"t" * 32, "a", b"other digest", 1.0)
    assert book.redeem(b"t" * 32, "a", b"digest", 99.0)
    assert not book.redeem(b"t" * 32, "a", b"digest", 99.0)
    book.issue(node, b"digest", b"t" * 32, 0.0)
    assert not book.redeem(b"t" * 32, "a", b"digest", 100.0)
    for name in ("a", "b", "c"):
        book.issue(Identity("default", name), b"", name.encode() * 32, 0.0)
    assert len(book) == 2
    assert not book.redeem(b"a" * 32, "a", b"", 1.0)
    assert book.redeem(b"c" * 32, "c", b"", 1.0)


# --- what CONNECT and AUTH must carry -------------------------------------------------------------------------

CLAIM = Claim("edge-1", NodeCredential().chain)
NODE: dict[str, Any] = {
    "authentication_method": auth.METHOD,
    "authentication_data": auth.encode_claim(CLAIM),
    "user_properties": [("twingateway", "1")],
}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"authentication_method": None, "authentication_data": None}, 0x87),
        ({"authentication_method": None}, 0x82),
        ({"authentication_method": "SCRAM-SHA-1"}, 0x8C),
        ({"authentication_data": None}, 0x87),
        ({"authentication_data": b"\xff\xff"}, 0x87),
        ({"authentication_data": auth.encode_claim(CLAIM) + b"\x00"}, 0x87),
        ({"user_properties": []}, 0x82),
        ({"user_properties": [("twingateway", "2")]}, 0x84),
        ({"user_properties": [("twingateway", "1"), ("twingateway", "1")]}, 0x82),
        ({"client_id": ""}, 0x85),
    ],
)
def test_a_node_without_all_it_must_say_is_refused(change: dict[str, Any], code: int) -> None:
    server = Hub().server()
    fields = {"client_id": "edge-1", **NODE, **change}
    [closing] = server.receive(0, mqtt5.ConnectPacket(**fields).write(), 0.0)
    assert (type(closing), closing.reason_code) == (Closing, code)
    [connack] = PacketReader().feed(sent(server))
    assert isinstance(connack, mqtt5.ConnAckPacket)
    assert (int(connack.reason_code), connack.reason_str) == (code, closing.message)


@pytest.mark.parametrize(
    ("proof", "code"),
    [
        (mqtt5.AuthPacket(reason_code=mqtt5.AuthReasonCode.RE_AUTHENTICATE, authentication_method=auth.METHOD), 0x82),
        (
            mqtt5.AuthPacket(
                reason_code=mqtt5.AuthReasonCode.CONTINUE_AUTHENTICATION,
                authentication_method="x",
                authentication_data=b"",
            ),
            0x82,
        ),
        (
            mqtt5.AuthPacket(
                reason_code=mqtt5.AuthReasonCode.CONTINUE_AUTHENTICATION, authentication_method=auth.METHOD
            ),
            0x87,
        ),
    ],
)
def test_an_auth_that_does_not_answer_the_nonce_is_refused(proof: mqtt5.AuthPacket, code: int) -> None:
    server = Hub().server()
    assert server.receive(0, mqtt5.ConnectPacket("edge-1", **NODE).write(), 0.0) == []
    server.to_send()
    [closing] = server.receive(0, proof.write(), 0.0)
    assert (type(closing), closing.reason_code) == (Closing, code)


@pytest.mark.parametrize(
    "answer",
    [
        mqtt5.AuthPacket(
            reason_code=mqtt5.AuthReasonCode.CONTINUE_AUTHENTICATION,
            authentication_method=auth.METHOD,
            authentication_data=b"short",
        ),
        mqtt5.ConnAckPacket(authentication_method=auth.METHOD, authentication_data=b"\x01"),
        mqtt5.ConnAckPacket(user_properties=[("twingateway", "2")]),
        mqtt5.PublishPacket("a", b""),
    ],
)
def test_a_server_that_answers_wrongly_is_left(answer: mqtt5.AuthPacket) -> None:
    client = make_client()
    client.start(0.0)
    [closing] = client.receive(0, answer.write(), 0.0)
    assert isinstance(closing, Closing)
    assert client.closed


def test_a_client_without_credential_signs_nothing() -> None:
    client = make_client()
    client._credential = None  # the one way to be asked for a proof that was never offered
    client.start(0.0)
    challenge = mqtt5.AuthPacket(
        reason_code=mqtt5.AuthReasonCode.CONTINUE_AUTHENTICATION,
        authentication_method=auth.METHOD,
        authentication_data=bytes(32),
    )
    [closing] = client.receive(0, challenge.write(), 0.0)
    assert (type(closing), closing.reason_code) == (Closing, 0x82)


# --- bytes ----------------------------------------------------------------------------------------------------


def test_the_transcript_is_what_the_document_says() -> None:
    data = auth.transcript(b"n" * 32, SERVER_CERTIFICATE, "edge-1")
    assert data.startswith(b"twingateway-1 node proof\x00" + b"n" * 32)
    assert data.endswith(b"edge-1")
    assert len(data) == 25 + 32 + 32 + 6


def test_a_claim_has_one_encoding() -> None:
    claim = Claim("edge-1", (b"leaf", b"ca"), bytes(32))
    assert auth.decode_claim(auth.encode_claim(claim)) == claim
    assert "token" not in repr(claim)


@pytest.mark.parametrize(
    "body",
    [
        cbor2.dumps([]),
        cbor2.dumps({}),
        cbor2.dumps({"node": "a", "chain": []}, canonical=True),
        cbor2.dumps({"node": "", "chain": [b"c"]}, canonical=True),
        cbor2.dumps({"node": b"a", "chain": [b"c"]}, canonical=True),
        cbor2.dumps({"node": "a", "chain": ["c"]}, canonical=True),
        cbor2.dumps({"node": "a", "chain": [b"c"] * 9}, canonical=True),
        cbor2.dumps({"node": "a", "chain": [b"c"], "token": b"short"}, canonical=True),
        cbor2.dumps({"node": "a", "chain": [b"c"], "more": 1}, canonical=True),
        cbor2.dumps({"chain": [b"c"], "node": "a"}),
        b"\xa2\x64node\x61a\x64node\x61a",
        b"\x81" * 5000,
        b"\xc5\x82\x1b\x7f\xff\xff\xff\xff\xff\xff\xff\x01",
        b"",
    ],
)
def test_anything_else_is_not_a_claim(body: bytes) -> None:
    with pytest.raises(NotAuthorized):
        auth.decode_claim(body)


@pytest.mark.parametrize(
    "body", [b"", b"\x01", cbor2.dumps({"token": bytes(32)}), cbor2.dumps({"token": bytes(32), "lifetime": True})]
)
def test_anything_else_is_not_a_grant(body: bytes) -> None:
    assert auth.decode_grant(auth.encode_grant(Grant(bytes(32), 60))) == Grant(bytes(32), 60)
    with pytest.raises(ProtocolViolation):
        auth.decode_grant(body)


def test_a_chain_that_no_connect_can_hold_is_said_so_at_the_start() -> None:
    class Huge(NodeCredential):
        @property
        def chain(self) -> tuple[bytes, ...]:
            return (bytes(70_000),)

    with pytest.raises(TooLarge):
        make_client(Huge()).start(0.0)


def connected(pair: Pair) -> Connected:
    [event] = [event for event in pair.at_client if isinstance(event, Connected)]
    return event


def sent(server: ServerConnection) -> bytes:
    return b"".join(data for _, data in server.to_send())


def test_the_documents_examples_are_what_the_code_writes() -> None:
    text = Path(auth.__file__).with_name("AUTH.md").read_text(encoding="utf-8")
    block = text.split("## Examples")[1].split("```")[1]
    examples = {
        name: bytes.fromhex(digits) for name, digits in re.findall(r"^(\S+)((?:\n  [0-9a-f]+)+)", block, re.M)
    }
    counting, chain = bytes(range(32)), (b"leaf", b"ca")
    assert examples == {
        "claim": auth.encode_claim(Claim("edge-1", chain)),
        "claim-with-token": auth.encode_claim(Claim("edge-1", chain, counting)),
        "transcript": auth.transcript(counting, b"server", "edge-1"),
        "grant": auth.encode_grant(Grant(counting, 3600)),
    }
