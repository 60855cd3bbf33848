"""A headless Chromium, told what to do over pipes (the DevTools protocol): what a page is and does, in a real one."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.fair_time import PATIENCE

PROGRAM = shutil.which("chromium")
#: As root it runs without its sandbox; what it shows here is ours.
_OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-extensions", "--disable-quic"),
    *("--no-proxy-server", "--remote-debugging-pipe"),
)
#: It reads what it is told from descriptor 3 and answers on 4: this puts those named there, and becomes it.
_PLACE = """
import fcntl, os, sys
told, said = (fcntl.fcntl(int(each), fcntl.F_DUPFD, 9) for each in sys.argv[1:3])
os.dup2(told, 3)
os.dup2(said, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Browser:
    """One call at a time, from any thread."""

    def __init__(self, tell: int, hear: int) -> None:
        self._tell = tell
        self._hear = hear
        self._heard = b""
        self._calls = 0
        self.problems: list[str] = []
        """What pages threw, and what their policies refused."""

    def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """The answer; what is told meanwhile is noted if it is a problem."""
        self._calls += 1
        message = {"id": self._calls, "method": method, "params": params} | (
            {"sessionId": session} if session else {}
        )
        os.write(self._tell, json.dumps(message).encode() + b"\0")
        while True:
            said = self._next()
            if said.get("id") == self._calls:
                assert "error" not in said, said
                result: dict[str, Any] = said["result"]
                return result
            self._note(said.get("method"), said.get("params", {}))

    def open(self, url: str) -> Page:
        """In a profile of its own; once it is there whole."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Runtime", "Log", "Page"):
            self.call(f"{domain}.enable", session)
        self.call("Page.navigate", session, url=url)
        page, due = Page(self, session), time.monotonic() + PATIENCE
        while page.value("location.href === 'about:blank' || document.readyState !== 'complete'"):
            assert time.monotonic() < due, f"{url} does not come"
            time.sleep(0.01)
        return page

    def _next(self) -> dict[str, Any]:
        due = time.monotonic() + PATIENCE
        while b"\0" not in self._heard:
            ready, _, _ = select.select([self._hear], [], [], max(0.0, due - time.monotonic()))
            piece = os.read(self._hear, 1 << 16) if ready else b""
            assert piece, "the browser has ended, or hangs"
            self._heard += piece
        message, _, self._heard = self._heard.partition(b"\0")
        said: dict[str, Any] = json.loads(message)
        return said

    def _note(self, event: str | None, params: dict[str, Any]) -> None:
        if event == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.problems.append(details.get("exception", {}).get("description") or details["text"])
        elif event == "Log.entryAdded" and params["entry"]["source"] in ("security", "javascript", "violation"):
            self.problems.append(params["entry"]["text"])


class Page:
    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session

    def value(self, script: str) -> Any:
        """What an expression comes to, as JSON."""
        asked = {"expression": script, "returnByValue": True, "awaitPromise": True}
        answer = self._browser.call("Runtime.evaluate", self._session, **asked)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """Keeps its profile in `folder`."""
    assert PROGRAM is not None
    told, tell = os.pipe()
    hear, said = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", _PLACE, str(told), str(said), PROGRAM, *_OPTIONS, f"--user-data-dir={folder}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(told, said),
    )
    os.close(told)
    os.close(said)
    try:
        chromium = Browser(tell, hear)
        yield chromium
        chromium.call("Browser.close")
        process.wait(PATIENCE)
    finally:
        process.kill()
        process.wait()
        os.close(tell)
        os.close(hear)
