"""What ends a demo early."""

from __future__ import annotations


class DemoFailed(Exception):
    """The demo cannot go on; the message says why, for a person."""
