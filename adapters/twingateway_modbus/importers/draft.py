"""A profile and its model as they are put together by an importer, and as YAML."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, field
from typing import Any

from twingateway_modbus.plan import MAX_REGISTERS

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(slots=True)
class Draft:
    """`properties` are the adapter's, `model` the model's, by name. `left_out`: what could not be taken, and why."""

    name: str
    description: str = ""
    spec: dict[str, Any] = field(default_factory=dict)
    properties: dict[str, dict[str, Any]] = field(default_factory=dict)
    model: dict[str, dict[str, Any]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def add(self, name: str, lies: dict[str, Any], means: dict[str, Any]) -> None:
        """A property, under another name if this one is taken. None values are left out."""
        if lies.get("length", 0) > MAX_REGISTERS:
            self.left_out.append(f"{name}: {lies['length']} registers; one request reads {MAX_REGISTERS}")
            return
        plain = _NOT_IN_NAMES.sub("_", name).strip("_") or "value"
        free, number = plain, 2
        while free in self.properties:
            free, number = f"{plain}_{number}", number + 1
        self.properties[free] = {key: value for key, value in lies.items() if value is not None}
        self.model[free] = {key: value for key, value in means.items() if value not in (None, "")}

    def documents(self) -> list[dict[str, Any]]:
        """The profile and its model."""
        name = _NOT_IN_NAMES.sub("-", self.name).strip("-.").lower() or "imported"
        spec = {"adapter": "modbus", "model": f"{name}@1", **self.spec, "properties": self.properties}
        model: dict[str, Any] = {"properties": self.model}
        if self.description:
            model = {"description": self.description, **model}
        head = {"apiVersion": "edge.iot.org/v1"}
        return [
            {**head, "kind": "DeviceProfile", "metadata": {"name": name}, "spec": spec},
            {**head, "kind": "DeviceModel", "metadata": {"name": name, "version": "1"}, "spec": model},
        ]

    def yaml(self) -> str:
        from ruamel.yaml import YAML

        writer = YAML()
        writer.default_flow_style = None
        writer.width = 110
        stream = io.StringIO()
        writer.dump_all(self.documents(), stream)
        return stream.getvalue()


def means(kind: str, *, writable: bool, **more: Any) -> dict[str, Any]:
    """A model's property."""
    return {"type": kind, "access": "read-write" if writable else None, **more}
