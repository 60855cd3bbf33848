"""What an adapter's settings promise: mistakes are found before anything runs, by name, and secrets stay secret."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from twingateway.config.device import check_devices
from twingateway.config.source import Source
from twingateway.errors import AdapterFault, UnknownAdapter
from twingateway.plugins.registry import ADAPTERS, AdapterRegistry
from twingateway.testing.adapter_contract.rig import Played, Rig, on_a_rig

#: A key that no settings have.
_UNKNOWN = "no_such_key"


class ConfigurationContract(Played):
    """Before anything runs."""

    def test_an_installed_package_registers_it(self) -> None:
        """The entry point of your package leads a node to this adapter."""
        name = self.kind.name
        try:
            found = AdapterRegistry(entries=entry_points(group=ADAPTERS)).get(name)
        except (UnknownAdapter, AdapterFault) as error:
            raise AssertionError(
                f'{error.message}: write `{name} = "PACKAGE:ADAPTER"` under [project.entry-points."{ADAPTERS}"] in '
                f"pyproject.toml, and install the package (pip install --editable .)"
            ) from None
        assert found == self.kind, f"the entry point {name!r} leads to another adapter than this: {found}"

    def test_importing_it_loads_no_library(self) -> None:
        """A node loads the protocol's library with the first device: importing the package is cheap."""
        if lacking := self.lacks(("heavy",)):
            pytest.skip(lacking)
        module = str(self.kind.open.__module__)
        loaded = _loaded(module, self.heavy)
        assert not loaded, f"importing {module} loads {loaded}: import it inside the function that opens the adapter"

    @on_a_rig()
    async def test_a_good_document_is_taken(self, rig: Rig) -> None:
        """What a person writes by your manual passes the check that a node makes when it loads its devices."""
        problems = self._check(rig.device.spec)
        assert not problems, f"the spec of your played device is refused: {problems}"

    @on_a_rig()
    async def test_an_unknown_key_is_refused_by_name(self, rig: Rig) -> None:
        """A misspelt key is found when the document is loaded, wherever it stands, and not ignored."""
        for where in _mappings(rig.device.spec, rig.device_settings(), ()):
            problems = self._check(_with(rig.device.spec, (*where, _UNKNOWN), 1))
            assert any(_UNKNOWN in problem for problem in problems), (
                f"an unknown key in {'.'.join(('spec', *where))} is not refused: give its model "
                f'model_config = ConfigDict(extra="forbid")'
            )
        try:
            self.kind.settings.model_validate({**self.settings, _UNKNOWN: 1})
        except ValidationError:
            return
        raise AssertionError(
            f"an unknown key in `adapters: {self.kind.name}:` is not refused: give {self.kind.settings.__name__} "
            f'model_config = ConfigDict(extra="forbid")'
        )

    @on_a_rig("mistakes")
    async def test_a_mistake_is_found_at_load_and_named(self, rig: Rig) -> None:
        """A wrong value is refused when the document is loaded, with its key, so that nobody has to look for it."""
        for key, wrong in self.mistakes.items():
            path = tuple(key.split("."))
            problems = self._check(_with(rig.device.spec, path, wrong))
            assert problems, f"{key}: {wrong!r} is taken: refuse it in the settings, not when the device is first met"
            failed = [problem for problem in problems if "failed to check this" in problem]
            assert not failed, (
                f"{key}: {wrong!r}: a validator raises ValueError for what is wrong, not this: {failed}"
            )
            assert any(path[-1] in problem for problem in problems), (
                f"{key}: {wrong!r} is refused without its key: {problems}; name it in what your validator raises"
            )

    @on_a_rig()
    async def test_settings_stay_as_they_were_loaded(self, rig: Rig) -> None:
        """Settings are shared between a node's parts, so nobody can change them: their models are frozen."""
        for settings in (rig.settings(), *_models(rig.device_settings())):
            for name in type(settings).model_fields:
                try:
                    setattr(settings, name, getattr(settings, name))
                except ValidationError:
                    continue
                raise AssertionError(
                    f"{type(settings).__name__}.{name} can be assigned: give the model ConfigDict(frozen=True)"
                )

    @on_a_rig("secrets")
    async def test_secrets_are_not_shown_by_settings(self, rig: Rig) -> None:
        """A secret is neither in what settings and drivers look like in a log, nor in what refuses a document."""
        written = str(rig.device.spec) + str(dict(self.settings))
        assert all(secret in written for secret in self.secrets), "`secrets` are texts of the played device's `spec`"
        driven = await rig.drive()
        shown = {
            "repr() of the device's settings": repr(rig.device_settings()),
            "repr() of the adapter's settings": repr(rig.settings()),
            "repr() of the driver": repr(driven.driver.driver),
        }
        for where in _mappings(rig.device.spec, rig.device_settings(), ()):
            shown["the refusal of a document"] = str(self._check(_with(rig.device.spec, (*where, _UNKNOWN), 1)))
            self._look_for_secrets(shown)
        for key, wrong in self.mistakes.items():
            shown["the refusal of a document"] = str(
                self._check(_with(rig.device.spec, tuple(key.split(".")), wrong))
            )
            self._look_for_secrets(shown)

    def _look_for_secrets(self, shown: Mapping[str, str]) -> None:
        for where, text in shown.items():
            found = [secret for secret in self.secrets if secret in text]
            assert not found, f"a secret is in {where}: declare the field as twingateway.adapter.Secret"

    def _check(self, spec: Mapping[str, Any]) -> list[str]:
        """What a node says of a device document with this `spec`."""
        document = {
            "apiVersion": "edge.iot.org/v1",
            "kind": "Device",
            "metadata": {"name": "device-1"},
            "spec": {**copy.deepcopy(dict(spec)), "adapter": self.kind.name},
        }
        _, problems = check_devices(Source(document, "device.yaml"), AdapterRegistry([self.kind]), {})
        return [str(problem) for problem in problems]


@cache
def _loaded(module: str, names: tuple[str, ...]) -> list[str]:
    """Which of these modules a fresh Python has loaded when it has imported `module`."""
    program = f"import sys; sys.path[:] = {sys.path!r}; import {module}; print(*set({names!r}) & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.split()


def _with(spec: Mapping[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """`spec` with another value at `path`."""
    changed = copy.deepcopy(dict(spec))
    place = changed
    for key in path[:-1]:
        place = place.setdefault(key, {})
    place[path[-1]] = value
    return changed


def _mappings(spec: Any, settings: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Where in a spec there are mappings of which a model says the keys."""
    if isinstance(settings, BaseModel) and isinstance(spec, Mapping):
        yield path
        for name in type(settings).model_fields:
            yield from _mappings(spec.get(name), getattr(settings, name), (*path, name))
    elif isinstance(settings, Mapping) and isinstance(spec, Mapping):
        for name in settings:
            yield from _mappings(spec.get(name), settings[name], (*path, str(name)))


def _models(settings: BaseModel) -> Iterator[BaseModel]:
    """It and those in it."""
    yield settings
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        for item in value.values() if isinstance(value, Mapping) else (value,):
            if isinstance(item, BaseModel):
                yield from _models(item)
