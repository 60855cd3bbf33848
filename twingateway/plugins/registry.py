"""Adapters and commands that installed packages offer, found by entry point and loaded only when asked for.

A plug-in that cannot be loaded is an error of that name alone: all others stay usable.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from twingateway.adapter.kind import AdapterKind
from twingateway.errors import AdapterFault, UnknownAdapter

ADAPTERS = "twingateway.adapters"
COMMANDS = "twingateway.commands"


def package_of(entry: EntryPoint) -> str:
    """The name of the distribution that registered this entry point, or of its module if that is unknown."""
    return entry.dist.name if entry.dist is not None else entry.module


def _load(entry: EntryPoint) -> Any:
    try:
        return entry.load()
    except Exception as error:
        raise AdapterFault(
            f"{entry.name!r} of package {package_of(entry)} cannot be loaded: {type(error).__name__}: {error}",
            adapter=entry.name,
            package=package_of(entry),
        ) from error


class AdapterRegistry:
    """Adapter kinds by name. Given kinds win over entry points of the same name."""

    def __init__(self, kinds: Iterable[AdapterKind] = (), entries: Iterable[EntryPoint] = ()) -> None:
        self._kinds = {kind.name: kind for kind in kinds}
        self._entries: dict[str, list[EntryPoint]] = {}
        for entry in entries:
            self._entries.setdefault(entry.name, []).append(entry)

    @classmethod
    def installed(cls) -> AdapterRegistry:
        """Every adapter that an installed package registers; none of them is imported yet."""
        return cls(entries=entry_points(group=ADAPTERS))

    def names(self) -> tuple[str, ...]:
        """All names, sorted, whether or not their packages can be loaded."""
        return tuple(sorted(self._kinds.keys() | self._entries.keys()))

    def packages(self) -> dict[str, str]:
        """Adapter name → the distribution that offers it; kinds that were given directly are not listed."""
        return {name: package_of(entries[0]) for name, entries in sorted(self._entries.items())}

    def get(self, name: str) -> AdapterKind:
        """The kind of this name. Raises UnknownAdapter, or AdapterFault naming the package that is broken."""
        if name not in self._kinds:
            self._kinds[name] = self._from_entry(name)
        return self._kinds[name]

    def _from_entry(self, name: str) -> AdapterKind:
        entries = self._entries.get(name, [])
        if not entries:
            raise self._unknown(name)
        if len(entries) > 1:
            packages = " and ".join(sorted(package_of(entry) for entry in entries))
            raise AdapterFault(f"adapter {name!r} is offered by {packages}; uninstall all but one", adapter=name)
        kind = _load(entries[0])
        package = package_of(entries[0])
        if not isinstance(kind, AdapterKind):
            raise AdapterFault(
                f"adapter {name!r} of package {package} is a {type(kind).__name__}, not an AdapterKind",
                adapter=name,
                package=package,
            )
        if kind.name != name:
            raise AdapterFault(
                f"adapter {name!r} of package {package} calls itself {kind.name!r}; the two names must be the same",
                adapter=name,
                package=package,
            )
        return kind

    def _unknown(self, name: str) -> UnknownAdapter:
        installed = self.names()
        near = difflib.get_close_matches(name, installed, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        listed = ", ".join(installed) or "none"
        return UnknownAdapter(f"no adapter is called {name!r}{hint} (installed: {listed})", installed=list(installed))


@dataclass(frozen=True, slots=True)
class PluginCommand:
    """A command group that a package adds to the command line."""

    name: str
    package: str
    entry: EntryPoint

    def load(self) -> Any:
        """The typer app. Raises AdapterFault naming the package if it cannot be imported."""
        return _load(self.entry)


def commands() -> tuple[PluginCommand, ...]:
    """Command groups of installed packages, by name; none of them is imported yet."""
    found = [PluginCommand(entry.name, package_of(entry), entry) for entry in entry_points(group=COMMANDS)]
    return tuple(sorted(found, key=lambda command: command.name))
