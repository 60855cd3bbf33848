"""What the host was told about one device, so that it is told again only what is news."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from twingateway.adapter import DevicePort, Value
from twingateway.errors import DeviceError

#: Seconds after which a problem that lasts is told again, since each report takes it off the screen.
_REPEAT = 10.0


class Standing:
    """`online` is None until anything is known. `deadbands`: by how much a number has to change to be reported."""

    def __init__(self, port: DevicePort, deadbands: Mapping[str, float]) -> None:
        self._port = port
        self._deadbands = deadbands
        self._reported: dict[str, float] = {}
        self._told: tuple[str, ...] = ()
        self._tell_again = 0.0
        self._gone = ""
        self.online: bool | None = None

    def report(self, values: Mapping[str, Value], time: int | None = None, *, whole: bool = False) -> None:
        """The host drops what did not change. `whole`: also what changed by less than its deadband."""
        if whole:
            self._reported.clear()
        news = {name: value for name, value in values.items() if self._is_news(name, value)}
        if news:
            self._port.report(news, time)
            self.online = True
        else:
            self.there()

    @property
    def complained(self) -> bool:
        """Whether the last that was told of problems is that there are some."""
        return bool(self._told)

    def there(self) -> None:
        self._port.online()
        self.online = True

    def offline(self, error: DeviceError) -> None:
        if self.online is not False or self._gone != error.message:
            self._gone = error.message
            self._port.offline(error)
        self.online = False
        self._reported.clear()
        self._told = ()

    def complain(self, problems: Sequence[DeviceError], now: float) -> None:
        """All that is wrong with a device that is there."""
        told = tuple(error.message for error in problems)
        if told and (told != self._told or now >= self._tell_again):
            self._port.problem(problems[0])
            self._tell_again = now + _REPEAT
        self._told = told

    def _is_news(self, name: str, value: Value) -> bool:
        band = self._deadbands.get(name)
        if not band or isinstance(value, bool) or not isinstance(value, int | float):
            return True
        known = self._reported.get(name)
        if known is not None and abs(value - known) < band:
            return False
        self._reported[name] = value
        return True
