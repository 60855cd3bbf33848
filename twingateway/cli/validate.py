"""`twingateway validate`: documents of every kind, without a node."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from twingateway.cli.exit_codes import ExitCode
from twingateway.cli.files import Files, find_files
from twingateway.errors import CertificateError, InvalidConfig, Problem

if TYPE_CHECKING:
    from twingateway.config.node import NodeConfig


def validate(files: Files) -> None:
    """Check twins, models, devices and node files (YAML 1.2 or JSON); print each problem as file:line: path: problem.

    A twin's values are checked against the model it names, if that is among
    the files. A node file is checked with all files it names, its certificate
    and key among them. Exits with 1 if anything is wrong.

    Examples:
      twingateway validate site/node.yaml
      twingateway validate twin.yaml models/
      twingateway validate 'devices/**/*.yaml'
    """
    from twingateway.config.validate import check

    paths = find_files(files)
    report = check(paths, of_node=_of_identity)
    for warning in report.warnings:
        print(f"{warning} (warning)", file=sys.stderr)
    for problem in report.problems:
        print(problem)
    if report.problems:
        raise typer.Exit(ExitCode.INVALID)
    print(f"{len(paths)} {'file' if len(paths) == 1 else 'files'}, no problems")


def _of_identity(config: NodeConfig) -> Iterator[Problem]:
    """What `run` says of the certificate and key before it does anything."""
    if config.identity is None:
        return
    from twingateway.node.parts import check_identity

    try:
        check_identity(config)
    except (CertificateError, InvalidConfig) as error:
        key, said, message = error.message.partition(": ")
        if said and key.startswith("identity."):
            yield Problem(message, key, "identity")
        else:
            yield Problem(error.message, "identity", "identity")
