"""What a device says of itself (function 43/14): objects by name, and as read-only properties of a profile. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

#: The objects that the specification names.
OBJECTS: dict[str, int] = {
    "vendor": 0,
    "product_code": 1,
    "revision": 2,
    "vendor_url": 3,
    "product_name": 4,
    "model_name": 5,
    "application_name": 6,
}
_NAMES = {number: name for name, number in OBJECTS.items()}
BASIC, REGULAR, EXTENDED = 1, 2, 3
#: The first object of each level above the basic one.
_FIRST = {REGULAR: 3, EXTENDED: 0x80}

_Named = Literal["vendor", "product_code", "revision", "vendor_url", "product_name", "model_name", "application_name"]
ObjectId = _Named | Annotated[int, Field(ge=0, le=255)]


def number_of(wanted: ObjectId) -> int:
    return OBJECTS[wanted] if isinstance(wanted, str) else wanted


def name_of(number: int) -> str:
    return _NAMES.get(number, f"object {number}")


def level_of(number: int) -> int:
    """The lowest level at which the object is told."""
    return max((level for level, first in _FIRST.items() if number >= first), default=BASIC)


def text_of(content: bytes) -> str:
    """Devices pad."""
    return content.decode("utf-8", "replace").strip("\0 \r\n")


def texts(wanted: Mapping[str, int], objects: Mapping[int, bytes]) -> dict[str, str]:
    """Property → what the device says there; without those of which it says nothing."""
    return {name: text_of(objects[number]) for name, number in wanted.items() if number in objects}
