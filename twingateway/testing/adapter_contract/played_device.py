"""A device that a test plays: what the contract's tests need of it, and what they can do without."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twingateway.adapter import Value


class PlayedDevice:
    """Derive from it and override what your stand-in for a device can do: a test that needs more is skipped, and says
    what. Changes hold until the next one, trouble until `recover`.

    `spec`: of the document that leads a driver to it, without `adapter` and `model`. Short time-outs and periods make
    the tests quick.
    `shows`: two values, by property, that it can have; at the start it has the first.
    `takes`: two values, by writable property, that can be written to it, neither of which it has at the start.
    """

    #: Seconds after which a device that is gone has to be shown as such, at the latest.
    notices: float = 10.0
    #: Seconds after which a device that is back has to be heard, at the latest; the host itself may wait for some.
    returns: float = 60.0
    #: Whether it can be asked for its values; False for one that only speaks by itself.
    answers: bool = True
    #: How often it was asked anything, or dialled, if it counts that; connections are counted anyway.
    attempts: int = 0

    def __init__(
        self,
        spec: Mapping[str, Any],
        shows: Mapping[str, tuple[Value, Value]],
        takes: Mapping[str, tuple[Value, Value]] | None = None,
    ) -> None:
        self.spec = spec
        self.shows = shows
        self.takes = dict(takes or {})

    async def show(self, name: str, value: Value) -> None:
        """Have this value from now on, and say so if it speaks by itself."""
        raise NotImplementedError

    async def held(self, name: str) -> Value:
        """What it holds now, as the twin would have it, without asking the driver."""
        raise NotImplementedError

    async def cut(self) -> None:
        """End its connections and accept none, as if its cable was pulled; have its last will published."""
        raise NotImplementedError

    async def fall_silent(self) -> None:
        """Stay connected, and neither answer nor say anything."""
        raise NotImplementedError

    async def dawdle(self) -> None:
        """Answer everything, but later than the driver waits for it."""
        raise NotImplementedError

    async def talk_nonsense(self) -> None:
        """Answer, or say, what its protocol does not allow."""
        raise NotImplementedError

    async def spoil(self, name: str) -> None:
        """Have this property unreadable, and the others well."""
        raise NotImplementedError

    async def refuse(self, name: str) -> None:
        """Say no to all writes of this property."""
        raise NotImplementedError

    async def ignore(self, name: str) -> None:
        """Take writes of this property as if they were good, and keep what it has."""
        raise NotImplementedError

    async def date(self, time: int) -> None:
        """Say from now on that its clock stands at `time` (Unix milliseconds), if it tells the time of its values."""
        raise NotImplementedError

    async def recover(self) -> None:
        """End all trouble: it is there, and does as it should."""
        raise NotImplementedError

    def lacks(self, needs: tuple[str, ...]) -> str:
        """What a test cannot go without and this device does not offer, for a person; empty if nothing is missing."""
        for need in needs:
            method = getattr(PlayedDevice, need, None)
            if callable(method) and getattr(type(self), need) is method:
                words = " ".join(str(method.__doc__).split())
                return f"offer `async def {need}` in your {type(self).__name__} to have this tried: {words}"
            if need == "answers" and not self.answers:
                return f"your {type(self).__name__} only speaks by itself: nothing can be asked of it"
            if need == "takes" and not self.takes:
                return f"give your {type(self).__name__} `takes` to have this tried: two values by writable property"
        return ""
