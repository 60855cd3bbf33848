"""Judging overrides, and following them: in whatever order registers arrive, nothing flaps and both ends agree."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

import pytest

from twingateway.twin.conflict import (
    Judgement,
    Outcome,
    Source,
    Verdict,
    decide,
    followed,
    is_open,
    is_settled,
    judge,
)
from twingateway.twin.desired import Desired, Origin, Priority, Terms, origin_of, plain, terms_of
from twingateway.twin.identity import DeviceId
from twingateway.twin.model import ConflictPolicy
from twingateway.twin.override import Override, OverrideId
from twingateway.twin.register import ZERO, Register, RegisterKey, Section, Version
from twingateway.twin.value import Value

KEY = RegisterKey(DeviceId("default", "pump"), Section.DESIRED, "speed")
CLOUD, EDGE, MANUAL = ConflictPolicy.CLOUD_WINS, ConflictPolicy.EDGE_WINS, ConflictPolicy.MANUAL


def desired(seq: int, value: Value, override: str = "") -> Register:
    held = None if value is None else Desired(value, origin=Origin("carol", override)).to_value()
    return Register(KEY, Version(1, 1, seq), held, 0)


def override(
    value: Value = 99, base: int = 1, number: int = 1, line: str = "a", withdrawn: str | None = None, said: int = 0
) -> Override:
    version, at = (Version(1, 1, seq) if seq else ZERO for seq in (base, said))
    return Override(OverrideId(line, number), value, "olaf", "edge", version, 0, withdrawn=withdrawn, said=at)


def verdict(
    outcome: Outcome, number: int = 1, line: str = "a", by: str = "", before: Value = None, said: int = 0
) -> Verdict:
    at = Version(1, 1, said) if said else ZERO
    return Verdict(OverrideId(line, number), outcome, 0, by, before, said=at)


def outcome_of(*about: object) -> tuple[Outcome, bool, bool] | None:
    found = judge(*about)  # type: ignore[arg-type]
    return None if found is None else (found.outcome, found.conflict, found.changes)


#: The version of the verdict's register: whatever is desired came later.
JUDGED = Version(1, 1, 1)
ACCEPTED, LOST = (Outcome.ACCEPTED, False, True), (Outcome.LOST, True, False)
PREVAILED, OPENED = (Outcome.ACCEPTED, True, True), (Outcome.OPEN, True, False)


@pytest.mark.parametrize("policy", list(ConflictPolicy))
def test_nobody_else_changed_it(policy: ConflictPolicy) -> None:
    assert outcome_of(override(), desired(1, 10), None, JUDGED, policy) == ACCEPTED
    assert outcome_of(override(base=0), None, None, JUDGED, policy) == ACCEPTED
    assert outcome_of(override(base=0), desired(1, None), None, JUDGED, policy) == ACCEPTED
    assert outcome_of(override(), desired(2, 99), None, JUDGED, policy) == ACCEPTED, "both wanted the same"
    assert outcome_of(override(), desired(2, 99.0), None, JUDGED, policy) == ACCEPTED, "as JSON has it"


@pytest.mark.parametrize(("policy", "expected"), [(CLOUD, LOST), (EDGE, PREVAILED), (MANUAL, OPENED)])
def test_somebody_did(policy: ConflictPolicy, expected: object) -> None:
    assert outcome_of(override(), desired(2, 50), None, JUDGED, policy) == expected
    assert outcome_of(override(), desired(2, None), None, JUDGED, policy) == expected, "it was removed"
    assert outcome_of(override(), None, None, JUDGED, policy) == expected, (
        "it was removed, and the tombstone collected"
    )
    assert outcome_of(override(), desired(2, 50, "b.7"), None, JUDGED, policy) == expected, (
        "by another line's override"
    )


@pytest.mark.parametrize("policy", list(ConflictPolicy))
def test_a_root_that_was_put_back_said_the_same_again(policy: ConflictPolicy) -> None:
    again = replace(desired(1, 10), version=Version(1, 2, 1))
    assert outcome_of(override(), again, None, JUDGED, policy) == ACCEPTED
    assert followed(override(), again, None, ZERO, policy) is Source.OVERRIDE


@pytest.mark.parametrize("policy", list(ConflictPolicy))
@pytest.mark.parametrize("outcome", list(Outcome))
def test_what_was_judged_is_not_judged_again(policy: ConflictPolicy, outcome: Outcome) -> None:
    assert judge(override(), desired(2, 50), verdict(outcome), JUDGED, policy) is None


@pytest.mark.parametrize("policy", list(ConflictPolicy))
@pytest.mark.parametrize("outcome", list(Outcome))
@pytest.mark.parametrize("line", ["a", "b"])
def test_what_a_later_one_that_was_judged_had_replaced_is_over(
    policy: ConflictPolicy, outcome: Outcome, line: str
) -> None:
    """It comes back with the store of its holder, or of the root."""
    late, wanted = verdict(outcome, 2, line, said=8), desired(9, 50, f"{line}.2")
    for former in (override(said=7), override(said=7, withdrawn="olaf")):
        assert judge(former, wanted, late, JUDGED, policy) is None
        assert decide(former, wanted, late, edge=True) is None
        assert not is_open(former, late)
        assert followed(former, wanted, late, Version(1, 1, 8), policy) is Source.DESIRED
    assert is_settled(override(said=7), wanted, late, Version(1, 1, 8))
    assert judge(override(said=9), wanted, late, JUDGED, policy) is not None, "it is later"
    assert judge(override(), wanted, late, JUDGED, policy) is not None, "of an earlier release nobody knows"


@pytest.mark.parametrize("policy", list(ConflictPolicy))
def test_an_accepted_override_is_no_reason_against_the_next_of_its_line(policy: ConflictPolicy) -> None:
    accepted = verdict(Outcome.ACCEPTED, before=10)
    found = judge(override(77, number=2), desired(2, 99, "a.1"), accepted, JUDGED, policy)
    assert found is not None
    assert (found.outcome, found.conflict, found.before) == (Outcome.ACCEPTED, False, 10)


def test_a_person_s_decision_is() -> None:
    accepted = verdict(Outcome.ACCEPTED, by="dora")
    assert outcome_of(override(77, number=2), desired(2, 99, "a.1"), accepted, JUDGED, MANUAL) == OPENED


def test_what_was_withdrawn_is_taken_back_where_it_was_accepted() -> None:
    gone = override(withdrawn="olaf")
    assert outcome_of(gone, desired(1, 10), None, JUDGED, CLOUD) == (Outcome.WITHDRAWN, False, False)
    assert outcome_of(gone, desired(2, 50), verdict(Outcome.OPEN), JUDGED, MANUAL) == (
        Outcome.WITHDRAWN,
        False,
        False,
    )
    found = judge(gone, desired(2, 99, "a.1"), verdict(Outcome.ACCEPTED, before=10), JUDGED, CLOUD)
    assert found is not None
    assert (found.outcome, found.changes, found.before) == (Outcome.WITHDRAWN, True, 10)
    assert outcome_of(gone, desired(3, 50), verdict(Outcome.ACCEPTED), JUDGED, CLOUD) == (
        Outcome.WITHDRAWN,
        False,
        False,
    )
    assert judge(gone, desired(1, 10), verdict(Outcome.WITHDRAWN), JUDGED, CLOUD) is None
    assert judge(gone, desired(1, 10), verdict(Outcome.LOST), JUDGED, CLOUD) is None


def test_what_stands_still_though_it_was_withdrawn_is_taken_back() -> None:
    """The root was put back to before either, and was given the verdict, but not what came of it."""
    gone, withdrawn = override(withdrawn="olaf"), verdict(Outcome.WITHDRAWN, before=10)
    found = judge(gone, desired(2, 99, "a.1"), withdrawn, Version(1, 1, 3), CLOUD)
    assert found is not None
    assert (found.outcome, found.changes, found.before) == (Outcome.WITHDRAWN, True, 10)
    assert judge(gone, desired(4, 10, "a.1"), withdrawn, Version(1, 1, 3), CLOUD) is None, "it was taken back"
    assert judge(gone, desired(2, 50), withdrawn, Version(1, 1, 3), CLOUD) is None, "it does not stand"


def test_only_what_is_open_can_be_decided() -> None:
    for outcome in (None, Outcome.ACCEPTED, Outcome.LOST, Outcome.WITHDRAWN):
        known = None if outcome is None else verdict(outcome)
        assert decide(override(), desired(2, 50), known, edge=True) is None
    open_ = verdict(Outcome.OPEN)
    assert decide(override(withdrawn="olaf"), desired(2, 50), open_, edge=True) is None
    assert decide(override(number=2), desired(2, 50), open_, edge=True) is None, "another override is open"
    won, lost = (decide(override(), desired(2, 50), open_, edge=edge) for edge in (True, False))
    assert won is not None
    assert lost is not None
    assert (won.outcome, won.changes, won.conflict) == (Outcome.ACCEPTED, True, True)
    assert (lost.outcome, lost.changes, lost.conflict) == (Outcome.LOST, False, True)


def test_records_survive_the_wire() -> None:
    one = replace(
        override({"a": 1}, said=4), attempted=True, withdrawn="olaf", after=(Version(1, 1, 3), Version(1, 1, 2))
    )
    assert Override.read(one.to_value()) == one
    told = Verdict(OverrideId("a-1", 3), Outcome.ACCEPTED, 5, "dora", {"$desired": 4, "ttl": 3}, said=one.said)
    assert Verdict.read(told.to_value()) == told
    wanted = Desired(4, Terms(3.0, Priority.HIGH), Origin("carol", "a.1"))
    assert Desired.from_value(wanted.to_value()) == wanted


@pytest.mark.parametrize(
    "value", [None, 3, {}, {"id": "a"}, {"override": "a.1"}, {"override": "a.1", "outcome": "odd", "time": 1}]
)
def test_what_makes_no_sense_is_not_there(value: Value) -> None:
    assert Override.read(value) is None
    assert Verdict.read(value) is None


# --- both ends, with registers that arrive in any order -------------------------------------------------------------


@dataclass
class Ends:
    """A root and a holder; `holder_*` is what has reached the holder of the root's registers."""

    policy: ConflictPolicy
    chance: random.Random
    seq: int = 1
    desired: Register | None = None
    verdict: Register | None = None
    at_root: Override | None = None
    override: Override | None = None
    holder_desired: Register | None = None
    holder_verdict: Register | None = None
    lines: int = 0
    device: list[Value] = field(default_factory=list)
    conflicts: list[tuple[Value, Value]] = field(default_factory=list)

    def mint(self, value: Value, section: Section) -> Register:
        self.seq += 1
        return Register(KEY._replace(section=section), Version(1, 1, self.seq), value, 0)

    # what people do

    def edit(self, value: int) -> None:
        self.desired = self.mint(value, Section.DESIRED)

    def set(self, value: int) -> None:
        line = self.override.id if self.override is not None and not self.settled() else None
        if line is None:
            self.lines += 1
        name = OverrideId(f"line{self.lines}", 1 if line is None else line.number + 1)
        held = self.holder_desired
        base = ZERO if held is None or held.value is None else held.version
        self.override = Override(name, value, "olaf", "edge", base, 0)
        self.act()

    def withdraw(self) -> None:
        if self.override is not None and is_open(self.override, self.known()):
            self.override = replace(self.override, withdrawn="olaf")
            self.act()

    def resolve(self, edge: bool) -> None:
        if self.at_root is not None:
            found = decide(self.at_root, self.desired, self.root_verdict(), edge=edge)
            if found is not None:
                self.pronounce(self.at_root, found, "dora")

    # what arrives

    def up(self) -> None:
        if self.override is not None:
            self.at_root = self.override
            judged = ZERO if self.verdict is None else self.verdict.version
            found = judge(self.override, self.desired, self.root_verdict(), judged, self.policy)
            if found is not None:
                if found.conflict:
                    held = None if self.desired is None else plain(self.desired.value)
                    self.conflicts.append((held, self.override.value))
                self.pronounce(self.override, found, "")

    def pronounce(self, one: Override, found: Judgement, by: str) -> None:
        self.verdict = self.mint(found.verdict(one, 0, by).to_value(), Section.VERDICT)
        before = found.before
        if found.changes and found.outcome is Outcome.ACCEPTED:
            self.edit_to(Desired(one.value, origin=Origin("olaf", str(one.id))).to_value())
        elif found.changes:
            back = Origin(origin_of(before).actor, str(one.id))
            self.edit_to(None if before is None else Desired(plain(before), terms_of(before), back).to_value())

    def edit_to(self, held: Value) -> None:
        self.desired = self.mint(held, Section.DESIRED)

    def desired_down(self) -> None:
        self.holder_desired = self.desired
        self.act()

    def verdict_down(self) -> None:
        self.holder_verdict = self.verdict
        self.act()

    # what the device gets

    def act(self) -> None:
        source = Source.DESIRED
        if self.override is not None:
            judged = ZERO if self.holder_verdict is None else self.holder_verdict.version
            source = followed(self.override, self.holder_desired, self.known(), judged, self.policy)
        value = None
        if source is Source.OVERRIDE and self.override is not None:
            value = self.override.value
        elif source is Source.DESIRED and self.holder_desired is not None:
            value = plain(self.holder_desired.value)
        if value is not None and (not self.device or self.device[-1] != value):
            self.device.append(value)

    def known(self) -> Verdict | None:
        return None if self.holder_verdict is None else Verdict.read(self.holder_verdict.value)

    def root_verdict(self) -> Verdict | None:
        return None if self.verdict is None else Verdict.read(self.verdict.value)

    def settled(self) -> bool:
        assert self.override is not None
        judged = ZERO if self.holder_verdict is None else self.holder_verdict.version
        return is_settled(self.override, self.holder_desired, self.known(), judged)

    def settle(self) -> None:
        for _ in range(3):
            for arrival in self.chance.sample([self.up, self.desired_down, self.verdict_down], 3):
                arrival()
            if self.policy is MANUAL:
                self.resolve(self.chance.random() < 0.5)


def play(seed: int, policy: ConflictPolicy, *, withdrawing: bool) -> Ends:
    chance = random.Random(seed)
    ends = Ends(policy, chance)
    if chance.random() < 0.8:
        ends.edit(1)
        ends.desired_down()
    for value in range(2, chance.randint(4, 14)):
        arrivals = [ends.up, ends.desired_down, ends.verdict_down]
        people = [lambda value=value: ends.edit(value), lambda value=value: ends.set(value)]
        if withdrawing:
            people.append(ends.withdraw)
        if policy is MANUAL:
            people.append(lambda: ends.resolve(chance.random() < 0.5))
        chance.choice([*arrivals, *arrivals, *people])()  # type: ignore[operator]
    ends.settle()
    return ends


@pytest.mark.parametrize("policy", list(ConflictPolicy))
def test_whatever_the_order_nothing_flaps_and_both_ends_agree(policy: ConflictPolicy) -> None:
    for seed in range(3000):
        ends = play(seed, policy, withdrawing=False)
        wanted = None if ends.desired is None else plain(ends.desired.value)
        if ends.device or wanted is not None:
            assert ends.device[-1] == wanted, f"seed {seed}: {ends.device}, desired {wanted}"
        # By hand a person may choose the cloud's value, which the device had before.
        twice = policy is not MANUAL and len(set(ends.device)) != len(ends.device)
        assert not twice, f"seed {seed}: {ends.device}"
        assert ends.override is None or not is_open(ends.override, ends.known())


@pytest.mark.parametrize("policy", list(ConflictPolicy))
def test_what_is_withdrawn_is_never_followed_again(policy: ConflictPolicy) -> None:
    for seed in range(3000):
        ends = play(seed, policy, withdrawing=True)
        wanted = None if ends.desired is None else plain(ends.desired.value)
        if wanted is not None:
            assert ends.device[-1] == wanted, f"seed {seed}: {ends.device}, desired {wanted}"
        gone = ends.override.value if ends.override is not None and ends.override.withdrawn else None
        if gone is not None:
            assert wanted != gone, f"seed {seed}: {ends.device}"
            assert ends.device.count(gone) <= 1, f"seed {seed}: {ends.device}"
