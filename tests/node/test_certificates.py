"""What a node says of its own certificate, before it is too late."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from pathlib import Path

from twingateway.gateway.state.events import Notice
from twingateway.node import certificates
from twingateway.node.certificates import concern
from twingateway.pki.authority import create_authority, issue
from twingateway.pki.credential import NodeCredential
from twingateway.testing.joined import MemoryNode


def issued(folder: Path, days: int) -> tuple[NodeCredential, datetime]:
    """A fresh certificate, and its end."""
    create_authority(folder)
    files = issue(folder, "edge-1", days=days)
    return NodeCredential.load(files.certificate, files.key), files.expires


def test_a_new_certificate_is_due_a_month_before_the_end_or_in_the_last_third_of_a_short_life(tmp_path: Path) -> None:
    for days, due in ((825, 30), (9, 3)):
        credential, end = issued(tmp_path / str(days), days)
        assert concern(credential, end - timedelta(days=due, hours=2)) is None
        found = concern(credential, end - timedelta(days=due, hours=-2))
        assert found is not None
        assert found[0] == "certificate-expires"
        assert f"in {due - 1} days" in found[1]


def test_one_that_has_expired_is_told_as_that(tmp_path: Path) -> None:
    credential, end = issued(tmp_path, 9)
    code, text = concern(credential, end + timedelta(days=2)) or ("", "")
    assert code == "certificate-expires"
    assert f"the certificate of edge-1 expired on {end:%Y-%m-%d}" in text
    assert "days" not in text


def test_files_that_do_not_fit_together_are_told(tmp_path: Path) -> None:
    credential, end = issued(tmp_path, 825)
    issue(tmp_path, "edge-2")
    (tmp_path / "edge-1.key").write_bytes((tmp_path / "edge-2.key").read_bytes())
    code, text = concern(credential, end - timedelta(days=800)) or ("", "")
    assert code == "certificate-problem"
    assert "is not the key of" in text


async def test_the_same_is_told_once_and_what_is_new_again(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(certificates, "LOOK", 0.01)
    said = [("certificate-expires", "in 2 days"), ("certificate-expires", "in 2 days"), None]
    said += [("certificate-expires", "in 1 days")]
    looks = iter(said)
    enough = asyncio.Event()

    def look(credential, now):
        found = next(looks, said[-1])
        if found == said[-1]:
            enough.set()
        return found

    monkeypatch.setattr(certificates, "concern", look)
    credential, _ = issued(tmp_path, 825)
    async with MemoryNode("edge").running() as gateway:
        listening = gateway.events.listen()
        task = asyncio.create_task(certificates.watch_certificate(credential, gateway.ledger))
        async with asyncio.timeout(5):
            await enough.wait()
        task.cancel()
        told = [each.message for each in await listening.next_batch() if isinstance(each, Notice)]
    assert told == ["in 2 days", "in 1 days"]
