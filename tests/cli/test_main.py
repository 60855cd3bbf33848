from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from twingateway import __version__
from twingateway.cli.exit_codes import ExitCode

#: What must not be loaded only to show help.
HEAVY = {"aioquic", "fastapi", "uvicorn", "amqtt", "paho", "httpx2", "cryptography", "jsonschema"}

COMMANDS = ("demo", "init", "run", "validate", "check", "set", "apply", "watch")
SUBCOMMANDS = ("pki init", "pki issue", "pki revoke", *(f"get {each}" for each in ("twins", "twin", "models")))

ACME = """
import typer

app = typer.Typer(help="What ACME's devices can do.")

@app.command("scan")
def scan(network: str) -> None:
    print(f"scanned {network}")

@app.command("crash")
def crash() -> None:
    raise ZeroDivisionError("a bug")
"""


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two installed packages that add commands: one that works, and one that cannot be imported. Both also try to
    take the name of a command of ours."""
    for name in ("acme", "broken"):
        info = tmp_path / f"{name}_tools-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-tools\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(
            f"[twingateway.commands]\n{name} = {name}_tools:app\npki = {name}_tools:app\n"
        )
    (tmp_path / "acme_tools.py").write_text(ACME)
    (tmp_path / "broken_tools.py").write_text("import no_such_module_here")
    monkeypatch.syspath_prepend(tmp_path)


def test_help_teaches_the_first_steps(cli: Run) -> None:
    result = cli("--help")
    assert result.exit_code == 0
    for command in (*COMMANDS, "pki", "get"):
        assert f" {command} " in result.stdout
    assert "First steps" in result.stdout
    assert "twingateway init site" in result.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_shows_examples(cli: Run, command: str) -> None:
    result = cli(command, "--help")
    assert result.exit_code == 0
    assert f"twingateway {command}" in result.stdout.partition("Examples:")[2]


@pytest.mark.parametrize("command", SUBCOMMANDS)
def test_each_subcommand_has_help(cli: Run, command: str) -> None:
    result = cli(*command.split(), "--help")
    assert result.exit_code == 0
    assert f"twingateway {command}" in result.stdout


def test_without_arguments_help_is_shown(cli: Run) -> None:
    assert "First steps" in cli().output


def test_version(cli: Run) -> None:
    assert cli("--version").stdout == f"twingateway {__version__}\n"


@pytest.mark.parametrize(
    "args",
    [
        ("nonsense",),
        ("set", "hvac"),
        ("get", "twins", "-o", "xml"),
        ("get", "twins", "--presence", "asleep"),
        ("--no-such",),
    ],
)
def test_a_wrong_command_line_exits_with_2(cli: Run, args: tuple[str, ...]) -> None:
    result = cli(*args)
    assert result.exit_code == ExitCode.USAGE
    assert "Usage:" in result.stderr


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom twingateway.cli.main import app\n"
        "try:\n    app(['--help'])\nexcept SystemExit:\n    print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stderr.split())
    assert "typer" in loaded
    assert not HEAVY & loaded


def test_the_module_is_the_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "twingateway", "--version"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, f"twingateway {__version__}\n")


@pytest.fixture
def crash(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **more: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("twingateway.pki.authority.revoke", fail)


@pytest.mark.usefixtures("crash")
def test_an_unexpected_error_is_one_line(cli: Run) -> None:
    result = cli("pki", "revoke", "pki", "edge-1")
    assert result.exit_code == ExitCode.INTERNAL
    assert result.stderr.splitlines() == [
        "error: unexpected ZeroDivisionError: a bug (twingateway --debug … shows where)"
    ]


@pytest.mark.usefixtures("crash")
def test_debug_shows_where_it_comes_from(cli: Run) -> None:
    result = cli("--debug", "pki", "revoke", "pki", "edge-1")
    assert result.exit_code == ExitCode.INTERNAL
    assert "Traceback" in result.stderr


@pytest.mark.usefixtures("packages")
class TestPlugins:
    def test_are_listed_with_what_they_say_of_themselves(self, cli: Run) -> None:
        (line,) = [line for line in cli("--help").stdout.splitlines() if line.startswith("│ acme ")]
        assert "What ACME's devices can do." in line

    def test_a_broken_one_is_listed_with_its_fault_and_hides_no_other(self, cli: Run) -> None:
        text = cli("--help").stdout
        assert "no_such_module_here" in text
        assert "│ acme " in text

    def test_are_not_loaded_for_other_commands(self, cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delitem(sys.modules, "acme_tools", raising=False)
        cli("pki", "--help")
        assert "acme_tools" not in sys.modules

    def test_run_when_called(self, cli: Run) -> None:
        result = cli("acme", "scan", "10.0.0.0/24")
        assert (result.exit_code, result.stdout) == (0, "scanned 10.0.0.0/24\n")

    def test_fail_as_one_line(self, cli: Run) -> None:
        result = cli("acme", "crash")
        assert result.exit_code == ExitCode.INTERNAL
        assert result.stderr.startswith("error: unexpected ZeroDivisionError: a bug")

    def test_that_cannot_be_loaded_name_their_package(self, cli: Run) -> None:
        result = cli("broken", "anything")
        assert result.exit_code == ExitCode.INTERNAL
        assert "broken-tools" in result.stderr
        assert "no_such_module_here" in result.stderr

    def test_cannot_take_the_name_of_a_command(self, cli: Run) -> None:
        assert "authority" in cli("pki", "--help").stdout
        assert [line.split()[1] for line in cli("--help").stdout.splitlines() if line.startswith("│ pki")] == ["pki"]
