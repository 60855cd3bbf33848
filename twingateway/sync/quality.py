"""How good a link is, as those are told who ask."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Quality:
    """A link as its sender sees it. Seconds and shares; `rtt` is None until measured.

    `burst`: mean run of lost frames. `copies`: how often each register is sent. `redundancy`: registers sent, all
    copies and resends counted, for each that was new. `in_flight`: frames neither seen nor given up.
    """

    rtt: float | None
    rtt_variation: float
    loss: float
    burst: float
    copies: int
    frames_sent: int
    frames_received: int
    redundancy: float
    in_flight: int
    silent: bool
