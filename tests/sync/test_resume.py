"""The table that decides what a hello asks to be sent again."""

from types import MappingProxyType

import pytest

from twingateway.sync.hello import Hello
from twingateway.sync.knowledge import LocalStore
from twingateway.sync.resume import Position, Resume, decide

LOCAL = LocalStore("edge", b"ours", b"now", MappingProxyType({b"past": 50, b"now": 200}))
PEER = {"node": "cloud", "store_id": b"theirs", "boot_id": b"b1", "last_lsn": 9}
LEVEL = {"peer_store_id": b"ours", "peer_boot_id": b"past", "peer_lsn": 50, "low": 50}

ROWS = [
    ("never met", {}, Position(), 100, Resume.EVERYTHING),
    ("never met, nothing here", {}, Position(), 0, Resume.EVERYTHING),
    ("behind", {**LEVEL, "low": 40}, Position(b"theirs"), 50, Resume.SINCE),
    ("behind, and we forgot it", {**LEVEL, "low": 40}, Position(), 50, Resume.SINCE),
    ("level", LEVEL, Position(b"theirs"), 50, Resume.NOTHING),
    ("level, below a reserved block's end", {**LEVEL, "low": 45}, Position(b"theirs"), 40, Resume.NOTHING),
    (
        "knows this very boot",
        {**LEVEL, "peer_boot_id": b"now", "peer_lsn": 900},
        Position(b"theirs"),
        60,
        Resume.SINCE,
    ),
    ("its store changed", {**LEVEL, "low": 40}, Position(b"another"), 50, Resume.BUCKETS),
    ("knows another store of ours", {**LEVEL, "peer_store_id": b"former"}, Position(b"theirs"), 50, Resume.BUCKETS),
    ("its low contradicts itself", {**LEVEL, "peer_lsn": 30}, Position(b"theirs"), 80, Resume.BUCKETS),
    ("knows a boot we do not", {**LEVEL, "peer_boot_id": b"lost"}, Position(b"theirs"), 50, Resume.ROLLED_BACK),
    ("knows an lsn we do not", {**LEVEL, "peer_lsn": 51}, Position(b"theirs"), 50, Resume.ROLLED_BACK),
    ("same process as before", {**LEVEL, "low": 10}, Position(b"theirs", (b"theirs", b"b1")), 50, Resume.NOTHING),
    ("restarted since", {**LEVEL, "low": 10}, Position(b"theirs", (b"theirs", b"b0")), 50, Resume.SINCE),
    (
        "rolled back before anything else",
        {**LEVEL, "peer_lsn": 51},
        Position(b"theirs", (b"theirs", b"b1")),
        50,
        Resume.ROLLED_BACK,
    ),
]


@pytest.mark.parametrize(
    ("hello", "position", "last", "expected"), [row[1:] for row in ROWS], ids=[r[0] for r in ROWS]
)
def test_decision(hello, position, last, expected):
    assert decide(LOCAL, last, position, Hello(**PEER, **hello)) is expected


def test_a_low_from_the_gap_between_what_was_stored_and_what_was_issued_tells_of_an_older_copy():
    local = LocalStore("edge", b"ours", b"now", MappingProxyType({b"past": 100, b"now": 200}), ((50, 100),))

    def hello(low, lsn=0):
        boot = b"now" if low > 100 else b"past"
        return Hello("cloud", b"theirs", b"b", 1, b"ours", low, boot, max(lsn, low))

    position = Position(b"theirs")
    assert decide(local, 120, position, hello(50)) is not Resume.ROLLED_BACK
    assert decide(local, 120, position, hello(51)) is Resume.ROLLED_BACK
    assert decide(local, 120, position, hello(100)) is Resume.ROLLED_BACK
    assert decide(local, 120, position, hello(40, 60)) is Resume.ROLLED_BACK
    assert decide(local, 120, position, hello(101)) is not Resume.ROLLED_BACK
