"""The outbox: the newest version per register, and the lowest lsn among them."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sync.world import key, register
from twingateway.sync.outbox import Outbox
from twingateway.twin.register import StoredRegister


def stored(name, seq, lsn):
    return StoredRegister(register(seq, seq, key(name)), lsn)


@settings(max_examples=200)
@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans()), max_size=60))
def test_low_is_just_below_the_lowest_lsn(steps):
    outbox, model, last = Outbox(), {}, 0
    for name, leaves in steps:
        if leaves and name in model:
            outbox.clear(model.pop(name)[1])
        elif not leaves:
            last += 1
            model[name] = (last, outbox.put(stored(name, last, last), False))
        assert len(outbox) == len(model)
        assert outbox.low(last) == min((lsn - 1 for lsn, _ in model.values()), default=last)
        oldest = min(model.values(), default=None, key=lambda pair: pair[0])
        assert outbox.oldest_time() == (oldest[1].register.time if oldest else None)


def test_what_is_newer_replaces_and_what_is_not_does_not():
    outbox = Outbox()
    entry = outbox.put(stored("a", 5, 1), False)
    assert outbox.put(stored("a", 5, 2), False) is None
    assert outbox.put(stored("a", 4, 3), False) is None
    assert outbox.put(stored("a", 6, 4), True) is entry
    assert (entry.register.value, entry.lsn, entry.urgent) == (6, 4, True)


def test_a_long_outage_needs_no_more_than_the_registers():
    outbox = Outbox()
    outbox.put(stored("still", 1, 1), False)
    for seq in range(2, 5000):
        outbox.put(stored("busy", seq, seq), False)
    assert len(outbox) == 2
    assert len(outbox._ascending) + len(outbox._others) < 100
    assert outbox.low(5000) == 0


def test_newest_lists_what_was_put_last_first():
    outbox = Outbox()
    for number in range(40):
        outbox.put(stored(f"d{number}", number, number + 1), False)
    outbox.put(stored("d3", 100, 100), False)
    names = [entry.register.key.device.name for entry in outbox.newest(4)]
    assert names == ["d3", "d39", "d38", "d37"]
    assert len(list(outbox.newest(30))) == 30
