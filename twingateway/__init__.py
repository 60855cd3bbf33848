"""twingateway: device twins kept equal at edge and cloud, over MQTT 5 on QUIC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twingateway.version import __version__

if TYPE_CHECKING:
    from twingateway.config.validate import validate as validate

__all__ = ["__version__", "validate"]


def __getattr__(name: str) -> Any:
    # `import twingateway` stays cheap: the validation library is loaded when it is first asked for.
    if name == "validate":
        from twingateway.config.validate import validate

        return validate
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
