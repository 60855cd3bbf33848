"""Which functions a simulated device lets which role use, over Modbus/TCP Security. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from twingateway_modbus.reply import EXCEPTION
from twingateway_modbus.request import ENCAPSULATED, READ_FUNCTIONS
from twingateway_modbus.role import role_in
from twingateway_modbus.simulator.answer import ILLEGAL_FUNCTION

#: Names of sets of functions.
_SETS = {"read": frozenset({*READ_FUNCTIONS.values(), ENCAPSULATED}), "all": frozenset(range(1, 128))}


class Rights:
    """`functions`: by role. Whoever has no role, or another one, may do nothing."""

    def __init__(self, functions: Mapping[str, frozenset[int]]) -> None:
        self._functions = dict(functions)

    def of(self, certificate: bytes | None) -> frozenset[int]:
        """The functions of a client with this certificate (DER)."""
        role = None if certificate is None else role_in(certificate)
        return frozenset() if role is None else self._functions.get(role, frozenset())


def refusal(pdu: bytes) -> bytes:
    """What somebody is told whose role does not allow the request."""
    return bytes([pdu[0] | EXCEPTION, ILLEGAL_FUNCTION])


def functions_named(text: str) -> frozenset[int]:
    """`read`, `all`, or codes such as `1-4,16`; several joined by commas. Raises ValueError."""
    found: frozenset[int] = frozenset()
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        found |= _SETS.get(first) or frozenset(range(int(first), int(last or first) + 1))
    if not found <= _SETS["all"]:
        raise ValueError("function codes are 1 to 127")
    return found
