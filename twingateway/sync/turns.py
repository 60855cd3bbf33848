"""Who may use the next packet of a link that is too small: alarms of the journal go before routine reports.

An alarm's bytes wait in a stream, routine reports are made when there is room; on a full link that would be never for
the stream. So while alarms wait no routine report is made, but for every fourth packet: alarms without end must not
silence a device that has something else to say. What is urgent (desired values, their acknowledgements) never waits.
"""

from __future__ import annotations

#: Of so many packets that could carry routine reports while alarms wait, one does.
SHARE = 4


class Turns:
    def __init__(self) -> None:
        self._held_back = 0

    def routine(self, *, alarms_wait: bool) -> bool:
        """Whether the next packet may carry routine reports; asked once for each."""
        self._held_back = (self._held_back + 1) % SHARE if alarms_wait else 0
        return self._held_back == 0
