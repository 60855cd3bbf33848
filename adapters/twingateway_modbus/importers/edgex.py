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
        _add(draft, name, table, data_type or "bool", value_type, attributes, properties, resource)
    return draft


def _add(
    draft: Draft,
    name: str,
    table: str,
    data_type: str,
    value_type: str,
    attributes: Mapping[str, Any],
    properties: Mapping[str, Any],
    resource: Mapping[str, Any],
) -> None:
    of_registers = table in ("holding", "input")
    writable = "W" in str(properties.get("readWrite", "R")) and table in ("holding", "coil")
    is_flag = value_type == "bool" or not of_registers
    is_text = data_type == "string"
    order = _ORDERS[bool(attributes.get("isByteSwap")), bool(attributes.get("isWordSwap"))]
    lies = {
        "table": table,
        "address": int(attributes["startingAddress"]),
        "type": data_type if of_registers else None,
        "order": order if of_registers and not is_flag else None,
        "length": int(attributes.get("stringRegisterSize", 1)) if is_text else None,
        "bit": 0 if is_flag and of_registers else None,
        "writable": writable or None,
    }
    if not is_flag and not is_text:
        lies |= {key: _number(properties.get(key)) for key in ("scale", "offset")}
    kind = "boolean" if is_flag else "string" if is_text else "number"
    bounds = {key: _number(properties.get(key)) for key in ("minimum", "maximum")} if kind == "number" else {}
    draft.add(
        name,
        lies,
        means(
            kind,
            writable=writable,
            unit=str(properties.get("units", "")),
            description=str(resource.get("description", "")),
            **bounds,
        ),
    )


def _number(written: Any) -> int | float | None:
    if written in (None, ""):
        return None
    number = float(written)
    return int(number) if number.is_integer() else number
