"""Nodes, adapters, health, metrics: figures a person and a machine can read."""

from __future__ import annotations

import json
import math

from prometheus_client.parser import text_string_to_metric_families

from tests.api.site import in_process, node_with_pump
from twingateway.api.nodes import _rounded
from twingateway.sync.quality import Quality
from twingateway.testing.joined import MemoryNode, until


async def test_a_node_shows_itself_its_parent_and_its_children():
    cloud, edge = MemoryNode("cloud"), node_with_pump("edge")
    async with in_process(cloud) as above, in_process(edge, parent=cloud) as below:
        await until(lambda: len(above.gateway.nodes.all()) == 2)
        await until(lambda: above.gateway.nodes.all()[1].devices == 1)
        await until(lambda: (quality := above.gateway.nodes.all()[1].quality) and quality.frames_received)
        own, child = (await above.client.get("/nodes")).json()["items"]
        assert (own["name"], own["role"], own["state"]) == ("cloud", "root", "up")
        assert (child["name"], child["role"], child["state"], child["devices"]) == ("edge", "child", "up", 1)
        assert child["quality"]["frames_received"] >= 1
        assert {"goodput", "queue_age", "waiting"} <= child.keys()
        assert {"loss", "burst", "copies", "redundancy"} <= child["quality"].keys()
        parent = (await below.client.get("/nodes")).json()["items"][1]
        assert (parent["name"], parent["role"]) == ("cloud", "parent")


def test_figures_are_rounded_and_never_nan():
    measured = Quality(0.0501234567, math.nan, 1 / 3, math.inf, 2, 10, 11, 1.23456, 3, False)
    shown = _rounded(measured)
    assert shown == {
        "rtt": 0.0501,
        "loss": 0.3333,
        "copies": 2,
        "frames_sent": 10,
        "frames_received": 11,
        "redundancy": 1.23,
        "in_flight": 3,
        "silent": False,
    }
    json.dumps(shown, allow_nan=False)


async def test_adapters_tell_how_many_devices_answer():
    node = node_with_pump()
    async with in_process(node) as site:
        await until(lambda: site.gateway.host.health()[0].online == 1)
        (adapter,) = (await site.client.get("/adapters")).json()["items"]
        assert (adapter["name"], adapter["devices"], adapter["online"], adapter["error"]) == ("fake", 1, 1, "")


async def test_health_needs_nothing():
    async with in_process() as site:
        assert (await site.client.get("/healthz")).json() == {"status": "ok"}
        assert (await site.client.get("/readyz")).json() == {"status": "ready"}
        head = await site.client.head("/readyz")
        assert head.status_code == 200


async def test_metrics_follow_the_conventions_of_prometheus():
    cloud, edge = MemoryNode("cloud"), node_with_pump("edge")
    async with in_process(cloud) as above, edge.running(cloud):
        await until(lambda: len(above.gateway.nodes.all()) == 2 and above.gateway.nodes.all()[1].devices == 1)
        answer = await above.client.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=")
        families = {family.name: family for family in text_string_to_metric_families(answer.text)}
        ours = {name: family for name, family in families.items() if name.startswith("twingateway_")}
        of_the_link = {"loss_ratio", "burst_frames", "copies", "redundancy_ratio", "goodput_bytes_per_second"}
        for name in of_the_link | {"queue_age_seconds", "waiting_registers"}:
            (sample,) = ours[f"twingateway_peer_{name}"].samples
            assert sample.labels == {"peer": "edge", "role": "child"}, name
        for name, family in ours.items():
            assert family.documentation, name
            if family.type == "counter":
                assert all(sample.name.endswith("_total") for sample in family.samples), name
            else:
                assert not name.endswith("_total"), name
        assert not [name for name in ours if name.endswith(("_ms", "_milliseconds", "_percent"))]
        (up,) = ours["twingateway_peer_up"].samples
        assert (up.labels, up.value) == ({"peer": "edge", "role": "child"}, 1.0)
        assert ours["twingateway_peer_waiting_registers"].samples[0].value >= 0
        assert "process_resident_memory_bytes" in families
