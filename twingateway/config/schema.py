"""JSON Schemas of node and device files, made from the models that check them.

`python -m twingateway.config.schema` writes them to the package `twingateway_schemas`; a test proves they are up to
date. The adapters of this distribution are described in full, others are left open. A schema describes a file after
`${NAME}` was expanded.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from twingateway.adapter.kind import AdapterKind
from twingateway.config.device import DeviceDocument
from twingateway.config.node import NodeConfig
from twingateway.plugins.registry import AdapterRegistry

DISTRIBUTION = "twingateway"

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_BASE = "https://edge.iot.org/schemas/v1"


def shipped_kinds() -> list[AdapterKind]:
    """The adapter kinds of this distribution, by name."""
    registry = AdapterRegistry.installed()
    return [registry.get(name) for name, package in registry.packages().items() if package == DISTRIBUTION]


def node_schema(kinds: list[AdapterKind]) -> dict[str, Any]:
    """The schema of node.yaml; settings of adapters that are not among `kinds` may be anything."""
    schema = NodeConfig.model_json_schema()
    definitions = schema.setdefault("$defs", {})
    adapters = {kind.name: _nullable(_embed(kind.settings, kind.name, definitions)) for kind in kinds}
    schema["properties"]["adapters"]["properties"] = adapters
    for name, section in schema["properties"].items():
        # A section written without content is present with its defaults.
        if name != "node" and "anyOf" not in section:
            schema["properties"][name] = _nullable(section)
    return _titled("node", schema)


def device_schema(kinds: list[AdapterKind]) -> dict[str, Any]:
    """The schema of a Device document; `spec` is described in full for devices of `kinds`."""
    schema = DeviceDocument.model_json_schema()
    definitions = schema["$defs"]
    spec = definitions["DeviceSpec"]
    # With a profile everything else may come from there.
    spec["anyOf"] = [{"required": spec.pop("required")}, {"required": ["profile"]}]
    spec["allOf"] = [_branch(kind, definitions, spec["properties"]) for kind in kinds]
    return _titled("device", schema)


def _branch(kind: AdapterKind, definitions: dict[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    part = _embed(kind.device, kind.name, definitions)
    settings = definitions[part["$ref"].rsplit("/", 1)[-1]]
    # The adapter's model forbids what it does not know; adapter and model stand beside its keys.
    settings["properties"] = {**dict.fromkeys(own, True), **settings.get("properties", {})}
    return {"if": {"properties": {"adapter": {"const": kind.name}}, "required": ["adapter"]}, "then": part}


def _embed(model: type[BaseModel], adapter: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """Put the model's schema among `definitions`, under names that begin with the adapter's; a reference to it."""
    schema = model.model_json_schema(ref_template=f"#/$defs/{adapter}.{{model}}")
    inner = schema.pop("$defs", {})
    definitions.update({f"{adapter}.{name}": part for name, part in inner.items()})
    name = f"{adapter}.{model.__name__}"
    if "$ref" not in schema:
        definitions[name] = schema
    return {"$ref": f"#/$defs/{name}"}


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


def _titled(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"$schema": _DIALECT, "$id": f"{_BASE}/{name}.json", **schema}


def render(schema: Mapping[str, Any]) -> str:
    """The text of a schema file."""
    return json.dumps(schema, indent=2, ensure_ascii=False, default=str) + "\n"


def schemas() -> dict[str, str]:
    """File name → text, for every schema that is made here."""
    kinds = shipped_kinds()
    return {"node.json": render(node_schema(kinds)), "device.json": render(device_schema(kinds))}


def main() -> None:
    """Write the schema files into the installed (editable) package `twingateway_schemas`."""
    folder = Path(str(files("twingateway_schemas")))
    for name, text in schemas().items():
        (folder / name).write_text(text, encoding="utf-8")
        sys.stdout.write(f"{folder / name}\n")


if __name__ == "__main__":
    main()
