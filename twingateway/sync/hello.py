"""Control messages: `[kind, body]`, and the one that introduces two nodes to each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from twingateway.errors import ProtocolViolation
from twingateway.sync.cbor import MAX_INTEGER, decode, encode, is_value

#: Version of the whole protocol; peers of different versions do not talk.
PROTOCOL = 1
MAX_CONTROL = 1024 * 1024
_BODY_DEPTH = 20
_MAX_KIND = 64
_MAX_ID = 64

HELLO = "hello"
COMPARE = "compare"
BUCKETS = "buckets"
RESERVED = frozenset({HELLO, COMPARE, BUCKETS})


@dataclass(frozen=True, slots=True)
class Hello:
    """Who speaks, and what it knows of the one spoken to.

    `last_lsn`: the speaker's; `opened`: the last that its store can have issued before this opening, 0 if it does not
    say so. `peer_store_id`, `low`, `peer_boot_id`, `peer_lsn`: of the listener's store, as the
    speaker knows it; empty and 0 when it knows none.
    """

    node: str
    store_id: bytes
    boot_id: bytes
    last_lsn: int
    peer_store_id: bytes = b""
    low: int = 0
    peer_boot_id: bytes = b""
    peer_lsn: int = 0
    opened: int = 0

    @property
    def process(self) -> tuple[bytes, bytes]:
        """Of the speaker: its (store, boot)."""
        return self.store_id, self.boot_id


def encode_control(kind: str, body: Mapping[str, Any]) -> bytes:
    """Raises ValueError for what the peer would not accept."""
    message = encode([kind, body])
    if not 0 < len(kind) <= _MAX_KIND or len(message) > MAX_CONTROL or not is_value(body, _BODY_DEPTH, binary=True):
        raise ValueError(f"not a control message: {kind!r}, {len(message)} bytes")
    return message


def decode_control(message: bytes) -> tuple[str, dict[str, Any]]:
    """Kind and body. Raises ProtocolViolation."""
    if len(message) > MAX_CONTROL:
        raise ProtocolViolation("a control message is too large", 0x95)
    item = decode(message, _BODY_DEPTH + 1)
    if not isinstance(item, list) or len(item) != 2:
        raise ProtocolViolation("a control message is [kind, body]")
    kind, body = item
    if not isinstance(kind, str) or not 0 < len(kind) <= _MAX_KIND:
        raise ProtocolViolation("a control message has a kind")
    if not isinstance(body, dict) or not is_value(body, _BODY_DEPTH, binary=True):
        raise ProtocolViolation("a control message's body is a map of plain values")
    return kind, body


def encode_hello(hello: Hello) -> bytes:
    return encode_control(
        HELLO,
        {
            "protocol": PROTOCOL,
            "node": hello.node,
            "store": hello.store_id,
            "boot": hello.boot_id,
            "last": hello.last_lsn,
            "peer-store": hello.peer_store_id,
            "peer-low": hello.low,
            "peer-boot": hello.peer_boot_id,
            "peer-lsn": hello.peer_lsn,
            "opened": hello.opened,
        },
    )


def parse_hello(body: Mapping[str, Any]) -> Hello:
    """Raises ProtocolViolation; members it does not know are ignored."""
    if body.get("protocol") != PROTOCOL:
        raise ProtocolViolation(f"protocol {body.get('protocol')!r} is not {PROTOCOL}", 0x84)

    def number(name: str, default: int | None = None) -> int:
        value = body.get(name, default)
        if type(value) is not int or not 0 <= value <= MAX_INTEGER:
            raise ProtocolViolation(f"hello: {name} is not a number")
        return value

    def identity(name: str, shortest: int) -> bytes:
        value = body.get(name)
        if not isinstance(value, bytes) or not shortest <= len(value) <= _MAX_ID:
            raise ProtocolViolation(f"hello: {name} is not an id")
        return value

    node = body.get("node")
    if not isinstance(node, str) or not node:
        raise ProtocolViolation("hello: node is not a name")
    return Hello(
        node=node,
        store_id=identity("store", 1),
        boot_id=identity("boot", 1),
        last_lsn=number("last"),
        peer_store_id=identity("peer-store", 0),
        low=number("peer-low"),
        peer_boot_id=identity("peer-boot", 0),
        peer_lsn=number("peer-lsn"),
        opened=number("opened", 0),
    )
