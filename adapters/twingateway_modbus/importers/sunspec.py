"""A SunSpec model definition (JSON) → profile. Its addresses count from the model's first register (its ID); a device
adds `base`, where that register lies.

Not implemented values are the sentinels of the SunSpec information model; scale factors are registers or constants.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from twingateway.errors import InvalidConfig
from twingateway_modbus.importers.draft import Draft, means

#: SunSpec type → our type and the content that says “not implemented”.
_NUMBERS: dict[str, tuple[str, int | str | None]] = {
    "int16": ("int16", 0x8000),
    "uint16": ("uint16", 0xFFFF),
    "acc16": ("uint16", None),
    "count": ("uint16", None),
    "raw16": ("uint16", None),
    "int32": ("int32", 0x80000000),
    "uint32": ("uint32", 0xFFFFFFFF),
    "acc32": ("uint32", None),
    "int64": ("int64", 0x8000000000000000),
    "uint64": ("uint64", 0xFFFFFFFFFFFFFFFF),
    "acc64": ("uint64", None),
    "float32": ("float32", "nan"),
    "float64": ("float64", "nan"),
}
_ENUMS = {"enum16": ("uint16", 0xFFFF), "enum32": ("uint32", 0xFFFFFFFF)}
_BITFIELDS = {
    "bitfield16": ("uint16", 0xFFFF),
    "bitfield32": ("uint32", 0xFFFFFFFF),
    "bitfield64": ("uint64", 0xFFFFFFFFFFFFFFFF),
}
_SIZES = {"int32": 2, "uint32": 2, "acc32": 2, "float32": 2, "enum32": 2, "bitfield32": 2, "ipaddr": 2}
_SIZES |= {"int64": 4, "uint64": 4, "acc64": 4, "float64": 4, "bitfield64": 4, "eui48": 4, "ipv6addr": 8}
#: SunSpec type → our type and the contents that say “not implemented”.
_ADDRESSES: dict[str, tuple[str, list[int]]] = {
    "ipaddr": ("ipv4", [0]),
    "ipv6addr": ("ipv6", [0]),
    "eui48": ("eui48", [0, 0x0000FFFFFFFFFFFF]),
}
#: SunSpec's own spellings of units. Percent of something keeps what it is of.
_UNITS = {
    "Secs": "s",
    "Sec": "s",
    "Tms": "s",
    "mSecs": "ms",
    "Tmh": "h",
    "Tmd": "d",
    "Pct": "%",
    "Degrees": "deg",
    "cos()": "1",
    "Var": "var",
    "Varh": "varh",
    "WH": "Wh",
    "AH": "Ah",
    "kAH": "kAh",
    "ohms": "Ohm",
    "kO": "kohm",
    "HPa": "hPa",
    "mps": "m/s",
}
#: Points that describe the model itself.
_HEADER = frozenset({"ID", "L"})


@dataclass(frozen=True, slots=True)
class _Placed:
    """A point, its address from the model's first register, and the names of the groups that it is in."""

    point: Mapping[str, Any]
    address: int
    prefix: str


def import_sunspec(document: Mapping[str, Any], *, repeat: int = 0) -> Draft:
    """`repeat`: how often a group is there whose number the device says itself. Raises InvalidConfig."""
    group = document.get("group")
    if not isinstance(group, dict) or "points" not in group:
        raise InvalidConfig("not a SunSpec model: it has no group with points")
    draft = Draft(f"sunspec-{document.get('id', '')}-{group.get('name', 'model')}", str(group.get("label", "")))
    placed: list[_Placed] = []
    _place(group, 0, "", repeat, placed, draft)
    factors = {each.prefix + each.point["name"]: each for each in placed if each.point.get("type") == "sunssf"}
    for each in placed:
        if each.point["name"] not in _HEADER and each.point.get("type") not in ("sunssf", "pad"):
            _add(draft, each, factors)
    draft.spec = {"read": {"max_gap": 125}}
    return draft


def _place(
    group: Mapping[str, Any], address: int, prefix: str, repeat: int, placed: list[_Placed], draft: Draft
) -> int:
    """Returns the address behind the group."""
    for point in group.get("points", ()):
        placed.append(_Placed(point, address, prefix))
        address += int(point.get("size") or _SIZES.get(point.get("type", ""), 1))
    for inner in group.get("groups", ()):
        name, count = str(inner.get("name", "group")), inner.get("count", 1)
        times = count if isinstance(count, int) and count > 0 else repeat
        if not times:
            draft.left_out.append(f"{prefix}{name}: repeats as often as the device says (--repeat)")
        for number in range(1, times + 1):
            inner_prefix = f"{prefix}{name}_{number}." if times > 1 or count == 0 else f"{prefix}{name}."
            address = _place(inner, address, inner_prefix, repeat, placed, draft)
    return address


def _add(draft: Draft, placed: _Placed, factors: Mapping[str, _Placed]) -> None:
    point = placed.point
    name, kind = placed.prefix + point["name"], point.get("type", "")
    writable = "W" in str(point.get("access", "R"))
    text = str(point.get("label") or point.get("desc") or "")
    lies: dict[str, Any] = {"table": "holding", "address": placed.address, "writable": writable or None}
    if kind == "string":
        lies |= {"type": "string", "length": int(point["size"])}
        draft.add(name, lies, means("string", writable=writable, description=text))
    elif kind in _ADDRESSES:
        data_type, nothings = _ADDRESSES[kind]
        described = means("string", writable=writable, description=text)
        draft.add(name, lies | {"type": data_type, "sentinels": nothings}, described)
    elif kind in _ENUMS and _symbols(point):
        data_type, nothing = _ENUMS[kind]
        names = {number: symbol for symbol, number in _symbols(point)}
        values = list(dict.fromkeys(names.values()))
        draft.add(
            name,
            lies | {"type": data_type, "enum": names, "sentinels": [nothing]},
            means("enum", writable=writable, values=values, description=text),
        )
    elif kind in _BITFIELDS and _symbols(point):
        data_type, nothing = _BITFIELDS[kind]
        flags = {bit: symbol for symbol, bit in _symbols(point)}
        draft.add(
            name,
            lies | {"type": data_type, "flags": flags, "sentinels": [nothing]},
            means("array", writable=writable, items={"type": "string"}, description=text),
        )
    elif kind in _NUMBERS or kind in _ENUMS or kind in _BITFIELDS:
        _add_number(draft, name, placed, lies, writable, text, factors)
    else:
        draft.left_out.append(f"{name}: type {kind}")


def _add_number(
    draft: Draft,
    name: str,
    placed: _Placed,
    lies: dict[str, Any],
    writable: bool,
    text: str,
    factors: Mapping[str, _Placed],
) -> None:
    point = placed.point
    kind = point.get("type", "")
    data_type, nothing = (_NUMBERS | _ENUMS | _BITFIELDS)[kind]
    scale: dict[str, Any] = {}
    factor = point.get("sf")
    if isinstance(factor, int):
        scale = {"scale": float(f"1e{factor}")}
    elif factor is not None:
        register = factors.get(placed.prefix + factor) or factors.get(factor)
        if register is None:
            draft.left_out.append(f"{name}: its scale factor {factor} is nowhere")
            return
        scale = {"scale_register": register.address}
    is_number = bool(scale) or data_type.startswith("float")
    draft.add(
        name,
        lies | {"type": data_type, "sentinels": None if nothing is None else [nothing], **scale},
        means(
            "number" if is_number else "integer",
            writable=writable,
            unit=_unit(str(point.get("units", ""))),
            description=text,
        ),
    )


def _unit(text: str) -> str:
    return _UNITS.get(text.strip(), text.strip())


def _symbols(point: Mapping[str, Any]) -> list[tuple[str, int]]:
    return list(_each_symbol(point))


def _each_symbol(point: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    for symbol in point.get("symbols", ()):
        yield str(symbol["name"]), int(symbol["value"])
