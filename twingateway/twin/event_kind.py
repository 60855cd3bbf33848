"""What an event can be about: the section of a twin that changed, or a notice."""

from __future__ import annotations

from enum import StrEnum


class EventKind(StrEnum):
    """The names of events at `/events`; each section has its own. `quality` follows from others."""

    REPORTED = "reported"
    DESIRED = "desired"
    ACK = "ack"
    PRESENCE = "presence"
    TAGS = "tags"
    LIFECYCLE = "lifecycle"
    OVERRIDE = "override"
    VERDICT = "verdict"
    REACH = "reach"
    QUALITY = "quality"
    NOTICE = "notice"
