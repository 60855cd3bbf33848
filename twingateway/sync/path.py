"""What a link's path is like, as its sender sees it, and what follows from it.

RTT is smoothed as in RFC 9002. Loss is an exponential mean over frames in the order they were sent (quick at first,
and over more frames where losses come in bursts), burst the mean length of runs of lost ones. Redundancy: as few
copies n as make loss^n < 0.1 %, spaced so that together they outlast a burst twice as long as usual; two at
least until enough is known. A new link begins with what the one before it has learnt of loss, in less certainty.
"""

from __future__ import annotations

from math import ceil

#: Seconds between frames while busy.
FLUSH = 0.004
_INITIAL_RTT = 0.2
_RTT_GAIN = 1 / 8
_LOSS_FRAMES = 128
_BURST_GAIN = 1 / 8
_ENOUGH = 0.001
#: Frames until loss counts as known, and how many what a former link has learnt counts for.
_KNOWN = 32
MAX_COPIES = 5


class Path:
    __slots__ = ("_resolved", "_run", "burst", "copies", "loss", "rtt", "rtt_variation")

    def __init__(self, former: Path | None = None) -> None:
        """`former`: of the link before this one."""
        self.rtt: float | None = None
        self.rtt_variation = 0.0
        self.loss: float = 0.0 if former is None else former.loss
        self.burst: float = 1.0 if former is None else former.burst
        self._resolved: int = 0 if former is None else min(former._resolved, _KNOWN)
        self._run = 0
        self.copies = self._wanted()

    @property
    def resend_after(self) -> float:
        """Seconds after which an unseen frame counts as lost: 1.25 RTT and what acknowledging may take."""
        return 1.25 * (_INITIAL_RTT if self.rtt is None else self.rtt) + 2 * FLUSH

    @property
    def gap(self) -> float:
        """Seconds between copies of one register."""
        return FLUSH * ceil((2 * self.burst - 1) / max(1, self.copies - 1))

    def sample(self, rtt: float) -> None:
        if self.rtt is None:
            self.rtt, self.rtt_variation = rtt, rtt / 2
            return
        self.rtt_variation += (abs(self.rtt - rtt) - self.rtt_variation) / 4
        self.rtt += (rtt - self.rtt) * _RTT_GAIN

    def resolved(self, lost: bool) -> None:
        """The next frame, in the order of sending, arrived or did not."""
        self._resolved += 1
        self.loss += (lost - self.loss) / min(self._resolved + 1, _LOSS_FRAMES * self.burst)
        if lost:
            self._run += 1
        elif self._run:
            self.burst += (self._run - self.burst) * _BURST_GAIN
            self._run = 0
        self.copies = self._wanted()

    def _wanted(self) -> int:
        copies = copies_for(self.loss)
        return copies if self._resolved >= _KNOWN else max(copies, 2)


def copies_for(loss: float) -> int:
    """How often to send each register so that all copies are lost less than once in a thousand; at most five."""
    missing = loss
    for copies in range(1, MAX_COPIES):
        if missing < _ENOUGH:
            return copies
        missing *= loss
    return MAX_COPIES
