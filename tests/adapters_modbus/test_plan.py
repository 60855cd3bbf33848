"""The read plan's promises: everything read once, nothing split, no request above the limits."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twingateway_modbus.codec import Codec
from twingateway_modbus.layout import DataType
from twingateway_modbus.plan import MAX_BITS, MAX_GAP, MAX_REGISTERS, Block, Limits, Range, hole_between, plan, split
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
def test_splitting_goes_on_down_to_what_cannot_be_divided_and_loses_none(points: list[Point]) -> None:
    for block in plan(points)[points[0].period]:
        todo, singles = [block], []
        while todo:
            part = todo.pop()
            if not part.is_divisible:
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


def test_a_value_is_never_divided_not_even_by_one_that_lies_inside_it() -> None:
    (block,) = plan([point("long", 0, 10), point("inside", 3), point("next", 10)])[1.0]
    first, second = split(block)
    assert names((first, second)) == ["longinside", "next"]
    assert not first.is_divisible


ranges = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 4)).map(lambda drawn: Range(drawn[0], sum(drawn))), max_size=3
)


@st.composite
def small_cases(draw: st.DrawFn) -> tuple[list[Point], Limits]:
    """A few values in forty registers, and limits that allow each of them by itself."""
    limits = Limits(
        max_gap=draw(st.integers(0, 6)),
        max_registers=draw(st.integers(4, 12)),
        forbidden={Table.HOLDING: tuple(draw(ranges))},
        holes={Table.HOLDING: tuple(draw(ranges))},
        readable={Table.HOLDING: (Range(0, draw(st.integers(10, 30))), Range(12, 50))} if draw(st.booleans()) else {},
    )
    places = draw(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 4)), min_size=1, max_size=7))
    drawn = [point(str(number), *place) for number, place in enumerate(places)]
    return [p for p in drawn if limits.allows(Table.HOLDING, p.address, p.end)], limits


def is_one_request(points: tuple[Point, ...], limits: Limits) -> bool:
    """Said anew, without the planner's own helpers: one read of these, by the rules of the settings."""
    start, end = min(p.address for p in points), max(p.end for p in points)
    asked = {address for p in points for address in range(p.address, p.end)}
    unasked = [address for address in range(start, end) if address not in asked]
    run = longest = 0
    for address in range(start, end):
        run = 0 if address in asked else run + 1
        longest = max(longest, run)
    readable = limits.readable.get(Table.HOLDING)
    return (
        end - start <= limits.max_registers
        and longest <= limits.max_gap
        and (readable is None or any(each.start <= start and end <= each.end for each in readable))
        and not any(
            each.start <= address < each.end for each in limits.forbidden[Table.HOLDING] for address in unasked
        )
        and not any(crosses(points, hole) for hole in limits.holes[Table.HOLDING])
    )


def crosses(points: tuple[Point, ...], hole: Range) -> bool:
    """Whether what is read runs across the hole, with values on both sides and none over an edge of it."""
    over = any(p.address < hole.end and p.end > hole.start for p in points if hole.start < hole.end)
    over = over or any(p.address < hole.start < p.end for p in points)
    return not over and any(p.end <= hole.start for p in points) and any(p.address >= hole.end for p in points)


def fewest(points: list[Point], limits: Limits) -> int:
    """By trying every way to share the points out."""
    best = len(points)

    def share(rest: list[Point], groups: list[tuple[Point, ...]]) -> None:
        nonlocal best
        if len(groups) >= best and rest:
            return
        if not rest:
            if all(is_one_request(group, limits) for group in groups):
                best = min(best, len(groups))
            return
        for index, group in enumerate(groups):
            share(rest[1:], [*groups[:index], (*group, rest[0]), *groups[index + 1 :]])
        share(rest[1:], [*groups, (rest[0],)])

    share(points, [])
    return best


@settings(max_examples=150, deadline=None)
@given(case=small_cases())
def test_no_limit_is_broken_and_no_plan_has_fewer_requests(case: tuple[list[Point], Limits]) -> None:
    points, limits = case
    blocks = plan(points, limits).get(1.0, ())

    assert sorted(p.name for block in blocks for p in block.points) == sorted(p.name for p in points)
    assert all(is_one_request(block.points, limits) for block in blocks)
    assert len(blocks) == fewest(points, limits)


def test_what_is_forbidden_or_not_readable_is_never_bridged() -> None:
    points = [point("a", 0), point("b", 2), point("c", 5)]
    forbidden = Limits(forbidden={Table.HOLDING: (Range(3, 4),)})
    readable = Limits(readable={Table.HOLDING: (Range(0, 2), Range(2, 9))})
    assert names(plan(points, forbidden)[1.0]) == ["ab", "c"]
    assert names(plan(points, readable)[1.0]) == ["a", "bc"]


def test_a_value_that_spoils_a_block_is_read_alone() -> None:
    limits = Limits(alone={Table.HOLDING: frozenset({Range(5, 6)})})
    blocks = plan([point("a", 4), point("bad", 5), point("c", 6)], limits)[1.0]
    assert names(blocks) == ["ac", "bad"]


def test_the_reason_for_a_refusal_lies_between_the_halves() -> None:
    (block,) = plan([point("a", 0), point("b", 9)])[1.0]
    hole = hole_between(*split(block))
    assert hole == Range(1, 9)
    assert names(plan([point("a", 0), point("b", 9)], Limits(holes={Table.HOLDING: (hole,)}))[1.0]) == ["a", "b"]
