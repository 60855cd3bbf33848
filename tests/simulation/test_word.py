"""What counts as told: words of the root's that came, and answers from after that which came back."""

from __future__ import annotations

from math import inf

from tests.simulation.topology import ROOT
from tests.simulation.word import SETTLED, TOLD, Path, Word


class Talk:
    """A root, a region and an edge, whose messages take no time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.word = Word([ROOT, "region", "edge"], lambda: self.now)
        self.upper, self.lower = Path(self.word, "region", ROOT), Path(self.word, "edge", "region")

    def say(self, path: Path, *, up: bool) -> None:
        path.arrived(path.sent(up=up), up=up)

    def round(self) -> None:
        self.now += 1.0
        for path, up in ((self.upper, False), (self.lower, False), (self.lower, True), (self.upper, True)):
            self.say(path, up=up)


def test_a_word_goes_through_the_nodes_between_and_counts_once() -> None:
    talk = Talk()
    for _ in range(3):
        talk.round()
    assert list(talk.word.rounds("edge", 0.0)) == [1.0, 2.0, 3.0]
    assert list(talk.word.rounds("edge", 2.5)) == [3.0]


def test_what_comes_without_an_answer_is_one_round_however_often() -> None:
    talk = Talk()
    for _ in range(3):
        talk.now += 1.0
        talk.say(talk.upper, up=False)
        talk.say(talk.lower, up=False)
    assert list(talk.word.rounds("edge", 0.0)) == [1.0]


def test_what_set_out_before_says_nothing_of_it() -> None:
    talk = Talk()
    early = talk.upper.sent(up=False)
    talk.now = 1.0
    talk.upper.arrived(early, up=False)
    assert list(talk.word.rounds("region", 0.5)) == []


def test_what_a_process_had_heard_goes_with_it() -> None:
    talk = Talk()
    talk.now = 1.0
    talk.say(talk.upper, up=False)
    talk.word.ended("region")
    talk.say(talk.lower, up=False)
    assert list(talk.word.rounds("edge", 0.0)) == []


def test_who_has_had_several_rounds_a_moment_ago_has_been_told() -> None:
    talk = Talk()
    for _ in range(TOLD):
        talk.round()
    assert talk.word.told_at("edge", 0.5) == talk.now + SETTLED
    assert talk.word.told_at("edge", 1.5) == inf


def test_what_a_process_was_told_when_it_could_keep_nothing_any_more_it_was_not_told_if_it_ends() -> None:
    talk = Talk()
    for _ in range(2 * TOLD):
        talk.round()
    assert talk.word.is_told("edge", 0.5, 100.0)
    talk.word.ended("edge", kept_until=float(TOLD) - 0.5)
    assert list(talk.word.rounds("edge", 0.5)) == [1.0, 2.0]
    assert not talk.word.is_told("edge", 0.5, 100.0)


def test_what_came_just_before_a_process_ended_it_could_not_keep() -> None:
    talk = Talk()
    for _ in range(TOLD):
        talk.round()
    talk.word.ended("edge")
    assert list(talk.word.rounds("edge", 0.5)) == [1.0, 2.0]
