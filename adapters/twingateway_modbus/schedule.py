"""What is read together and when. Pure; times are on the event loop's clock."""

from __future__ import annotations

from dataclasses import dataclass

from twingateway_modbus.plan import Block, split


@dataclass(slots=True)
class Round:
    """The blocks read every `period` seconds. `due` moves in whole periods, so it never drifts."""

    period: float
    blocks: list[Block]
    due: float = 0.0

    def advance(self, now: float) -> None:
        """To the next multiple of the period that lies ahead; rounds that were missed are left out."""
        self.due += self.period * (int((now - self.due) // self.period) + 1)

    def split(self, block: Block) -> tuple[Block, Block]:
        """From now on `block`, which the device refused, is read as two."""
        halves = split(block)
        if block in self.blocks:
            where = self.blocks.index(block)
            self.blocks[where : where + 1] = halves
        return halves
