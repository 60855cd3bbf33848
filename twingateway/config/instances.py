"""From a device document to the devices it stands for: a range becomes one document each, a profile is put beneath.

- `metadata.range: 1..300` stands for 300 devices; `{n}`, `{n+100}` and `{n:03}` in any text of the document become
  the number (a text that is nothing else: a whole number). `range: {line: 1..10, unit: 1..30}` names the numbers
  and stands for all combinations.
- `spec.profile: meter.yaml` names a file with one `kind: DeviceProfile`. The device's own `spec` is a merge patch
  (RFC 7396) upon the profile's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from twingateway.config.source import Source, load_file
from twingateway.errors import InvalidDocument, Problem
from twingateway.twin.patch import merge_patch

PROFILE_KIND = "DeviceProfile"
#: Keys of a profile's `spec` that no device inherits.
PROFILE_ONLY = frozenset({"tests"})
MOST_INSTANCES = 10_000

RANGE_PATTERN = r"[0-9]{1,6}\.\.[0-9]{1,6}"
_RANGE = re.compile(r"([0-9]{1,6})\.\.([0-9]{1,6})", re.ASCII)
_PLACE = re.compile(r"\{([A-Za-z_]\w*)(?:([+-])([0-9]{1,6}))?(?::(0[1-9]))?\}", re.ASCII)


class Instances:
    """Of all files of one loading; each profile is read once."""

    def __init__(self) -> None:
        self._profiles: dict[Path, Source | Problem] = {}

    def of(self, source: Source) -> Iterator[Source | Problem]:
        """The documents that `source` stands for, or what is wrong with its range or profile."""
        for each in _ranged(source):
            yield each if isinstance(each, Problem) else self._with_profile(each)

    def _with_profile(self, source: Source) -> Source | Problem:
        spec = source.data.get("spec") if isinstance(source.data, dict) else None
        if not isinstance(spec, dict) or "profile" not in spec:
            return source
        name = spec["profile"]
        if not isinstance(name, str):
            return source.problem("must be the path of a profile's file", "spec.profile", "type")
        profile = self._profile(Path(source.file).parent / name)
        if isinstance(profile, Problem):
            return source.problem(profile.message, "spec.profile", profile.rule)
        beneath = {key: value for key, value in profile.data["spec"].items() if key not in PROFILE_ONLY}
        own = {key: value for key, value in spec.items() if key != "profile"}
        return replace(source, data={**source.data, "spec": merge_patch(beneath, own)}, base=profile)

    def _profile(self, path: Path) -> Source | Problem:
        if path not in self._profiles:
            self._profiles[path] = _read_profile(path)
        return self._profiles[path]


def _read_profile(path: Path) -> Source | Problem:
    try:
        sources = load_file(path)
    except InvalidDocument as error:
        return Problem(f"the profile cannot be used: {error.message}", rule="file")
    found = [each for each in sources if isinstance(each.data, dict) and each.data.get("kind") == PROFILE_KIND]
    if len(found) != 1:
        return Problem(f"{path} holds {len(found) or 'no'} {PROFILE_KIND} documents; it must be one", rule="file")
    if not isinstance(found[0].data.get("spec"), dict):
        return Problem(f"the profile in {path} has no spec", rule="required")
    return found[0]


# --- ranges -------------------------------------------------------------------------------------------------------


def _ranged(source: Source) -> Iterator[Source | Problem]:
    metadata = source.data.get("metadata") if isinstance(source.data, dict) else None
    written = metadata.get("range") if isinstance(metadata, dict) else None
    if not isinstance(metadata, dict) or written is None:
        yield source
        return
    ranges = _ranges(written)
    if isinstance(ranges, str):
        yield source.problem(ranges, "metadata.range", "range")
        return
    rest = {**source.data, "metadata": {key: each for key, each in metadata.items() if key != "range"}}
    for numbers in product(*ranges.values()):
        yield replace(source, data=_filled(rest, dict(zip(ranges, numbers, strict=True))))


def _ranges(written: Any) -> dict[str, range] | str:
    """Name → numbers, or what is wrong."""
    named = written if isinstance(written, dict) else {"n": written}
    ranges: dict[str, range] = {}
    count = 1
    for name, text in named.items():
        match = _RANGE.fullmatch(text) if isinstance(text, str) else None
        if match is None or int(match[1]) > int(match[2]):
            return f"{text!r} is not a range; write first and last number: 1..300"
        ranges[str(name)] = range(int(match[1]), int(match[2]) + 1)
        count *= len(ranges[str(name)])
    if not ranges or count > MOST_INSTANCES:
        return f"the range stands for {count if ranges else 0} devices; 1 to {MOST_INSTANCES} are possible"
    return ranges


def _filled(data: Any, numbers: Mapping[str, int]) -> Any:
    if isinstance(data, dict):
        return {key: _filled(member, numbers) for key, member in data.items()}
    if isinstance(data, list):
        return [_filled(item, numbers) for item in data]
    if not isinstance(data, str) or "{" not in data:
        return data
    whole = _PLACE.fullmatch(data)
    if whole is not None and whole[1] in numbers and not whole[4]:
        return _number(whole, numbers)
    return _PLACE.sub(
        lambda match: f"{_number(match, numbers):{match[4] or ''}}" if match[1] in numbers else match[0], data
    )


def _number(match: re.Match[str], numbers: Mapping[str, int]) -> int:
    return numbers[match[1]] + int((match[2] or "+") + (match[3] or "0"))
