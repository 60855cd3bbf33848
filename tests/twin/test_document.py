import pytest

from twingateway.errors import InvalidDocument, InvalidValue
from twingateway.twin.document import TwinDocument, parse_twin, render_twin
from twingateway.twin.identity import DeviceId
from twingateway.twin.model import ModelRef
from twingateway.twin.value import Value

EXAMPLE: dict[str, Value] = {
    "apiVersion": "edge.iot.org/v1",
    "kind": "DeviceTwin",
    "metadata": {"name": "temperature-sensor-001"},
    "spec": {
        "desiredProperties": {"samplingRate": "10s"},
        "reportedProperties": {"currentValue": 23.5, "unit": "Celsius"},
    },
}


def rendered(twin: TwinDocument) -> dict[str, Value]:
    return render_twin(twin.id, labels=twin.labels, model=twin.model, desired=twin.desired, reported=twin.reported)


def test_the_short_document_is_read_and_written_back_unchanged() -> None:
    twin = parse_twin(EXAMPLE, "default")
    assert twin.id == DeviceId("default", "temperature-sensor-001")
    assert twin.desired == {"samplingRate": "10s"}
    assert twin.reported == {"currentValue": 23.5, "unit": "Celsius"}
    assert rendered(twin) == EXAMPLE


def test_a_full_document_survives_and_status_is_ignored() -> None:
    document: dict[str, Value] = {
        "apiVersion": "edge.iot.org/v1",
        "kind": "DeviceTwin",
        "metadata": {"name": "pump-1", "namespace": "plant", "labels": {"floor": "3"}},
        "spec": {"model": "pump@2", "desiredProperties": {"speed": 3}, "reportedProperties": {}},
    }
    twin = parse_twin({**document, "status": {"presence": "online"}}, "plant")
    assert twin.model == ModelRef("pump", "2")
    assert rendered(twin) == document


def test_a_document_without_spec_is_an_empty_twin() -> None:
    twin = parse_twin({"metadata": {"name": "bare"}}, "plant")
    assert twin == TwinDocument(DeviceId("plant", "bare"), {}, None, {}, {})


def test_null_properties_are_not_there() -> None:
    twin = parse_twin({"metadata": {"name": "a"}, "spec": {"desiredProperties": {"x": None, "y": 0}}}, "default")
    assert twin.desired == {"y": 0}


def test_a_document_cannot_choose_another_tenant() -> None:
    with pytest.raises(InvalidDocument) as caught:
        parse_twin({"metadata": {"name": "a", "namespace": "theirs"}}, "ours")
    assert caught.value.problems[0].path == "metadata.namespace"


def test_a_name_cannot_smuggle_a_namespace_in() -> None:
    with pytest.raises(InvalidValue):
        parse_twin({"metadata": {"name": "theirs/a"}}, "ours")
