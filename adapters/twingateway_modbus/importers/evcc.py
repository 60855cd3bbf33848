"""An evcc-like template → profile: every `source: modbus` in it with a register becomes a property.

Template directives (`{{…}}`) are taken out; what a directive would have chosen is left to the reader.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from twingateway.errors import InvalidConfig
from twingateway_modbus.importers.draft import Draft, means

_DIRECTIVE_LINE = re.compile(r"^\s*\{\{.*\}\}\s*$", re.MULTILINE)
_DIRECTIVE = re.compile(r"\{\{.*?\}\}")
_DECODE = re.compile(r"(bool|int|uint|float)(16|32|64)?(s)?(nan)?")
_TABLES = {
    "holding": ("holding", False),
    "input": ("input", False),
    "coil": ("coil", False),
    "coils": ("coil", False),
    "discrete": ("discrete", False),
    "writeholding": ("holding", True),
    "writesingle": ("holding", True),
    "writemultiple": ("holding", True),
    "writecoil": ("coil", True),
}
_NOTHING = {"int16": 0x8000, "uint16": 0xFFFF, "int32": 0x80000000, "uint32": 0xFFFFFFFF}


def import_evcc(document: Mapping[str, Any], load: Any) -> Draft:
    """`load`: text of YAML → data. Raises InvalidConfig."""
    render = document.get("render")
    if not isinstance(render, str):
        raise InvalidConfig("not a template: it has no render text")
    draft = Draft(str(document.get("template", "template")), _products(document))
    text = _DIRECTIVE.sub("0", _DIRECTIVE_LINE.sub("", render))
    for name, part in _modbus_parts(load(text), ()):
        _add(draft, name, part)
    if not draft.properties:
        raise InvalidConfig("the template reads nothing over Modbus")
    return draft


def _products(document: Mapping[str, Any]) -> str:
    products = document.get("products") or [{}]
    first = products[0] if isinstance(products[0], dict) else {}
    generic = (first.get("description") or {}).get("generic", "")
    return f"{first.get('brand', '')} {generic}".strip()


def _modbus_parts(data: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(data, dict):
        if data.get("source") == "modbus" and isinstance(data.get("register"), dict):
            yield "_".join(path) or "value", data
            return
        for key, value in data.items():
            yield from _modbus_parts(value, path if key in ("add", "source") else (*path, str(key)))
    elif isinstance(data, list):
        for number, item in enumerate(data, 1):
            yield from _modbus_parts(item, (*path, str(number)))


def _add(draft: Draft, name: str, part: Mapping[str, Any]) -> None:
    register = part["register"]
    table, writable = _TABLES.get(str(register.get("type", "")), ("", False))
    of_bits = table in ("coil", "discrete")
    decode = _DECODE.fullmatch(str(register.get("decode", "uint16")).removesuffix("le"))
    if not table or (decode is None and not of_bits):
        draft.left_out.append(f"{name}: {register.get('type')} {register.get('decode')}")
        return
    lies: dict[str, Any] = {"table": table, "address": int(register["address"]), "writable": writable or None}
    if of_bits:
        draft.add(name, lies, means("boolean", writable=writable))
        return
    assert decode is not None
    data_type = "uint16" if decode[1] == "bool" else f"{decode[1]}{decode[2] or 16}"
    nothing: Any = "nan" if data_type.startswith("float") else _NOTHING.get(data_type)
    lies |= {"type": data_type, "order": "CDAB" if decode[3] else None, "sentinels": [nothing] if decode[4] else None}
    if decode[1] == "bool":
        lies["bit"] = 0
    scale = part.get("scale")
    if isinstance(scale, int | float) and scale not in (0, 1) and decode[1] != "bool":
        lies["scale"] = scale
    draft.add(name, lies, means("boolean" if decode[1] == "bool" else "number", writable=writable))
