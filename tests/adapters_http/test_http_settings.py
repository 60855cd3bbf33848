"""What a device document may say, and what is refused with a reason."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from twingateway_http.settings import DeviceSettings

URL = {"url": "http://10.0.0.9/api"}
POWER: dict[str, Any] = {"pick": "power"}
SET: dict[str, Any] = {"body": "$value"}


def device(properties: Any = None, **spec: Any) -> dict[str, Any]:
    return {"address": URL, "properties": {"p": POWER} if properties is None else properties, **spec}


def at(**address: Any) -> dict[str, Any]:
    return device(address={**URL, **address})


def test_a_whole_document_is_understood() -> None:
    settings = DeviceSettings.model_validate(
        {
            "address": {
                "url": "https://10.0.0.9:8443/{device}",
                "timeout": "500ms",
                "auth": {"username": "ada", "password": "x"},
                "headers": {"X-Site": "7"},
                "verify": False,
            },
            "period": "1s",
            "requests": {"status": {}, "more": {"path": "/more?all=1", "period": "10s", "time": "ts"}},
            "properties": {
                "power": {"pick": "meter.power_w", "scale": 0.001},
                "limit": {"request": "more", "pick": "limit", "command": {"path": "/limit", "body": {"a": "$value"}}},
                "alarm": {"push": "alarm"},
            },
            "webhook": {"path": "hooks/{device}"},
        }
    )
    assert settings.request_of(settings.properties["power"]) == "status"
    assert settings.properties["limit"].command is not None
    assert settings.properties["limit"].command.confirm_timeout == 3.0


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (device({}), "at least 1"),
        (device({"p": {}}), "a pick, a push or a command"),
        (device({"p": {**POWER, "pikc": "x"}}), "Extra inputs"),
        (device({"p": {"pick": "a.["}}), "not a JMESPath expression"),
        (device({"p": {**POWER, "scale": 0}}), "scale must not be 0"),
        (device({"p": {**POWER, "request": "other"}}), "p is picked from 'other'; the requests are: status"),
        (device(requests={"a": {}, "b": {}}), "picked from 'status'; the requests are: a, b"),
        (device({"p": {"request": "status", "command": SET}}), "pick says what is read"),
        (device({"p": {"push": "x"}}), "there is no webhook"),
        (device(webhook={}), "no property is taken from the webhook"),
        (device({"p": {"push": "x"}}, webhook={"path": "a b"}), "match pattern"),
        (device({"p": {"command": {"body": {"a": 1}}}}), r"\$value occurs neither"),
        (device({"p": {"command": {"method": "GET", "body": "$value"}}}), "a GET has no body"),
        (device({"p": {"command": {**SET, "path": "settings"}}}), "a path begins with /"),
        (device({"p": {"command": {**SET, "path": "http://x/"}}}), "a path begins with /"),
        (device({"p": {"command": {**SET, "confirm_timeout": "1m"}}}), "less than or equal to 20"),
        (device(requests={"status": {"path": "/a b"}}), "no spaces"),
        (device(requests={"status": {"path": "/a#b"}}), "%23"),
        (device(requests={"status": {"path": "/{base}"}}), "{base} means nothing here"),
        (device(requests={"status": {"body": 1}}), "method: POST"),
        (device(period="1ms"), "greater than or equal to 0.05"),
        ({"properties": {"p": POWER}}, "p needs an address"),
        (at(url="10.0.0.9"), "begins with http"),
        (at(url="ftp://10.0.0.9"), "begins with http"),
        (at(url="http://10.0.0.9:port"), "[Pp]ort"),
        (at(url="http://ada:pw@10.0.0.9"), "write them under auth"),
        (at(url="http://10.0.0.9/?key=1"), "ends before"),
        (at(timeout="1m"), "less than or equal to 10"),
        (at(auth={}), "give either bearer"),
        (at(auth={"bearer": "x", "username": "a", "password": "b"}), "give either bearer"),
        (at(auth={"username": "a"}), "come together"),
        (at(auth={"bearer": "x y"}), "printable ASCII"),
        (at(auth={"bearer": "x", "bearer_file": "y"}), "not both"),
        (at(auth={"bearer_file": "no-such-file"}), "cannot read"),
        (at(headers={"Bad Name": "x"}), "no header that can be set"),
        (at(headers={"Host": "x"}), "no header that can be set"),
        (at(headers={"X-Key": "a\r\nX: b"}), "printable ASCII"),
        (at(ca_file="no-such-file"), "ca_file no-such-file cannot be used"),
        (at(ca_file="x", verify=False), "contradict"),
    ],
)
def test_a_mistake_is_named(document: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        DeviceSettings.model_validate(document)


def test_a_refused_document_does_not_show_its_secrets() -> None:
    with pytest.raises(ValidationError) as caught:
        DeviceSettings.model_validate(at(auth={"bearer": "s3cret", "username": "a", "password": "s3cret"}))
    assert "s3cret" not in str(caught.value)


def test_files_count_from_the_documents_folder(tmp_path: Path) -> None:
    (tmp_path / "token.txt").write_text("abc\n")
    settings = DeviceSettings.model_validate(at(auth={"bearer_file": "token.txt"}), context={"folder": tmp_path})
    assert settings.address is not None
    assert settings.address.auth is not None
    assert settings.address.auth.bearer is not None
    assert settings.address.auth.bearer.get_secret_value() == "abc"


def test_importing_the_kind_loads_no_library() -> None:
    check = (
        "import sys; from twingateway_http import ADAPTER; assert ADAPTER.name == 'http';"
        "assert not {'jmespath', 'httpx2', 'httpcore2'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", check], check=True)
