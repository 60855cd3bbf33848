"""An EdgeX device profile (YAML) for its Modbus service → profile. Addresses there are zero-based, as here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twingateway.errors import InvalidConfig
from twingateway_modbus.importers.draft import Draft, means

_TABLES = {
    "HOLDING_REGISTERS": "holding",
    "INPUT_REGISTERS": "input",
    "COILS": "coil",
    "DISCRETES_INPUT": "discrete",
    "DISCRETE_INPUTS": "discrete",
}
_TYPES = {
    "int16": "int16",
    "uint16": "uint16",
    "int32": "int32",
    "uint32": "uint32",
    "int64": "int64",
    "uint64": "uint64",
    "float32": "float32",
    "float64": "float64",
    "string": "string",
    "bool": "uint16",
}
#: Bytes swapped in each register, registers swapped.
_ORDERS = {(False, False): None, (True, False): "BADC", (False, True): "CDAB", (True, True): "DCBA"}


def import_edgex(document: Mapping[str, Any]) -> Draft:
    """Raises InvalidConfig."""
    resources = document.get("deviceResources")
    if not isinstance(resources, list):
        raise InvalidConfig("not an EdgeX device profile: it has no deviceResources")
    draft = Draft(str(document.get("name", "edgex")), str(document.get("description", "")))
    mappings = _mappings(document)
    for resource in resources:
        name = str(resource.get("name", ""))
        attributes, properties = resource.get("attributes") or {}, resource.get("properties") or {}
        table = _TABLES.get(str(attributes.get("primaryTable", "")).upper())
        if table is None:
            draft.left_out.append(f"{name}: no Modbus table")
            continue
        value_type = str(properties.get("valueType", "")).lower()
        data_type = _TYPES.get(str(attributes.get("rawType") or value_type).lower())
        if data_type is None and table in ("holding", "input"):
            draft.left_out.append(f"{name}: type {value_type}")
            continue
        if _bits(properties) == ():
            draft.left_out.append(f"{name}: mask {properties.get('mask')}, shift {properties.get('shift')}")
            continue
        lies, kind = _lies(table, data_type or "bool", value_type, attributes, properties)
        names = mappings.get(name) if kind == "integer" else None
        more: dict[str, Any] = {}
        if names:
            lies["enum"], kind, more = names, "enum", {"values": list(names.values())}
        elif kind in ("number", "integer"):
            more = {key: _number(properties.get(key)) for key in ("minimum", "maximum")}
        unit, text = str(properties.get("units", "")), str(resource.get("description", ""))
        draft.add(name, lies, means(kind, writable="writable" in lies, unit=unit, description=text, **more))
    return draft


def _mappings(document: Mapping[str, Any]) -> dict[str, dict[int, str]]:
    """Resource → names of its contents, which EdgeX keeps in the operations of commands."""
    found: dict[str, dict[int, str]] = {}
    for command in document.get("deviceCommands") or ():
        for operation in command.get("resourceOperations") or ():
            named = operation.get("mappings") or {}
            if (
                named
                and all(str(content).isdecimal() for content in named)
                and len(set(named.values())) == len(named)
            ):
                found.setdefault(
                    str(operation.get("deviceResource")), {int(key): str(each) for key, each in named.items()}
                )
    return found


def _lies(
    table: str,
    data_type: str,
    value_type: str,
    attributes: Mapping[str, Any],
    properties: Mapping[str, Any],
) -> tuple[dict[str, Any], str]:
    """Where and how it lies, and its type in the model."""
    of_registers = table in ("holding", "input")
    is_flag = value_type == "bool" or not of_registers
    is_text = data_type == "string"
    address, bit = _address(attributes["startingAddress"])
    order = _ORDERS[bool(attributes.get("isByteSwap")), bool(attributes.get("isWordSwap"))]
    lies: dict[str, Any] = {"table": table, "address": address}
    if of_registers:
        lies["type"] = data_type
    if is_flag:
        lies |= {"bit": bit} if of_registers else {}
    else:
        lies |= {"order": order} if order else {}
        lies |= {"bits": list(bits)} if (bits := _bits(properties)) else {}
        lies |= {"length": int(attributes.get("stringRegisterSize", 1))} if is_text else _scaled(properties)
    if "W" in str(properties.get("readWrite", "R")) and table in ("holding", "coil"):
        lies["writable"] = True
    if is_flag or is_text:
        return lies, "boolean" if is_flag else "string"
    is_whole = "int" in value_type and all(isinstance(value, int) for value in _scaled(properties).values())
    return lies, "integer" if is_whole else "number"


def _address(written: Any) -> tuple[int, int]:
    """Register and bit. EdgeX writes both as one decimal: the text 10.1 is bit 1, the number 10.1 is bit 10."""
    text = f"{written:.2f}" if isinstance(written, float) else str(written)
    register, _, bit = text.partition(".")
    return int(register), int(bit or 0)


def _bits(properties: Mapping[str, Any]) -> tuple[int, ...] | None:
    """First and last bit by mask and shift (negative: to the right); None without, empty if they are no range."""
    mask, shift = (int(properties.get(key) or 0) for key in ("mask", "shift"))
    if not mask and not shift:
        return None
    low = (mask & -mask).bit_length() - 1
    is_range = mask > 0 and mask >> low == (1 << mask.bit_count()) - 1 and shift == -low
    return (low, mask.bit_length() - 1) if is_range else ()


def _scaled(properties: Mapping[str, Any]) -> dict[str, Any]:
    given = {key: _number(properties.get(key)) for key in ("scale", "offset")}
    return {key: value for key, value in given.items() if value not in (None, {"scale": 1, "offset": 0}[key])}


def _number(written: Any) -> int | float | None:
    if written in (None, ""):
        return None
    number = float(written)
    return int(number) if number.is_integer() else number
