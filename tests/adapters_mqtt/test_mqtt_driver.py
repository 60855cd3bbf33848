"""An MQTT device through its driver, against a broker in memory."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import cbor2
import pytest
from twingateway_mqtt import ADAPTER
from twingateway_mqtt.driver import MqttDriver

from twingateway.adapter import UNCONFIRMED, Access, Device, DeviceId, Model, Property, PropertyType, Written
from twingateway.errors import (
    DeviceRefused,
    DeviceReplyInvalid,
    DeviceTimeout,
    DeviceUnreachable,
    InvalidValue,
    WriteMismatch,
)
from twingateway.testing.adapter_context import MemoryContext
from twingateway.testing.broker import MemoryBroker, Published
from twingateway.testing.device_port import RecordingPort
from twingateway.twin.model import ModelRef

PLUG: dict[str, Any] = {
    "address": {"base": "shelly/{device}"},
    "read_timeout": "50ms",
    "properties": {
        "power": {"topic": "{base}/status", "pick": "apower"},
        "voltage": {"topic": "{base}/status", "pick": "voltage"},
        "output": {
            "topic": "{base}/status",
            "pick": "output",
            "optional": True,
            "command": {"topic": "{base}/set", "template": {"output": "$value"}, "confirm_timeout": "50ms"},
        },
    },
}
STATUS = "shelly/plug-1/status"


class Bench:
    def __init__(self, document: dict[str, Any], model: Model | None = None) -> None:
        self.broker = MemoryBroker()
        self.port = RecordingPort()
        adapter = ADAPTER.open(ADAPTER.settings(), MemoryContext(self.broker))
        device = Device(DeviceId("default", "plug-1"), ADAPTER.device.model_validate(document), model)
        driver = adapter.driver(device, self.port)
        assert isinstance(driver, MqttDriver)
        self.driver = driver

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Bench"]:
        task = asyncio.create_task(self.driver.run())
        await self.settle()
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert self.broker.filters == []

    async def settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)


def plug(**changes: Any) -> Bench:
    return Bench({**PLUG, **changes})


def reports(state: str) -> Callable[[Bench], None]:
    """A device that answers each command with this state."""
    return lambda bench: bench.broker.respond("shelly/plug-1/set", lambda _: bench.broker.deliver(STATUS, state))


# --- reading ------------------------------------------------------------------------------------------------------


async def test_one_message_reports_all_its_properties_at_once() -> None:
    async with plug().running() as bench:
        bench.broker.deliver(STATUS, '{"apower": 12.5, "voltage": 230, "output": true}')
        assert bench.port.values == {"power": 12.5, "voltage": 230, "output": True}
        assert len(bench.port.reports) == 1
        assert bench.broker.filters == [STATUS]


async def test_a_message_may_lack_what_is_optional() -> None:
    async with plug().running() as bench:
        bench.broker.deliver(STATUS, '{"apower": 12.5, "voltage": 230}')
        assert bench.port.values == {"power": 12.5, "voltage": 230}
        assert bench.port.problems == []


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"{not json", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 70_000, "at most"),
        (b"[" * 20 + b"]" * 20, "16"),
    ],
)
async def test_a_bad_message_is_a_problem_and_the_next_good_one_counts(payload: bytes, reason: str) -> None:
    async with plug().running() as bench:
        bench.broker.deliver(STATUS, payload)
        (problem,) = bench.port.problems
        assert reason in problem.message
        assert STATUS in problem.message
        assert bench.port.presence is None
        bench.broker.deliver(STATUS, '{"apower": 1, "voltage": 2}')
        assert bench.port.values == {"power": 1, "voltage": 2}


async def test_one_bad_property_hinders_no_other() -> None:
    async with plug().running() as bench:
        bench.broker.deliver(STATUS, '{"apower": null, "voltage": 231}')
        assert bench.port.values == {"voltage": 231}
        (problem,) = bench.port.problems
        assert problem.detail["property"] == "power"


async def test_an_empty_message_says_nothing() -> None:
    async with plug().running() as bench:
        bench.broker.deliver(STATUS, b"")
        assert bench.port.problems == []
        assert bench.port.reports == []


async def test_text_is_converted_as_the_document_or_the_model_says() -> None:
    model = Model(
        ModelRef("plug", "1"), {"level": Property(PropertyType.INTEGER, access=Access.READ)}, "", "0" * 64, {}
    )
    text = {"payload": "text"}
    bench = Bench(
        {
            "properties": {
                "temperature": {"topic": "{device}/t", "type": "number", **text},
                "door": {"topic": "door", "true_words": ["open"], "false_words": ["shut"], **text},
                "level": {"topic": "level", **text},
                "mode": {"topic": "{base}/mode", **text},
            }
        },
        model,
    )
    async with bench.running():
        for topic, payload in {"plug-1/t": "21.5", "door": "OPEN", "level": "7", "plug-1/mode": "12"}.items():
            bench.broker.deliver(topic, payload)
        assert bench.port.values == {"temperature": 21.5, "door": True, "level": 7, "mode": "12"}
        bench.broker.deliver("plug-1/t", "warm")
        assert "'warm' is not a number" in bench.port.problems[0].message


async def test_cbor_is_read_and_written() -> None:
    bench = Bench(
        {
            "properties": {
                "speed": {
                    "topic": "s",
                    "payload": "cbor",
                    "pick": "motor.speed",
                    "command": {"topic": "c", "payload": "cbor", "template": {"speed": "$value"}},
                }
            }
        }
    )

    def obey(command: Published) -> None:
        bench.broker.deliver("s", cbor2.dumps({"motor": cbor2.loads(command.payload)}))

    bench.broker.respond("c", obey)
    async with bench.running():
        assert await bench.driver.write("speed", 1200) == Written(confirmed=True, observed=1200)
        assert bench.port.values == {"speed": 1200}


async def test_retained_state_is_reported_at_start() -> None:
    bench = plug()
    bench.broker.deliver(STATUS, '{"apower": 5, "voltage": 229}', retain=True)
    async with bench.running():
        assert bench.port.values == {"power": 5, "voltage": 229}


async def test_check_reads_retained_state_without_running() -> None:
    bench = plug()
    bench.broker.deliver(STATUS, '{"apower": 5, "voltage": 229, "output": false}', retain=True)
    assert await bench.driver.read() == {"power": 5, "voltage": 229, "output": False}
    assert bench.broker.filters == []


async def test_a_read_returns_what_it_has_when_time_is_up() -> None:
    bench = plug()
    bench.broker.deliver(STATUS, '{"apower": 5, "voltage": 229}', retain=True)
    assert await bench.driver.read() == {"power": 5, "voltage": 229}


async def test_a_read_prefers_what_was_heard_to_an_older_retained_message() -> None:
    bench = plug()
    bench.broker.deliver(STATUS, '{"apower": 1, "voltage": 1, "output": false}', retain=True)
    async with bench.running():
        bench.broker.deliver(STATUS, '{"apower": 2, "voltage": 2, "output": true}')
        assert await bench.driver.read() == {"power": 2, "voltage": 2, "output": True}


async def test_a_read_of_a_silent_device_times_out() -> None:
    with pytest.raises(DeviceTimeout):
        await plug().driver.read()


async def test_a_read_of_a_device_that_talks_nonsense_says_so() -> None:
    bench = plug()
    bench.broker.deliver(STATUS, "nonsense", retain=True)
    with pytest.raises(DeviceReplyInvalid, match="not JSON"):
        await bench.driver.read()


async def test_a_read_asks_where_the_device_can_be_asked() -> None:
    bench = plug(read={"topic": "{base}/rpc", "template": "status"})
    bench.broker.deliver(STATUS, '{"apower": 1, "voltage": 1, "output": false}', retain=True)
    answer = '{"apower": 9, "voltage": 230, "output": true}'
    bench.broker.respond("shelly/plug-1/rpc", lambda _: bench.broker.deliver(STATUS, answer))
    assert await bench.driver.read() == {"power": 9, "voltage": 230, "output": True}
    assert bench.broker.published[0].payload == b"status"


async def test_one_property_is_read_back_without_waiting_for_the_others() -> None:
    bench = plug(read_timeout="600s")
    bench.broker.deliver(STATUS, '{"output": true}', retain=True)
    assert await bench.driver.read_back("output") is True


async def test_what_no_state_topic_tells_is_refused_without_waiting() -> None:
    with pytest.raises(DeviceRefused):
        await plug(read_timeout="600s").driver.read_back("reboot")


# --- presence -----------------------------------------------------------------------------------------------------

WILL = {"topic": "{base}/online", "online": True, "offline": False}
ONLINE = "shelly/plug-1/online"


async def test_a_last_will_takes_the_device_offline_until_it_is_back() -> None:
    async with plug(presence=WILL).running() as bench:
        bench.broker.deliver(ONLINE, "true")
        assert bench.port.presence is True
        bench.broker.deliver(ONLINE, "false")
        assert bench.port.presence is False
        assert isinstance(bench.port.offline_error, DeviceUnreachable)
        bench.broker.deliver(ONLINE, "true")
        assert bench.port.presence is True


async def test_retained_state_does_not_bring_a_gone_device_back_but_is_shown_when_it_is() -> None:
    bench = plug(presence=WILL)
    bench.broker.deliver(ONLINE, "false", retain=True)
    bench.broker.deliver(STATUS, '{"apower": 5, "voltage": 229}', retain=True)
    async with bench.running():
        assert bench.port.presence is False
        assert bench.port.values == {}
        bench.broker.deliver(ONLINE, "true")
        assert bench.port.presence is True
        assert bench.port.values == {"power": 5, "voltage": 229}


async def test_a_device_that_speaks_is_there() -> None:
    async with plug(presence=WILL).running() as bench:
        bench.broker.deliver(ONLINE, "false")
        bench.broker.deliver(STATUS, '{"apower": 5, "voltage": 229}')
        assert bench.port.presence is True


async def test_presence_may_be_part_of_a_document() -> None:
    presence = {"topic": "{base}/lwt", "payload": "json", "pick": "state", "online": "up", "offline": "down"}
    async with plug(presence=presence).running() as bench:
        bench.broker.deliver("shelly/plug-1/lwt", '{"state": "DOWN"}')
        assert bench.port.presence is False
        bench.broker.deliver("shelly/plug-1/lwt", '{"state": "sideways"}')
        assert "neither" in bench.port.problems[0].message
        assert bench.port.presence is False


async def test_silence_takes_the_device_offline_until_it_speaks() -> None:
    async with plug(presence={"silence": "80ms"}).running() as bench:
        bench.broker.deliver(STATUS, '{"apower": 5, "voltage": 229}')
        assert bench.port.presence is True
        await bench.port.until(lambda port: port.presence is False)
        assert isinstance(bench.port.offline_error, DeviceTimeout)
        bench.broker.deliver(STATUS, '{"apower": 6, "voltage": 229}')
        assert bench.port.presence is True
        await bench.port.until(lambda port: port.presence is False)


# --- writing ------------------------------------------------------------------------------------------------------


async def test_a_write_is_confirmed_by_the_state_topic() -> None:
    async with plug().running() as bench:
        reports('{"apower": 0, "voltage": 230, "output": true}')(bench)
        assert await bench.driver.write("output", True) == Written(confirmed=True, observed=True)
        assert bench.broker.published == [Published("shelly/plug-1/set", b'{"output":true}', 1, False)]
        assert bench.port.values["output"] is True


async def test_an_old_state_first_does_not_end_the_waiting() -> None:
    async with plug().running() as bench:
        reports('{"apower": 0, "voltage": 230, "output": false}')(bench)
        reports('{"apower": 0, "voltage": 230, "output": true}')(bench)
        assert (await bench.driver.write("output", True)).confirmed


async def test_a_retained_state_is_no_confirmation() -> None:
    bench = plug()
    bench.broker.deliver(STATUS, '{"apower": 0, "voltage": 230, "output": true}', retain=True)
    with pytest.raises(DeviceTimeout):
        await bench.driver.write("output", True)


async def test_another_state_is_a_mismatch() -> None:
    async with plug().running() as bench:
        reports('{"apower": 0, "voltage": 230, "output": false}')(bench)
        with pytest.raises(WriteMismatch) as caught:
            await bench.driver.write("output", True)
        assert caught.value.detail["observed"] is False


async def test_no_state_is_a_timeout() -> None:
    async with plug().running() as bench:
        with pytest.raises(DeviceTimeout):
            await bench.driver.write("output", True)


async def test_silence_after_a_command_that_changes_nothing_is_unconfirmed() -> None:
    async with plug().running() as bench:
        bench.broker.deliver(STATUS, '{"apower": 0, "voltage": 230, "output": true}')
        assert await bench.driver.write("output", True) == Written(confirmed=False, observed=True)


async def test_a_device_that_can_be_asked_is_asked_after_a_command() -> None:
    async with plug(read={"topic": "{base}/rpc"}).running() as bench:
        answer = '{"apower": 0, "voltage": 230, "output": true}'
        bench.broker.respond("shelly/plug-1/rpc", lambda _: bench.broker.deliver(STATUS, answer))
        assert (await bench.driver.write("output", True)).confirmed


async def test_without_a_state_topic_a_write_is_unconfirmed() -> None:
    bench = Bench({"properties": {"text": {"command": {"topic": "{base}/show", "payload": "text", "qos": 0}}}})
    assert await bench.driver.write("text", "hello") == UNCONFIRMED
    assert bench.broker.published == [Published("plug-1/show", b"hello", 0, False)]


async def test_numbers_are_confirmed_within_tolerance() -> None:
    setpoint = {
        "topic": "state",
        "pick": "sp",
        "command": {"topic": "set", "tolerance": 0.05, "confirm_timeout": "50ms"},
    }
    bench = Bench({"properties": {"setpoint": setpoint}})
    bench.broker.respond("set", lambda _: bench.broker.deliver("state", '{"sp": 21.49}'))
    assert await bench.driver.write("setpoint", 21.5) == Written(confirmed=True, observed=21.49)
    assert bench.driver.matches("setpoint", 21.5, 21.54)
    with pytest.raises(WriteMismatch):
        await bench.driver.write("setpoint", 21.6)


async def test_true_is_not_one() -> None:
    driver = plug().driver
    assert not driver.matches("output", True, 1)
    assert not driver.matches("output", 0, False)


async def test_a_gone_device_is_not_commanded() -> None:
    async with plug(presence=WILL).running() as bench:
        bench.broker.deliver(ONLINE, "false")
        with pytest.raises(DeviceUnreachable):
            await bench.driver.write("output", True)
        assert bench.broker.published == []


async def test_a_broker_that_is_down_is_an_unreachable_device() -> None:
    bench = plug()
    bench.broker.down = True
    with pytest.raises(DeviceUnreachable, match="down"):
        await bench.driver.write("output", True)
    assert bench.broker.filters == []


async def test_what_has_no_command_is_refused() -> None:
    bench = plug()
    assert bench.driver.writable == {"output"}
    with pytest.raises(InvalidValue, match="cannot be written"):
        await bench.driver.write("power", 1)
