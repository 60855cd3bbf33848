"""The demo's vendor service: `python -m twingateway.demo.http_site --port 0 --seed 1`.

A charging station and a heat pump that are polled and can be set, and a weather station that pushes to a webhook;
their values move every 300 ms. Every document carries `ts`, the Unix milliseconds of its last change, and an ETag.
The first line on stdout is `{"ready": true, "port": N}`. Commands come on stdin, one a line, each answered by one
JSON line; the process ends with `quit` or the end of stdin:

webhooks URL SECRET   push there from now on, signed with SECRET (`-` for none): `{"pushing": true}`
freeze                nothing moves from now on, and what was to be pushed has been: `{"frozen": true}`, or false if
                      the webhook does not take it. Clients can still write.
corrupt DEVICE        the device lies to every request with the header `X-Truth: 1` (`{"corrupted": DEVICE}`): one of
                      its values is shown otherwise. The gateway sends no such header and goes on seeing the true
                      value; a check that does sees another one, as if the device had changed behind the gateway.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import hashlib
import json
import random
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from twingateway.demo.console import obey, say
from twingateway.demo.http_machines import MACHINES, PUSHED, Document, Machine
from twingateway.demo.http_pusher import Pusher

#: Seconds between two steps of the devices.
INTERVAL = 0.3
#: Seconds that `freeze` waits for the last push.
FLUSH = 5.0
#: Largest body of a write, in bytes.
MAX_BODY = 64 * 1024


class HttpSite:
    """The devices, the documents they show, and what is pushed of them."""

    def __init__(self, seed: int) -> None:
        chance = random.Random(seed)
        self._machines: dict[str, Machine] = {machine.name: machine(chance) for machine in MACHINES}
        self._lock = threading.Lock()
        self._documents: dict[str, Document] = {}
        self._corrupted: set[str] = set()
        self._frozen = threading.Event()
        self.pusher = Pusher()
        self._publish()

    def move(self) -> None:
        """Step every `INTERVAL` until frozen."""
        due = time.monotonic()
        while True:
            due = max(due + INTERVAL, time.monotonic())
            if self._frozen.wait(due - time.monotonic()):
                return
            with self._lock:
                if self._frozen.is_set():
                    return
                for machine in self._machines.values():
                    machine.step(INTERVAL)
                self._publish()

    def _publish(self) -> None:
        now = time.time_ns() // 1_000_000
        for machine in self._machines.values():
            for path, members in machine.documents().items():
                if self._documents.get(path, {}) | {"ts": 0} != members | {"ts": 0}:
                    self._documents[path] = members | {"ts": now}
                    if path == PUSHED:
                        self.pusher.offer(self._documents[path])

    def machine_of(self, path: str) -> Machine | None:
        return self._machines.get(path.strip("/").partition("/")[0])

    def show(self, path: str, *, truth: bool) -> bytes | None:
        """The document at `path`, if there is one; `truth`: as a check sees it."""
        with self._lock:
            document = self._documents.get(path)
            if document is None:
                return None
            machine = self.machine_of(path)
            if truth and machine is not None and machine.name in self._corrupted:
                document = _lie(machine, path, document)
            return json.dumps(document).encode()

    def set(self, method: str, path: str, members: Document) -> bool:
        """Carry out a write; False if nothing can be set there. Raises ValueError when the device refuses."""
        with self._lock:
            machine = self.machine_of(path)
            setter = None if machine is None else machine.setters().get((method, path))
            if setter is None:
                return False
            setter(members)
            self._publish()
            return True

    def command(self, line: str) -> dict[str, Any]:
        """Carry out one line of stdin → the answer."""
        match line.split():
            case ["webhooks", url, secret]:
                self.pusher.aim(url, "" if secret == "-" else secret)
                return {"pushing": True}
            case ["freeze"]:
                with self._lock:
                    self._frozen.set()
                return {"frozen": self.pusher.flush(FLUSH)}
            case ["corrupt", name] if name in self._machines:
                self._corrupted.add(name)
                return {"corrupted": name}
        return {"error": f"no command: webhooks URL SECRET, freeze, corrupt {{{','.join(self._machines)}}}, quit"}


def _lie(machine: Machine, path: str, document: Document) -> Document:
    where, (*parents, last), change = machine.lie
    shown = copy.deepcopy(document)
    if path == where:
        place = shown
        for parent in parents:
            place = place[parent]
        place[last] += change
    return shown


class _Handler(BaseHTTPRequestHandler):
    """One connection; answers GET with documents and everything else as a write."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    site: HttpSite

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if not self._may(parts.path):
            return
        body = self.site.show(parts.path, truth=self.headers.get("X-Truth") == "1")
        if body is None:
            self._answer(404, {"error": f"nothing at {parts.path}"})
            return
        tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        if self.headers.get("If-None-Match") == tag:
            self._send(304, b"", tag)
        else:
            self._send(200, body, tag)

    def do_PUT(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        if size > MAX_BODY:
            self.close_connection = True
            self._answer(413, {"error": "too large"})
            return
        body = self.rfile.read(size)
        parts = urlsplit(self.path)
        if not self._may(parts.path):
            return
        try:
            members: Any = json.loads(body) if body else {}
            if not isinstance(members, dict):
                raise ValueError("the body is an object")
            known = self.site.set(self.command, parts.path, dict(parse_qsl(parts.query)) | members)
        except ValueError as error:
            self._answer(422, {"error": {"code": "invalid", "message": str(error)}})
            return
        if known:
            self._send(204, b"")
        else:
            self._answer(405, {"error": f"{self.command} {parts.path} sets nothing"})

    do_POST = do_PATCH = do_PUT

    def _may(self, path: str) -> bool:
        machine = self.site.machine_of(path)
        if machine is None or self.headers.get("Authorization", "") == machine.authorization:
            return True
        self._answer(401, {"error": "who are you?"})
        return False

    def _answer(self, status: int, document: Document) -> None:
        self._send(status, json.dumps(document).encode())

    def _send(self, status: int, body: bytes, tag: str = "") -> None:
        self.send_response(status)
        if tag:
            self.send_header("ETag", tag)
        if status not in (204, 304):
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """The demo's own output is on stdout."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


def serve(port: int, seed: int, url: str | None, secret: str) -> None:
    """Run until `quit` or the end of stdin."""
    site = HttpSite(seed)
    if url is not None:
        site.pusher.aim(url, secret)
    server = _Server(("127.0.0.1", port), type("Handler", (_Handler,), {"site": site}))
    for work in (server.serve_forever, site.move, site.pusher.run):
        threading.Thread(target=work, daemon=True).start()
    say({"ready": True, "port": server.server_address[1]})
    obey(site.command)
    server.shutdown()
    server.server_close()


def main() -> None:
    parser = argparse.ArgumentParser(description="A vendor's HTTP service with three devices, for the demo.")
    parser.add_argument("--port", type=int, default=0, help="TCP port on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--seed", type=int, default=1, help="same seed, same weather")
    parser.add_argument("--webhook-url", help="where the weather station pushes to, from the start")
    parser.add_argument("--webhook-secret", default="", help="the secret that its pushes are signed with")
    arguments = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        serve(arguments.port, arguments.seed, arguments.webhook_url, arguments.webhook_secret)


if __name__ == "__main__":
    main()
