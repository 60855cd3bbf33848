"""The layout that was agreed: what lies where, how large it may grow, and that the contracts cover all of it."""

from __future__ import annotations

import ast
import subprocess
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from twingateway import errors

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "twingateway"
MODULES = sorted(PACKAGE.rglob("*.py"))
SHIPPED = [*MODULES, *sorted((ROOT / "adapters").rglob("*.py")), *sorted((ROOT / "schemas").rglob("*.py"))]

MAX_MODULE = 450
MAX_FUNCTION = 70


def name_of(file: Path) -> str:
    return str(file.relative_to(ROOT))


def test_the_top_level_folders_are_those_that_were_agreed():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    if not tracked:
        pytest.skip("not a checkout")
    folders = {line.partition("/")[0] for line in tracked.splitlines() if "/" in line}
    assert {folder for folder in folders if not folder.startswith(".")} == {
        "twingateway",
        "schemas",
        "adapters",
        "interop",
        "tests",
    }


def test_source_roots_are_no_packages():
    for root in ("adapters", "schemas", "interop"):
        assert not (ROOT / root / "__init__.py").exists()


@pytest.mark.parametrize("file", SHIPPED, ids=name_of)
def test_a_module_says_what_it_is_and_fits_in_the_head(file):
    text = file.read_text()
    tree = ast.parse(text)
    assert len(text.splitlines()) <= MAX_MODULE
    assert ast.get_docstring(tree), "a module, and a package, begins with what it is for"
    long = [
        f"{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno - node.lineno >= MAX_FUNCTION
    ]
    assert not long


@pytest.mark.parametrize("file", [f for f in SHIPPED if f.name == "__init__.py"], ids=name_of)
def test_a_package_is_empty_or_names_what_it_offers(file):
    """Plain re-exports and constants; `__getattr__` for what is found late, an adapter's `_open`."""
    allowed = (ast.Expr, ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.If)
    tree = ast.parse(file.read_text())
    others = [node for node in tree.body if not isinstance(node, allowed)]
    late = {"__getattr__", "_open"}
    assert {getattr(node, "name", "?") for node in others} <= late
    assert len(others) <= 1


def test_every_package_is_in_the_layers():
    layered = [contract for contract in _linter()["contracts"] if contract["type"] == "layers"]
    assert {container for contract in layered for container in contract["containers"]} == {
        "twingateway",
        "twingateway.gateway",
    }
    for contract in layered:
        names = {name for row in contract["layers"] for name in row.split(" | ")}
        [container] = contract["containers"]
        folder = ROOT / container.replace(".", "/")
        there = {path.stem for path in folder.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
        assert there - {"__init__"} == names | set(contract.get("exhaustive_ignores", ()))


def test_every_contract_covers_every_package():
    contracts = {contract["name"]: contract for contract in _linter()["contracts"]}
    layered = {
        f"twingateway.{name}"
        for row in next(c for c in contracts.values() if c["type"] == "layers")["layers"]
        for name in row.split(" | ")
    }
    assert next(c for c in contracts.values() if c["type"] == "layers")["exhaustive"] is True
    forbidden = {name: set(c["source_modules"]) for name, c in contracts.items() if c["type"] == "forbidden"}
    assert forbidden["Nothing at run time imports testing"] == layered
    assert forbidden["aioquic has one importer"] == layered - {"twingateway.link"}
    adapters = next(c for name, c in contracts.items() if name.startswith("Adapters see the SDK"))
    packages = {path.name for path in (ROOT / "adapters").iterdir() if (path / "__init__.py").exists()}
    assert set(adapters["source_modules"]) == packages
    allowed = {"twingateway.adapter", "twingateway.errors"}
    assert set(adapters["forbidden_modules"]) == (layered | {"twingateway.testing"}) - allowed


def test_every_adapter_is_in_the_wheel_and_found_by_entry_point():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = {path.name for path in (ROOT / "adapters").iterdir() if (path / "__init__.py").exists()}
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert {f"adapters/{name}" for name in packages} == {path for path in wheel if path.startswith("adapters/")}
    entries = project["project"]["entry-points"]["twingateway.adapters"]
    assert {target.partition(":")[0] for target in entries.values()} == packages
    assert {f"twingateway_{name}" for name in entries} == packages


def test_every_error_has_a_code_of_its_own():
    tree = list(errors.all_errors())
    defined = {
        node.name
        for node in ast.parse(Path(errors.__file__).read_text()).body
        if isinstance(node, ast.ClassDef) and node.name != "Problem"
    }
    assert {error.__name__ for error in tree} == defined, "every error is in the one tree"
    assert all("code" in vars(error) for error in tree)
    twice = [code for code, times in Counter(error.code for error in tree).items() if times > 1]
    assert not twice
    assert all(error.__doc__ or error.__base__ is not errors.TwinGatewayError for error in tree)


def test_what_an_adapter_derives_from_an_error_is_not_taken_for_it():
    class MeterError(errors.DeviceError):
        """Some plug-in's own."""

    assert MeterError not in list(errors.all_errors())
    assert [error for error in errors.all_errors() if error.code == MeterError.code] == [errors.DeviceError]


def test_errors_are_defined_nowhere_else():
    """Another module may derive from the tree for itself, but what has a code is in one place."""
    for file in SHIPPED:
        if file == Path(errors.__file__):
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ClassDef) and any("Error" in ast.unparse(base) for base in node.bases):
                assert not [
                    statement
                    for statement in node.body
                    if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "code"
                ], f"{name_of(file)}: {node.name}"


def test_no_import_is_relative():
    for file in SHIPPED:
        for node in ast.walk(ast.parse(file.read_text())):
            assert not (isinstance(node, ast.ImportFrom) and node.level), name_of(file)


def test_there_is_no_utils_and_nothing_left_to_do():
    for file in SHIPPED:
        assert file.stem not in {"utils", "util", "helpers", "common", "misc"}, name_of(file)
        assert "TODO" not in file.read_text(), name_of(file)
        assert "FIXME" not in file.read_text(), name_of(file)


def _linter() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
