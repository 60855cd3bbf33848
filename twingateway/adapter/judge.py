"""What a model lets be, for tools of adapters that run a driver without a node."""

from __future__ import annotations

from twingateway.twin.model import Model
from twingateway.twin.value import Value


class Judge:
    """One model's say on values, as a node would have it. Both raise InvalidValue or TooLarge."""

    def __init__(self, model: Model) -> None:
        from twingateway.validation.model import CompiledModel, Direction

        self._compiled = CompiledModel(model)
        self._in, self._down = Direction.IN, Direction.DOWN

    def reported(self, name: str, value: Value) -> Value:
        """What the twin would have of a value read from the device."""
        return self._compiled.check(name, value, direction=self._in)

    def desired(self, name: str, value: Value) -> Value:
        """What the driver would be asked to write."""
        return self._compiled.check(name, value, direction=self._down)
