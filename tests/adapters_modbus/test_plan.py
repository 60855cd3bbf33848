"""The read plan's promises: everything read once, nothing split, no request above the limits."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twingateway_modbus.codec import Codec, DataType
from twingateway_modbus.plan import MAX_BITS, MAX_GAP, MAX_REGISTERS, Block, plan, split
from twingateway_modbus.point import Point, Table

BOOL = Codec(DataType.BOOL)


def point(name: str, address: int, registers: int = 1, table: Table = Table.HOLDING, period: float = 1.0) -> Point:
    codec = BOOL if table.of_bits else Codec(DataType.STRING, length=registers)
    return Point(name, table, address, codec, period)


points = st.lists(
    st.builds(
        lambda address, registers, table, period: point("", address, registers, table, period),
        address=st.one_of(st.integers(0, 400), st.integers(0, 65_000)),
        registers=st.integers(1, 125),
        table=st.sampled_from(Table),
        period=st.sampled_from([0.5, 1.0]),
    ),
    min_size=1,
    max_size=40,
).map(lambda drawn: [point(str(i), p.address, p.codec.length or 1, p.table, p.period) for i, p in enumerate(drawn)])


def check(blocks: list[Block]) -> None:
    for block in blocks:
        limit = MAX_BITS if block.table.of_bits else MAX_REGISTERS
        assert 1 <= block.count <= limit
        assert {p.table for p in block.points} == {block.table}
        assert all(block.address <= p.address and p.end <= block.address + block.count for p in block.points)
        assert block.address == min(p.address for p in block.points)
        assert block.address + block.count == max(p.end for p in block.points)


@settings(max_examples=200)
@given(points=points)
def test_every_point_lies_whole_in_exactly_one_block_of_its_table_and_period(points: list[Point]) -> None:
    planned = plan(points)

    check([block for blocks in planned.values() for block in blocks])
    for period, blocks in planned.items():
        read = sorted(p.name for block in blocks for p in block.points)
        assert read == sorted(p.name for p in points if p.period == period)


@settings(max_examples=200)
@given(points=points)
def test_splitting_goes_on_down_to_single_points_and_loses_none(points: list[Point]) -> None:
    for block in plan(points)[points[0].period]:
        todo, singles = [block], []
        while todo:
            part = todo.pop()
            if len(part.points) == 1:
                singles.append(part)
            else:
                halves = split(part)
                check(list(halves))
                todo += halves
        assert sorted(p.name for s in singles for p in s.points) == sorted(p.name for p in block.points)


def names(blocks: tuple[Block, ...]) -> list[str]:
    return ["".join(p.name for p in block.points) for block in blocks]


def test_neighbours_are_joined_across_a_gap_up_to_the_limit() -> None:
    joined = plan([point("a", 0), point("b", 1 + MAX_GAP)])[1.0]
    apart = plan([point("a", 0), point("b", 2 + MAX_GAP)])[1.0]

    assert names(joined) == ["ab"]
    assert names(apart) == ["a", "b"]


def test_bits_of_one_register_need_one_request() -> None:
    assert names(plan([point("a", 5), point("b", 5), point("c", 5)])[1.0]) == ["abc"]


def test_a_full_run_of_registers_takes_as_few_requests_as_can_be() -> None:
    blocks = plan([point(f"{i:03}", 2 * i, 2) for i in range(125)])[1.0]
    assert [block.count for block in blocks] == [124, 124, 2]


def test_a_refused_block_is_split_at_its_widest_gap() -> None:
    (block,) = plan([point("a", 0), point("b", 1), point("c", 9), point("d", 12)])[1.0]
    assert names(split(block)) == ["ab", "cd"]
