"""What a device posts to its webhook: read, and refused with a reason when it cannot be."""

from __future__ import annotations

from collections.abc import Mapping

from twingateway.adapter import WebhookRequest
from twingateway.errors import DeviceReplyInvalid, MalformedText
from twingateway_http.document import parse_json
from twingateway_http.reading import Reading, Shape, pushed
from twingateway_http.settings import PropertySettings, WebhookSettings


class Inbox:
    """Reads the posts of one device."""

    def __init__(self, settings: WebhookSettings, properties: Mapping[str, PropertySettings]) -> None:
        points = tuple(pushed(name, each) for name, each in properties.items() if each.push is not None)
        self._shape = Shape(points, settings.time)

    def read(self, request: WebhookRequest) -> Reading:
        """Raises MalformedText when nothing in it can be used."""
        try:
            reading = self._shape.read(parse_json(request.body))
        except DeviceReplyInvalid as error:
            raise MalformedText(f"the body is {error.message}") from None
        if not reading.values:
            wrong = next(iter(reading.faults.values()), None)
            raise MalformedText(wrong.message if wrong else "the body holds nothing of this device")
        return reading
