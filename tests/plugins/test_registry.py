"""Adapters are found by entry point, loaded only when asked for, and a broken one hurts no other."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import pytest
from pydantic import BaseModel

from twingateway.adapter import AdapterKind
from twingateway.errors import AdapterFault, UnknownAdapter
from twingateway.plugins.registry import AdapterRegistry, commands

PACKAGE = """\
from pydantic import BaseModel
from twingateway.adapter import AdapterKind

KIND = AdapterKind("{name}", "a fake", BaseModel, BaseModel, lambda settings, context: None)
NUMBER = 7
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of importable packages with entry points, as pip would leave them."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def install(site: Path, distribution: str, module: str, code: str, entries: str) -> None:
    (site / f"{module}.py").write_text(code)
    info = site / f"{distribution.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entries)


def test_an_installed_adapter_is_imported_when_it_is_asked_for_and_not_before(site: Path) -> None:
    install(
        site, "acme-bus", "acme_bus", PACKAGE.format(name="acme"), "[twingateway.adapters]\nacme = acme_bus:KIND\n"
    )
    registry = AdapterRegistry.installed()
    assert "acme" in registry.names()
    assert registry.packages()["acme"] == "acme-bus"
    assert "acme_bus" not in sys.modules
    assert registry.get("acme").name == "acme"
    assert registry.get("acme") is registry.get("acme")


def test_the_three_adapters_of_this_project_are_registered() -> None:
    assert {"http", "modbus", "mqtt"} <= set(AdapterRegistry.installed().names())


def test_an_unknown_adapter_names_the_nearest_and_all_installed_ones() -> None:
    registry = AdapterRegistry([kind("modbus"), kind("mqtt")])
    with pytest.raises(UnknownAdapter) as caught:
        registry.get("modbuss")
    assert caught.value.message == (
        "no adapter is called 'modbuss'; did you mean 'modbus'? (installed: modbus, mqtt)"
    )
    with pytest.raises(UnknownAdapter, match=r"installed: none"):
        AdapterRegistry().get("x")


@pytest.mark.parametrize(
    ("code", "target", "reason"),
    [
        ("import no_such_library_at_all", "KIND", "ModuleNotFoundError: No module named 'no_such_library_at_all'"),
        ("1 / 0", "KIND", "ZeroDivisionError"),
        ("x = 1", "KIND", "AttributeError"),
        (PACKAGE.format(name="other"), "KIND", "calls itself 'other'"),
        (PACKAGE.format(name="broken"), "NUMBER", "is a int, not an AdapterKind"),
    ],
)
def test_a_broken_package_is_named_with_its_reason_and_others_stay_usable(
    site: Path, monkeypatch: pytest.MonkeyPatch, code: str, target: str, reason: str
) -> None:
    monkeypatch.delitem(sys.modules, "broken_bus", raising=False)
    install(site, "broken-bus", "broken_bus", code, f"[twingateway.adapters]\nbroken = broken_bus:{target}\n")
    registry = AdapterRegistry([kind("good")], entry_points(group="twingateway.adapters"))
    with pytest.raises(AdapterFault) as caught:
        registry.get("broken")
    assert "package broken-bus" in caught.value.message
    assert reason in caught.value.message
    assert registry.get("good").name == "good"


def test_two_packages_that_offer_one_name_are_both_named() -> None:
    entries = [EntryPoint("twin", module, "twingateway.adapters") for module in ("first:K", "second:K")]
    with pytest.raises(AdapterFault, match="first and second"):
        AdapterRegistry(entries=entries).get("twin")


def test_command_groups_are_listed_without_being_imported_and_fail_alone(site: Path) -> None:
    entries = "[twingateway.commands]\nacme = acme_cli:NUMBER\nbad = acme_cli_missing:APP\n"
    install(site, "acme-cli", "acme_cli", "NUMBER = 7", entries)
    found = {command.name: command for command in commands()}
    assert "acme_cli" not in sys.modules
    assert (found["acme"].package, found["acme"].load()) == ("acme-cli", 7)
    with pytest.raises(AdapterFault, match="package acme-cli"):
        found["bad"].load()


def kind(name: str) -> AdapterKind:
    return AdapterKind(name, "", BaseModel, BaseModel, lambda settings, context: None)  # type: ignore[arg-type,return-value]
