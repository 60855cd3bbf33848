"""What a holder is given back of what it had told before its store was replaced, as it is to take it.

It says what the device held in the history that was lost, and what was left of its registers then. A store that was
put back to an older copy may have acted, and its device have reported, since; so may a former holder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from twingateway.gateway.holding.claims import lifecycle_key
from twingateway.gateway.state.ledger import Ledger
from twingateway.gateway.state.lifecycle import tenure
from twingateway.gateway.state.overridden import verdict_of
from twingateway.gateway.state.table import TwinTable
from twingateway.twin.ack import Ack
from twingateway.twin.kept import NOTE_NAMES, Kept, slice_of
from twingateway.twin.override import MOST_BEFORE, Override
from twingateway.twin.register import ZERO, Register, Section


def handed_over(told: Register) -> Register:
    """What a holder said of its device under another grant, as it is to be taken under the next: a write may have
    been made since of which nobody who tells it had heard, so what was applied is to be asked for."""
    section, value = told.key.section, told.value
    if section is Section.ACK and value is not None:
        return replace(told, value=Ack.from_value(value).handed_over().to_value())
    override = Override.read(value) if section is Section.OVERRIDE else None
    if override is None or override.ack is None:
        return told
    return replace(told, value=override.with_ack(override.ack.handed_over()).to_value())


def is_before_tenure(said: Register, table: TwinTable) -> bool:
    """Whether it was said of a device before that came, from another node, to its present holder."""
    lifecycle = table.get(lifecycle_key(said.key.device))
    return lifecycle is not None and said.version[:2] < tenure(lifecycle.register)


def widened(told: Register, beside: Sequence[Register], table: TwinTable, ledger: Ledger) -> Register:
    """The note of what is left of a device's registers was made before this process began: what the device said
    since is there as well, and what is given back `beside` the note, as far as that is no older. Of that this store
    may have taken back some before, with numbers of its own, which say nothing beside the note's floor.

    That is a number of the store that was replaced: it may be above those that are issued here now, so that the note
    would speak of the future. All that is to be judged by it is from before this process."""
    kept = Kept.of(told) if told.key.name in NOTE_NAMES else None
    if kept is None:
        return told
    device, start = told.key.device, ledger.start
    left = [each.register.key for s in kept.names for each in table.section(device, s).values() if each.lsn > start]
    left += [r.key for r in beside if r.value is not None and not kept.is_gone(r.key, r.version)]
    told_here = [key for key in left if kept.part in (None, slice_of(key.name))]
    names = {s: listed | {key.name for key in told_here if key.section is s} for s, listed in kept.names.items()}
    floor = kept.floor._replace(seq=min(kept.floor.seq, start))
    return replace(told, value=replace(kept, floor=floor, names=names).to_value())


def outlasting(told: Register, table: TwinTable, ledger: Ledger) -> Register:
    """Numbers of two histories of a store do not say which override is the later: what was said here since it was put
    back is, than all that was lost. So instead of one that was lost its holder takes that, as said after the lost one
    and after what came of it."""
    device, section, name = told.key
    lifecycle, newest = table.get(lifecycle_key(device)), ledger.newest(told.key)
    if section is not Section.OVERRIDE or lifecycle is None or newest is None:
        return told
    lost, ours, came = Override.read(told.value), Override.read(newest.value), tenure(lifecycle.register)
    if lost is None or ours is None or min(lost.said[:2], ours.said[:2]) < came:
        return told  # of another holder, who has numbers of its own
    verdict, _ = verdict_of(table, device, name)
    known = max(lost.said, ZERO if verdict is None else verdict.said)
    if ours.said > known or not _is_since(ours, lost, came, ledger):
        return told
    return replace(told, value=replace(ours, said=ours.said._replace(epoch=known.epoch + 1)).to_value())


def _is_since(ours: Override, lost: Override, came: tuple[int, int], ledger: Ledger) -> bool:
    """Whether an override was said by this history of the store after it left the one in which the other was. Where
    that was said under a later grant it may have been another store: then what is from before this process is not."""
    numbers = ledger.numbers
    if ours.said[:2] < lost.said[:2] and ours.said.seq <= ledger.start:
        return False
    if numbers.is_issued(lost.said.seq) or not numbers.is_issued(ours.said.seq):
        return False
    before = [version.seq for version in lost.after if version[:2] >= came]
    common = [number for number in before if numbers.is_issued(number)]
    left_at = max(common, default=0)
    if not common and len(before) == MOST_BEFORE:
        left_at = numbers.left_at([lost.said.seq, *before])
    return ours.said.seq > left_at
