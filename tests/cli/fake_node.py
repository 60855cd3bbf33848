"""A local HTTP server that plays a node's API: canned answers, and what it was asked."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: Any


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    content_type: str


class FakeNode:
    """`answers` for one method and path are given in turn; the last one stays."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self._answers: dict[tuple[str, str], list[Answer]] = {}
        node = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                node._respond(self)

            do_PUT = do_PATCH = do_DELETE = do_POST = do_GET

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, method: str, path: str, body: Any, status: int = 200) -> None:
        self.answer_bytes(method, path, json.dumps(body).encode(), "application/json", status)

    def problem(self, method: str, path: str, status: int, title: str, detail: str, **extra: Any) -> None:
        """As `twingateway.api.problems` writes it (RFC 9457)."""
        body = {"type": "about:blank", "title": title, "status": status, "detail": detail, **extra}
        self.answer_bytes(method, path, json.dumps(body).encode(), "application/problem+json", status)

    def answer_bytes(self, method: str, path: str, body: bytes, content_type: str, status: int = 200) -> None:
        self._answers.setdefault((method, path), []).append(Answer(status, body, content_type))

    def _respond(self, handler: BaseHTTPRequestHandler) -> None:
        url = urlsplit(handler.path)
        length = int(handler.headers.get("content-length") or 0)
        body = json.loads(handler.rfile.read(length)) if length else None
        headers = {name.lower(): value for name, value in handler.headers.items()}
        self.asked.append(Asked(handler.command, url.path, parse_qs(url.query), headers, body))
        answers = self._answers.get((handler.command, url.path), [])
        missing = Answer(
            404, b'{"title": "Not Found", "status": 404, "detail": "no route"}', "application/problem+json"
        )
        answer = missing if not answers else answers.pop(0) if len(answers) > 1 else answers[0]
        handler.send_response(answer.status)
        handler.send_header("Content-Type", answer.content_type)
        handler.end_headers()
        handler.wfile.write(answer.body)


def twin(name: str, *, state: str = "online", ack: dict[str, Any] | None = None, **reported: Any) -> dict[str, Any]:
    """A DeviceTwin with status as `GET /twins/{name}` gives it; `ack` is that of the desired property `setpoint`."""
    desired = {} if ack is None else {"setpoint": 21.5}
    return {
        "apiVersion": "edge.iot.org/v1",
        "kind": "DeviceTwin",
        "metadata": {"name": name},
        "spec": {"model": "hvac@1", "desiredProperties": desired, "reportedProperties": reported},
        "status": {
            "presence": {"state": state, "since": 1700000000000},
            "properties": {
                "reported": {each: {"version": "1.1.5", "time": 1700000000000} for each in reported},
                "desired": {each: {"version": "1.1.6", "time": 1700000000000, "ack": ack} for each in desired},
            },
            "holder": "edge-1",
        },
    }
