"""`twingateway validate`: documents of every kind, without a node."""

from __future__ import annotations

import sys

import typer

from twingateway.cli.exit_codes import ExitCode
from twingateway.cli.files import Files, find_files


def validate(files: Files) -> None:
    """Check twins, models, devices and node files (YAML 1.2 or JSON); print each problem as file:line: path: problem.

    A twin's values are checked against the model it names, if that is among
    the files. A node file is checked with all files it names. Exits with 1 if
    anything is wrong.

    Examples:
      twingateway validate site/node.yaml
      twingateway validate twin.yaml models/
      twingateway validate 'devices/**/*.yaml'
    """
    from twingateway.config.validate import check

    paths = find_files(files)
    report = check(paths)
    for warning in report.warnings:
        print(f"{warning} (warning)", file=sys.stderr)
    for problem in report.problems:
        print(problem)
    if report.problems:
        raise typer.Exit(ExitCode.INVALID)
    print(f"{len(paths)} {'file' if len(paths) == 1 else 'files'}, no problems")
