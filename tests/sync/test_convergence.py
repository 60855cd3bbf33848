"""Whatever links and processes do: in calm weather both nodes end equal, and `low` never promises too much."""

from zlib import crc32

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.sync.world import ROOM, World, key
from twingateway.twin.register import Section

DEVICES = st.integers(0, 4).map(lambda number: f"d{number}")
PROPERTIES = st.sampled_from(["a", "b"])
VALUES = (
    st.integers(-5, 5) | st.floats(-1, 1) | st.sampled_from([None, True, "text", [1, [2.5]], {"x": 1}, "x" * 500])
)
NODES = st.sampled_from(["edge", "cloud"])


class Weather(RuleBasedStateMachine):
    """`World._persist` checks every advance of `low` on the way."""

    @initialize(datagrams=st.sampled_from([ROOM, 150, 0]), poison=st.booleans())
    def begin(self, datagrams, poison):
        self.world = World(datagrams)
        if poison:
            self.world.cloud.refused_keys = {key("d0", "a")}
        self.world.connect()

    @rule(name=NODES, device=DEVICES, place=PROPERTIES, value=VALUES)
    def write(self, name, device, place, value):
        node = self.world.nodes[name]
        node.write(key(device, place, node.section), value)

    @rule(name=NODES, count=st.integers(1, 4))
    def commit(self, name, count):
        self.world.nodes[name].commit(count)

    @rule(seconds=st.sampled_from([0.0, 0.001, 0.005, 0.05, 0.3, 2.5]))
    def pass_time(self, seconds):
        self.world.now += seconds

    @rule()
    def talk(self):
        self.world.pump()

    @rule()
    def streams_arrive(self):
        self.world.deliver_streams()

    @rule(data=st.data(), fate=st.sampled_from(["arrive", "arrive", "lost", "doubled"]))
    def datagram(self, data, fate):
        if self.world.flying:
            at = data.draw(st.integers(0, len(self.world.flying) - 1))
            if fate == "lost":
                del self.world.flying[at]
            else:
                self.world.deliver(at, keep=fate == "doubled")

    @rule()
    def all_arrive(self):
        while self.world.flying:
            self.world.deliver(0)

    @rule()
    def new_link(self):
        if len(self.world.links) < 3:
            self.world.connect()

    @rule()
    def early_flight(self):
        self.world.record_early()

    @rule(data=st.data())
    def early_arrives(self, data):
        if self.world.recorded:
            self.world.deliver_early(data.draw(st.integers(0, len(self.world.recorded) - 1)))

    @rule(data=st.data())
    def link_ends(self, data):
        if self.world.links:
            self.world.disconnect(data.draw(st.sampled_from(sorted(self.world.links))))

    @rule(name=NODES, committed=st.integers(0, 2))
    def crash(self, name, committed):
        node = self.world.nodes[name]
        node.commit(committed)
        self.world.restart(node)

    def teardown(self):
        if hasattr(self, "world"):
            self.world.calm(200.0)
            self.world.check_equal()


TestWeather = Weather.TestCase
TestWeather.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)


def test_a_value_that_is_overtaken_is_not_sent_again():
    world = World()
    world.connect()
    world.step()
    world.edge.write(key("d0"), "old")
    world.step(lose=lambda frame: b"old" in frame)
    world.edge.write(key("d0"), "new")
    seen = []
    for _ in range(200):
        world.step(lose=lambda frame: seen.append(frame) or False)
    assert not any(b"old" in frame for frame in seen)
    assert world.cloud.disk.registers[key("d0")].register.value == "new"


def test_both_directions_at_once_in_bad_weather():
    world = World()
    world.connect()
    for round_ in range(400):
        world.edge.write(key(f"d{round_ % 7}"), round_)
        world.cloud.write(key(f"d{round_ % 3}", "set", Section.DESIRED), round_)
        world.step(lose=lambda frame: crc32(frame) % 5 == 0)
    world.calm()
    world.check_equal()
