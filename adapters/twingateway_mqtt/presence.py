"""Whether a device is there: what its presence topic last said, and when it was last heard.

Pure; times are seconds of one monotonic clock.
"""

from __future__ import annotations

from twingateway.errors import DeviceError, DeviceReplyInvalid, DeviceTimeout, DeviceUnreachable
from twingateway_mqtt.payload import decode
from twingateway_mqtt.point import matches_text, picker
from twingateway_mqtt.settings import PresenceSettings


class Presence:
    """`gone` is the reason why the device is offline, None while it is not known to be."""

    def __init__(self, settings: PresenceSettings | None, now: float) -> None:
        self.gone: DeviceError | None = None
        self._settings = settings
        self._pick = picker(settings.pick if settings is not None else None)
        self._heard = now

    def heard(self, now: float) -> None:
        """The device itself spoke, just now."""
        self._heard = now
        self.gone = None

    def told(self, payload: bytes, retained: bool, now: float) -> None:
        """A message on the presence topic; raises DeviceReplyInvalid for one that says neither."""
        settings = self._settings
        assert settings is not None, "there is a presence topic"
        said = self._pick(decode(payload, settings.payload))
        if matches_text(said, settings.online):
            if not retained:
                self._heard = now
            self.gone = None
        elif matches_text(said, settings.offline):
            self.gone = DeviceUnreachable("the device is not connected to the broker")
        else:
            raise DeviceReplyInvalid(f"presence is neither {settings.online!r} nor {settings.offline!r}")

    def deadline(self) -> float | None:
        """When silence will mean that the device is gone; None when it never will, or is gone already."""
        if self._settings is None or self._settings.silence is None or self.gone is not None:
            return None
        return self._heard + self._settings.silence

    def poll(self, now: float) -> None:
        deadline = self.deadline()
        if deadline is not None and now >= deadline and self._settings is not None:
            self.gone = DeviceTimeout(f"nothing was heard from the device for {self._settings.silence:g} s")
