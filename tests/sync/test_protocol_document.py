"""The example in PROTOCOL.md is a frame of ours, byte for byte."""

import re
from pathlib import Path

from twingateway import sync
from twingateway.sync.frame import Frame, Names, decode_frame, encode_frame
from twingateway.twin.register import Section, Version

DOCUMENT = Path(sync.__path__[0]) / "PROTOCOL.md"


def test_the_example_frame():
    (example,) = re.findall(r"^```\n(88 01.*?)^```", DOCUMENT.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    data = bytes.fromhex("".join(line.partition(";")[0] for line in example.splitlines()))
    frame = Frame(
        number=1,
        top=7,
        low=0,
        names=Names({0: "default/d0"}, {0: (Section.REPORTED, "temp")}),
        registers=((0, 0, Version(1, 1, 7), 21.5, 1_700_000_000_007),),
    )
    assert encode_frame(frame) == data
    assert decode_frame(data) == frame
