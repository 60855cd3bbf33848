"""Lays out what two nodes need in one folder: certificates, node files, and the documents of the demo's devices."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

from twingateway.demo.documents import DemoDevice, read_documents
from twingateway.pki.authority import create_authority, issue

CLOUD, EDGE = "cloud-1", "edge-1"
#: What the weather service signs its webhooks with.
SECRET = "demo-webhook-secret"

_CLOUD_FILE = """\
node: {{name: {name}}}
identity: {{certificate: pki/{name}.crt, key: pki/{name}.key, ca: pki/ca.crt}}
listen: {{address: "127.0.0.1:0"}}
api: {{address: "127.0.0.1:{api}"}}
models: ["models/*.yaml"]
log: {{format: json}}
"""
_EDGE_FILE = """\
node: {{name: {name}}}
identity: {{certificate: pki/{name}.crt, key: pki/{name}.key, ca: pki/ca.crt}}
uplink: {{url: "quic://127.0.0.1:{uplink}", keep_alive: 10s}}
api: {{address: "127.0.0.1:0"}}
broker: {{listen: "127.0.0.1:0"}}
webhooks: {{address: "127.0.0.1:0", secret: {secret}}}
adapters: {{modbus: {{}}, mqtt: {{}}, http: {{}}}}
devices: ["devices/*.yaml"]
models: ["models/*.yaml"]
log: {{format: json}}
"""


@dataclass(frozen=True, slots=True)
class Site:
    """`devices` are those of the documents, by name."""

    folder: Path
    devices: list[DemoDevice]

    def write_cloud(self, api: int = 0) -> Path:
        """The cloud's node file; `api` is the TCP port of its HTTP API, 0 for any."""
        return self._write(CLOUD, _CLOUD_FILE.format(name=CLOUD, api=api))

    def write_edge(self, uplink: int) -> Path:
        """The edge's node file; `uplink` is the UDP port on which it reaches its parent."""
        return self._write(EDGE, _EDGE_FILE.format(name=EDGE, uplink=uplink, secret=SECRET))

    def _write(self, name: str, text: str) -> Path:
        file = self.folder / f"{name}.yaml"
        file.write_text(text)
        return file


def lay_out(folder: Path) -> Site:
    """Make certificates for both nodes and copy the documents into `folder`."""
    pki = folder / "pki"
    create_authority(pki, name="twingateway demo")
    for name in (CLOUD, EDGE):
        issue(pki, name, hosts=["127.0.0.1"], days=2)
    with as_file(files("twingateway.demo") / "site") as documents:
        for part in ("devices", "models"):
            shutil.copytree(documents / part, folder / part)
    return Site(folder, read_documents(folder / "devices"))
