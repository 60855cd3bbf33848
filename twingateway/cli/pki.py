"""`twingateway pki`: certificates for people who have no authority of their own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Make a certificate authority and the nodes' certificates.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    epilog=(
        "[bold]Two nodes[/bold]\n"
        "  twingateway pki init pki\n"
        "  twingateway pki issue pki cloud-1 --host cloud.example.org\n"
        "  twingateway pki issue pki edge-1\n"
        "Then copy NAME.crt, NAME.key, ca.crt and ca.crl to each node; ca.key stays where it is."
    ),
)

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="The authority's folder.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The node's name, as in its file.")]
Namespace = Annotated[str, typer.Option(help="The tenant that the node belongs to.")]


@app.command("init")
def init(
    directory: Directory,
    name: Annotated[str, typer.Option(help="What the authority is called in certificates.")] = "twingateway CA",
) -> None:
    """Make an authority, valid for ten years: ca.crt, ca.key and its revocation list ca.crl."""
    from twingateway.pki.authority import create_authority

    made = create_authority(directory, name=name)
    print(f"{made.certificate}  for every node: identity.ca (valid until {made.expires:%Y-%m-%d})")
    print(f"{made.key}  keep it secret; nodes do not need it")
    print(f"{made.revocations}  for every node: identity.crl")
    print(f"next: twingateway pki issue {directory} NAME --host …")


@app.command("issue")
def issue(
    directory: Directory,
    name: Name,
    host: Annotated[
        list[str] | None,
        typer.Option(help="DNS name or IP address under which other nodes reach it; may be repeated."),
    ] = None,
    namespace: Namespace = "default",
    days: Annotated[int, typer.Option(min=1, help="How long the certificate is valid.")] = 825,
    role: Annotated[str | None, typer.Option(help="What Modbus devices over TLS are to take its owner for.")] = None,
    device: Annotated[
        bool, typer.Option("--device", help="For a device, or a client of devices, that is no node.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the node's certificate and key.")] = False,
) -> None:
    """Make a node's certificate and key, or a device's.

    Examples:
      twingateway pki issue pki cloud-1 --host cloud.example.org --host 10.0.0.1
      twingateway pki issue pki edge-1 --namespace plant-7 --days 90
      twingateway pki issue pki plc-4 --device --host 10.0.0.5
      twingateway pki issue pki modbus-edge-1 --device --role operator
    """
    from twingateway.pki.authority import issue as make

    made = make(
        directory, name, hosts=host or (), namespace=namespace, days=days, role=role, device=device, force=force
    )
    if device:
        print(f"{made.certificate}  certificate_file (valid until {made.expires:%Y-%m-%d})")
        print(f"{made.key}  key_file")
        print(f"{made.ca}  for those who are to trust it: ca_file")
        return
    print(f"{made.certificate}  identity.certificate (valid until {made.expires:%Y-%m-%d})")
    print(f"{made.key}  identity.key")
    print(f"{made.ca}  identity.ca")
    if not host:
        print("without --host: no other node can use it as its parent", file=sys.stderr)


@app.command("revoke")
def revoke(directory: Directory, name: Name, namespace: Namespace = "default") -> None:
    """Refuse every certificate ever issued to a node, for good; nodes notice once they have the new ca.crl."""
    from twingateway.pki.authority import revoke as withdraw

    done = withdraw(directory, name, namespace=namespace)
    plural = "certificate" if done.certificates == 1 else "certificates"
    print(f"{done.certificates} {plural} of {done.name} revoked")
    print(f"{done.revocations}  copy it to every node that others connect to, as its identity.crl")
