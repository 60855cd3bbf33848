"""Posts the newest state of a device to a webhook, signed, until it is taken; state is not a stream, so what was
overtaken while the webhook did not answer is not sent."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import http.client
import json
import threading
import time
from typing import Any
from urllib.parse import urlsplit

#: Seconds before a push that was not taken is tried again.
RETRY = 0.3
#: Seconds after which the state is pushed again though nothing changed, as a sign of life.
HEARTBEAT = 2.0
TIMEOUT = 2.0


class Pusher:
    """`run` in a thread of its own; everything else from any thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._state: dict[str, Any] = {}
        self._wanted = 0
        self._taken = 0
        self._target: tuple[str, str] | None = None
        self._connection: http.client.HTTPConnection | None = None

    def offer(self, state: dict[str, Any]) -> None:
        """The state to be pushed."""
        with self._changed:
            self._state, self._wanted = state, self._wanted + 1
            self._changed.notify_all()

    def aim(self, url: str, secret: str) -> None:
        """Push there, the whole state first; an empty secret signs nothing."""
        with self._changed:
            self._target = (url, secret)
            self._wanted += 1
            self._changed.notify_all()

    def flush(self, timeout: float) -> bool:
        """Wait until the newest state was taken; True at once when there is nowhere to push."""
        with self._changed:
            return self._changed.wait_for(lambda: self._target is None or self._taken == self._wanted, timeout)

    def run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(self._is_due, HEARTBEAT)
                target, state, wanted = self._target, self._state, self._wanted
            if target is None:
                continue
            if self._post(*target, state):
                with self._changed:
                    self._taken = wanted
                    self._changed.notify_all()
            else:
                time.sleep(RETRY)

    def _is_due(self) -> bool:
        return self._target is not None and self._taken != self._wanted

    def _post(self, url: str, secret: str, state: dict[str, Any]) -> bool:
        parts = urlsplit(url)
        body = json.dumps(state).encode()
        headers = {"Content-Type": "application/json"}
        if secret:
            headers["X-Signature-256"] = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        connection = self._connect(parts.hostname or "", parts.port or 80)
        try:
            connection.request("POST", parts.path, body, headers)
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            self._hang_up()
            return False
        return 200 <= answer.status <= 299

    def _connect(self, host: str, port: int) -> http.client.HTTPConnection:
        if self._connection is None or (self._connection.host, self._connection.port) != (host, port):
            self._hang_up()
            self._connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT)
        return self._connection

    def _hang_up(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.close()
            self._connection = None
