"""The first example of each kind in schemas/README.md is what it says it is."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from twingateway_schemas import load

from twingateway.config.source import load_text
from twingateway.config.validate import validate

Write = Callable[[str, str], Path]

TEXT = (Path(__file__).parents[2] / "schemas" / "README.md").read_text(encoding="utf-8")
EXAMPLES = {
    section.split("\n", 1)[0]: example[1]
    for section in TEXT.split("\n## ")[1:]
    if (example := re.search(r"```yaml\n(.*?)```", section, re.DOTALL))
}
SCHEMAS = {"DeviceTwin": "device-twin", "DeviceModel": "device-model", "Node": "node", "Device": "device"}


@pytest.mark.parametrize("section", SCHEMAS)
def test_each_example_fits_its_schema_and_validates(write: Write, section: str) -> None:
    for name in ("secrets/api-token", "secrets/webhook"):
        write(name, "s3cret")
    for folder in ("devices", "models"):
        Path(folder).mkdir()
    file = write("example.yaml", EXAMPLES[section])
    assert validate(file) == []
    [document] = load_text(EXAMPLES[section])
    Draft202012Validator(load(SCHEMAS[section])).validate(document.data)


def test_the_example_of_the_library_says_what_it_says(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    section = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8").split("## As a library\n")[1]
    [program] = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    write("devices/hvac-1.yaml", "kind: Devise\n")
    exec(program, {})
    about_file, about_twin = capsys.readouterr().out.splitlines()
    assert about_file.startswith("devices/hvac-1.yaml:1: kind: ")
    assert f"`{about_twin}`" in section


def test_the_example_of_a_node_shows_every_section() -> None:
    [document] = load_text(EXAMPLES["Node"])
    assert document.data.keys() == load("node")["properties"].keys()
