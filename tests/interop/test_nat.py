"""What a translator does to packets: ports change and checksums stay true."""

from __future__ import annotations

import struct

import pytest

from interop.nat import Nat

EDGE, CLOUD = bytes([10, 213, 0, 1]), bytes([10, 213, 0, 2])
TCP, UDP, ICMP = 6, 17, 1
_HEADERS = {UDP: 8, TCP: 20, ICMP: 8}
_CHECKSUM = {UDP: 6, TCP: 16}


def ones_sum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def pseudo(packet: bytes) -> bytes:
    return packet[12:20] + bytes([0, packet[9]]) + struct.pack("!H", len(packet) - 20)


def is_true(packet: bytes) -> bool:
    """Whether the checksum of TCP or UDP is right."""
    return ones_sum(pseudo(packet) + packet[20:]) == 0xFFFF


def make(protocol: int, source: bytes, target: bytes, ports: tuple[int, int], payload: bytes = b"even") -> bytes:
    """An IPv4 packet with a true checksum."""
    body = bytearray(_HEADERS[protocol]) + payload
    head = bytearray(20)
    head[0], head[9], head[12:16], head[16:20] = 0x45, protocol, source, target
    struct.pack_into("!HH", body, 0, *ports)
    if protocol in _CHECKSUM:
        at = _CHECKSUM[protocol]
        struct.pack_into("!H", body, at, ~ones_sum(pseudo(bytes(head + body)) + bytes(body)) & 0xFFFF)
    return bytes(head + body)


def ports(packet: bytes) -> tuple[int, int]:
    source, target = struct.unpack_from("!HH", packet, 20)
    return source, target


def test_at_first_nothing_changes():
    nat = Nat()
    there, back = make(UDP, EDGE, CLOUD, (40_000, 14_567)), make(TCP, CLOUD, EDGE, (80, 41_000))
    assert nat.outgoing(there) == there
    assert nat.incoming(back) == back


@pytest.mark.parametrize("protocol", [TCP, UDP])
def test_after_rebinding_a_flow_comes_from_another_port_and_its_answers_find_back(protocol):
    nat = Nat()
    nat.rebind()
    for port in (1024, 40_000, 65_535):
        sent = nat.outgoing(make(protocol, EDGE, CLOUD, (port, 14_567)))
        outer = ports(sent)[0]
        assert outer != port
        assert ports(sent)[1] == 14_567
        assert is_true(sent)
        answer = nat.incoming(make(protocol, CLOUD, EDGE, (14_567, outer)))
        assert answer is not None
        assert ports(answer) == (14_567, port)
        assert is_true(answer)


def test_what_is_sent_to_a_forgotten_port_is_dropped():
    nat = Nat()
    nat.rebind()
    former = ports(nat.outgoing(make(UDP, EDGE, CLOUD, (40_000, 14_567))))[0]
    nat.rebind()
    assert nat.incoming(make(UDP, CLOUD, EDGE, (14_567, former))) is None
    assert nat.incoming(make(UDP, CLOUD, EDGE, (14_567, 40_000))) is None
    now = ports(nat.outgoing(make(UDP, EDGE, CLOUD, (40_000, 14_567))))[0]
    assert now not in (former, 40_000)
    assert nat.incoming(make(UDP, CLOUD, EDGE, (14_567, now))) is not None


def test_flows_do_not_meet_at_one_port():
    nat = Nat()
    nat.rebind()
    outer = {ports(nat.outgoing(make(UDP, EDGE, CLOUD, (port, 1))))[0] for port in range(1024, 65_536, 7)}
    assert len(outer) == len(range(1024, 65_536, 7))


def test_what_has_no_ports_passes_as_it_is():
    nat = Nat()
    nat.rebind()
    fragment = bytearray(make(UDP, EDGE, CLOUD, (40_000, 1)))
    fragment[6:8] = struct.pack("!H", 185)
    for packet in (make(ICMP, EDGE, CLOUD, (2048, 0)), bytes(fragment)):
        assert nat.outgoing(packet) == packet
        assert nat.incoming(packet) == packet


def test_a_udp_packet_without_a_checksum_stays_without():
    nat = Nat()
    nat.rebind()
    plain = bytearray(make(UDP, EDGE, CLOUD, (40_000, 1)))
    plain[26:28] = b"\0\0"
    assert nat.outgoing(bytes(plain))[26:28] == b"\0\0"
