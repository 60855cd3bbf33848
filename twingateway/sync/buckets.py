"""256 hashes of which register has which version, to find out cheaply where two stores differ.

A key's bucket is the first byte of the hash of its text; a bucket's hash covers its sorted entries, each behind its
length, so that equal hashes mean equal sets.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b

from twingateway.twin.register import Register, RegisterKey

COUNT = 256
HASH_SIZE = 8


def _hash(data: bytes) -> bytes:
    return blake2b(data, digest_size=HASH_SIZE).digest()


def bucket_of(key: RegisterKey) -> int:
    return _hash(str(key).encode())[0]


def hashes(registers: Iterable[Register]) -> bytes:
    """256 × 8 bytes; an empty bucket's hash is that of nothing."""
    buckets: list[list[bytes]] = [[] for _ in range(COUNT)]
    for register in registers:
        text = str(register.key).encode()
        entry = text + b"\0" + str(register.version).encode()
        buckets[_hash(text)[0]].append(len(entry).to_bytes(4, "big") + entry)
    return b"".join(_hash(b"".join(sorted(bucket))) for bucket in buckets)


def unequal(ours: bytes, theirs: bytes) -> frozenset[int]:
    """The numbers of the buckets that differ."""

    def split(of: bytes) -> Iterator[bytes]:
        return (of[at : at + HASH_SIZE] for at in range(0, COUNT * HASH_SIZE, HASH_SIZE))

    return frozenset(
        number for number, (one, two) in enumerate(zip(split(ours), split(theirs), strict=True)) if one != two
    )
