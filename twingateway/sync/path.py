"""What a link's path is like, as its sender sees it, and what follows from it.

RTT is smoothed as in RFC 9002. Loss is an exponential mean over frames in the order they were sent (quick at first,
and over more frames where losses come in bursts), burst the mean length of runs of lost ones. Redundancy: as few
copies n as make loss^n < 0.1 %, two at least until enough is known. Where one loss says nothing about the next, they
follow each other frame by frame; where losses come in bursts they are further apart, so that all are lost in 0.3 % of
cases. While busy a frame goes every 4 ms; where frames get lost and there is room to spare every 2 ms, since each
copy comes a frame later. A new link begins with what the one before it has learnt of loss, in less certainty.
"""

from __future__ import annotations

from math import log

#: Seconds between frames while busy, and where a lost one is soon to be made up for.
FLUSH, HASTE = 0.004, 0.002
#: From this share of lost frames on they are.
_HASTE_FROM = 0.01
_INITIAL_RTT = 0.2
_RTT_GAIN = 1 / 8
_LOSS_FRAMES = 128
_BURST_RUNS = 16
_ENOUGH = 0.001
_ENOUGH_IN_BURSTS = 0.003
#: Frames until loss counts as known, and how many what a former link has learnt counts for.
_KNOWN, _KNOWN_RUNS = 32, 4
MAX_COPIES = 5


class Path:
    __slots__ = (
        "_resolved",
        "_run",
        "_runs",
        "burst",
        "copies",
        "every",
        "loss",
        "resend_after",
        "rtt",
        "rtt_variation",
    )

    def __init__(self, former: Path | None = None) -> None:
        """`former`: of the link before this one."""
        self.rtt: float | None = None
        self.rtt_variation = 0.0
        self.resend_after = _resend_after(_INITIAL_RTT)
        """Seconds after which an unseen frame counts as lost."""
        self.loss: float = 0.0 if former is None else former.loss
        self.burst: float = 1.0 if former is None else former.burst
        self._resolved: int = 0 if former is None else min(former._resolved, _KNOWN)
        self._run = 0
        self._runs: int = 0 if former is None else min(former._runs, _KNOWN_RUNS)
        self.copies = self._wanted()
        self.every = FLUSH
        """Seconds between frames while busy."""

    @property
    def gap(self) -> float:
        """Seconds between copies of one register; the last goes before the register counts as lost."""
        return min(self.every * self._frames_apart(), self.resend_after / self.copies)

    def _frames_apart(self) -> int:
        """A lost frame makes the next one likelier to be lost than any, and each one after that by the same share
        less: so many frames on, little enough is left of it for all copies to be lost no more often than wanted."""
        loss, followers = min(self.loss, 0.99), self.copies - 1
        likelier = (1 - 1 / self.burst - loss) / (1 - loss)
        wanted = max(_ENOUGH_IN_BURSTS, 4 * loss**self.copies)
        if likelier <= 0 or followers < 1 or loss <= wanted:
            return 1
        enough = ((wanted / loss) ** (1 / followers) - loss) / (1 - loss)
        return max(1, round(log(enough) / log(likelier)))

    def pace(self, *, roomy: bool) -> None:
        """`roomy`: more than all there is to send could leave."""
        self.every = HASTE if roomy and self.loss >= _HASTE_FROM else FLUSH

    def sample(self, rtt: float) -> None:
        if self.rtt is None:
            self.rtt, self.rtt_variation = rtt, rtt / 2
        else:
            self.rtt_variation += (abs(self.rtt - rtt) - self.rtt_variation) / 4
            self.rtt += (rtt - self.rtt) * _RTT_GAIN
        self.resend_after = _resend_after(self.rtt)

    def resolved(self, lost: bool) -> None:
        """The next frame, in the order of sending, arrived or did not."""
        self._resolved += 1
        self.loss += (lost - self.loss) / min(self._resolved + 1, _LOSS_FRAMES * self.burst)
        if lost:
            self._run += 1
        elif self._run:
            self._runs += 1
            self.burst += (self._run - self.burst) / min(self._runs + 1, _BURST_RUNS)
            self._run = 0
        self.copies = self._wanted()

    def _wanted(self) -> int:
        copies = copies_for(self.loss)
        return copies if self._resolved >= _KNOWN else max(copies, 2)


def _resend_after(rtt: float) -> float:
    """1.25 RTT and what acknowledging may take."""
    return 1.25 * rtt + 2 * FLUSH


def copies_for(loss: float) -> int:
    """How often to send each register so that all copies are lost less than once in a thousand; at most five."""
    missing = loss
    for copies in range(1, MAX_COPIES):
        if missing < _ENOUGH:
            return copies
        missing *= loss
    return MAX_COPIES
