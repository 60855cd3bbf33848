"""What the parent speaks: what the node file says, or what was found out when it first answered.

It decides who is the root. Below another node this node is not; before a broker it is its own root. So `auto` decides
once, before any other node has been known as root here, and what it found is kept beside the store until the uplink's
addresses change.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import structlog

from twingateway.config.node import NodeConfig, UplinkSection

log = structlog.get_logger("uplink")


class ParentProtocol:
    """`is_broker`: the parent is an MQTT broker, not a node of ours."""

    def __init__(self, config: NodeConfig) -> None:
        self._section = config.uplink
        self._file = config.node.data_dir / f"{config.node.name}.parent.json"
        self.is_broker = self._section is not None and (
            self._section.protocol == "mqtt"
            or (self._section.protocol == "auto" and _read(self._file) == _found(self._section))
        )

    @property
    def may_change(self) -> bool:
        """It is still to be found out."""
        return self._section is not None and self._section.protocol == "auto" and not self.is_broker

    def keep_broker(self) -> None:
        """The parent turned out to be a broker."""
        assert self._section is not None
        self.is_broker = True
        self._file.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._file.write_text(json.dumps(_found(self._section)), encoding="utf-8")
        except OSError as error:
            log.warning("what the parent speaks is not kept, and found out again next time", reason=str(error))


def _found(section: UplinkSection) -> dict[str, Any]:
    return {"protocol": "mqtt", "urls": [str(url) for url in section.parents]}


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
