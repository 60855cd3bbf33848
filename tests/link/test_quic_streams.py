"""The streams of a link: who may open which, and what becomes of what is written too early."""

from __future__ import annotations

import pytest

from tests.link.recorder import Recorder
from tests.link.test_quic_link import write_hello
from twingateway.errors import LinkError

pytestmark = pytest.mark.hurried


async def test_stream_ids_are_quics_and_no_more_are_opened_than_granted(make_site):
    site = await make_site()
    client, server = await site.dial()
    assert [client.link.open_stream() for _ in range(3)] == [0, 4, 8]
    assert server.link.open_stream() == 1
    for _ in range(13):
        client.link.open_stream()
    with pytest.raises(LinkError, match="lets us open 16 streams"):
        client.link.open_stream()


async def test_what_is_written_to_a_stream_that_the_peer_has_not_opened_yet_waits_for_it(make_site):
    site = await make_site()
    client, server = await site.dial(Recorder(on_connected=write_hello))
    await server.until(lambda: server.streams)
    server.link.write(4, b"early ")
    server.link.write(4, b"bird")
    assert server.link.unsent(4) == 10
    client.link.write(client.link.open_stream(), b"opened")
    await client.until(lambda: client.streams.get(4) == b"early bird")
