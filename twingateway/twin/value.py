"""What a property may hold: JSON without NaN, infinities, lone surrogates or unbounded size."""

from __future__ import annotations

from typing import TypeAlias

#: A register's value. `None` is a tombstone: the property is not there (RFC 7396 gives null that meaning).
Value: TypeAlias = "bool | int | float | str | list[Value] | dict[str, Value] | None"

#: Levels of nesting a value may have; a scalar has none.
MAX_DEPTH = 16
#: Bytes a value may take as compact UTF-8 JSON.
MAX_BYTES = 64 * 1024
#: Integers beyond this cannot be told apart by peers that read JSON numbers as doubles.
MAX_INTEGER = 2**53 - 1
