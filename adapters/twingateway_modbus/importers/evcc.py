"""An evcc-like template → profile: every `source: modbus` in it with a register becomes a property.

A template serves several uses (`grid`, `pv` …) by its `if` branches; what differs between them is imported once for
each, under its name. What another directive would have chosen is left out, and said.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from twingateway.errors import InvalidConfig
from twingateway_modbus.importers.branches import text_for
from twingateway_modbus.importers.draft import Draft, means

_DECODE = re.compile(r"(bool|int|uint|float)(16|32|64)?(s)?(nan)?")
#: Other names of a float in templates.
_IEEE = "ieee754"
#: Register type → table, whether it is written, and with which request.
_TABLES: dict[str, tuple[str, bool, str | None]] = {
    "holding": ("holding", False, None),
    "input": ("input", False, None),
    "coil": ("coil", False, None),
    "coils": ("coil", False, None),
    "discrete": ("discrete", False, None),
    "writeholding": ("holding", True, None),
    "writesingle": ("holding", True, None),
    "writemultiple": ("holding", True, "multiple"),
    "writecoil": ("coil", True, None),
}
_NOTHING = {
    "int16": 0x8000,
    "uint16": 0xFFFF,
    "int32": 0x80000000,
    "uint32": 0xFFFFFFFF,
    "int64": 0x8000000000000000,
    "uint64": 0xFFFFFFFFFFFFFFFF,
}
#: Keys that only say how things are put together, and stay out of names.
_SILENT = frozenset({"add", "source", "set", "sequence", "switch"})


def import_evcc(document: Mapping[str, Any], load: Callable[[str], Any]) -> Draft:
    """`load`: text of YAML → data. Raises InvalidConfig."""
    render = document.get("render")
    if not isinstance(render, str):
        raise InvalidConfig("not a template: it has no render text")
    draft = Draft(str(document.get("template", "template")), _products(document))
    for name, part in _named_parts(render, _usages(document), load):
        _add(draft, name, part)
    if not draft.properties:
        raise InvalidConfig(_why_nothing(load(text_for("", render))))
    return draft


def _why_nothing(rendered: Any) -> str:
    model = rendered.get("model") if isinstance(rendered, dict) else None
    if model is None:
        return "the template reads nothing over Modbus"
    return f"the template names a device model, {model}, whose registers are not in it"


def _products(document: Mapping[str, Any]) -> str:
    products = document.get("products") or [{}]
    first = products[0] if isinstance(products[0], dict) else {}
    generic = (first.get("description") or {}).get("generic", "")
    return f"{first.get('brand', '')} {generic}".strip()


def _usages(document: Mapping[str, Any]) -> list[str]:
    params = [each for each in document.get("params") or () if isinstance(each, dict)]
    choices = next((each.get("choice") for each in params if each.get("name") == "usage"), None)
    return [str(choice) for choice in choices or [""]]


def _named_parts(
    render: str, usages: list[str], load: Callable[[str], Any]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each register once; named after its use where not all uses have it."""
    found: dict[tuple[str, str], tuple[Mapping[str, Any], list[str]]] = {}
    for usage in usages:
        for name, part in _modbus_parts(load(text_for(usage, render)), ()):
            key = name, json.dumps(part, sort_keys=True, default=str)
            found.setdefault(key, (part, []))[1].append(usage)
    for (name, _), (part, used_for) in found.items():
        yield (name if len(used_for) == len(usages) else f"{used_for[0]}_{name}"), part


def _modbus_parts(data: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(data, dict):
        if data.get("source") == "modbus" and isinstance(data.get("register"), dict):
            yield "_".join(path) or "value", data
            return
        for key, value in data.items():
            yield from _modbus_parts(value, path if key in _SILENT else (*path, str(key)))
    elif isinstance(data, list):
        for number, item in enumerate(data, 1):
            yield from _modbus_parts(item, (*path, str(number)))


def _add(draft: Draft, name: str, part: Mapping[str, Any]) -> None:
    register = part["register"]
    kind, written = str(register.get("type", "")), register.get("decode", register.get("encoding", "uint16"))
    table, writable, write_with = _TABLES.get(kind, ("", False, None))
    of_bits = table in ("coil", "discrete")
    decode = _DECODE.fullmatch(str(written).removesuffix("le").replace(_IEEE, "float32"))
    address, scale = register.get("address"), part.get("scale", 1)
    bit = _bit(register.get("bitmask"), is_flag=decode is not None and decode[1] == "bool")
    if not table or (decode is None and not of_bits) or isinstance(bit, str):
        draft.left_out.append(f"{name}: {kind} {written}" + (f" {bit}" if isinstance(bit, str) else ""))
        return
    if not isinstance(address, int) or not isinstance(scale, int | float):
        draft.left_out.append(
            f"{name}: its {'scale' if isinstance(address, int) else 'address'} is not in the template"
        )
        return
    lies: dict[str, Any] = {"table": table, "address": address}
    if not of_bits:
        assert decode is not None
        lies |= _number(decode, bit, scale)
    is_flag = of_bits or bit is not None
    if writable:
        lies = {**lies, "writable": True, "write_with": None if is_flag else write_with}
    _join(draft, name, lies, means("boolean" if is_flag else "number", writable=writable))


def _bit(mask: Any, *, is_flag: bool) -> int | str | None:
    """The bit that is meant; None for the whole register; a text for what cannot be imported."""
    if mask is None:
        return 0 if is_flag else None
    number = int(str(mask), 0)
    return number.bit_length() - 1 if is_flag and number.bit_count() == 1 else f"with the bit mask {mask}"


def _number(decode: re.Match[str], bit: int | None, scale: float) -> dict[str, Any]:
    data_type = "uint16" if decode[1] == "bool" else f"{decode[1]}{decode[2] or 16}"
    lies: dict[str, Any] = {"type": data_type, "order": "CDAB" if decode[3] else None}
    if bit is not None:
        return {**lies, "bit": bit}
    if decode[4]:
        lies["sentinels"] = ["nan" if data_type.startswith("float") else _NOTHING[data_type]]
    if scale not in (0, 1):
        lies["scale"] = scale
    return lies


def _join(draft: Draft, name: str, lies: dict[str, Any], means_: dict[str, Any]) -> None:
    """One property for a register that is read in one place of a template and written in others."""
    place = _place(lies)
    known = next((each for each, held in draft.properties.items() if _place(held) == place), None)
    if known is None:
        draft.add(name, lies, means_)
    elif lies.get("writable"):
        draft.properties[known] |= {key: value for key, value in lies.items() if value is not None}
        draft.model[known]["access"] = "read-write"


def _place(lies: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(lies.get(key) for key in ("table", "address", "type", "order", "bit", "scale"))
