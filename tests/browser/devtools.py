"""Headless Chromium driven over its devtools protocol: one launch, any number of pages, widths and colour schemes."""

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PATIENCE = 120.0  # seconds for one answer on a busy machine
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",  # a phone's take no width
    "--remote-debugging-pipe",
)


class Tab:
    """One page of the browser.

    Attributes:
        requested: Addresses that the pages opened so far asked for.
        messages: What was written to their console, and exceptions of their scripts.
    """

    def __init__(self, read: int, write: int) -> None:
        self._read, self._write = read, write
        self._rest = b""
        self._count = 0
        self._loaded = False
        self.requested: list[str] = []
        self.messages: list[str] = []
        target = self.call("Target.createTarget", {"url": "about:blank"}, session="")["targetId"]
        self._session = ""
        self._session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable", {})

    def call(self, method: str, params: dict[str, Any], session: str | None = None) -> dict[str, Any]:
        """Send a command and return its result; events that come meanwhile are noted."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        session = getattr(self, "_session", "") if session is None else session
        if session:
            message["sessionId"] = session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._count:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: dict[str, Any] = answer["result"]
                return result

    def _next(self) -> dict[str, Any]:
        """Return the next message of the browser, an event or an answer."""
        while b"\0" not in self._rest:
            part = os.read(self._read, 2**20)
            assert part, "the browser is gone"
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        params = message.get("params", {})
        match message.get("method"):
            case "Network.requestWillBeSent":
                self.requested.append(params["request"]["url"])
            case "Page.loadEventFired":
                self._loaded = True
            case "Runtime.exceptionThrown":
                self.messages.append(json.dumps(params["exceptionDetails"]))
            case "Log.entryAdded":
                self.messages.append(params["entry"]["text"])
            case "Runtime.consoleAPICalled":
                self.messages.append(json.dumps(params["args"]))
        return message

    def resize(self, width: int, scheme: str) -> None:
        """Set the width of the window in CSS pixels and the colour scheme, `light` or `dark`."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", size)
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        self.call("Emulation.setEmulatedMedia", {"features": features})

    def open(self, page: Path, fragment: str = "") -> None:
        """Open a file and wait until it is loaded."""
        # By way of an empty page, since a new fragment alone loads nothing.
        for address in ("about:blank", page.as_uri() + (f"#{fragment}" if fragment else "")):
            self._loaded = False
            found = self.call("Page.navigate", {"url": address})
            assert "errorText" not in found, f"{page}: {found['errorText']}"
            while not self._loaded:
                self._next()

    def value(self, expression: str) -> Any:
        """Return the value of a JavaScript expression, of a promise when it is kept; no policy of a page stops it."""
        params = {"expression": expression, "awaitPromise": True, "returnByValue": True}
        found = self.call("Runtime.evaluate", params)
        assert "exceptionDetails" not in found, json.dumps(found["exceptionDetails"])[:2000]
        return found["result"].get("value")

    def wait_for(self, expression: str) -> Any:
        """Return the value of an expression as soon as it is true."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if value := self.value(expression):
                return value
            time.sleep(0.05)
        raise AssertionError(f"never true: {expression}; {self.messages[-3:]}")


@contextlib.contextmanager
def browser_tab(chromium: str, profile: Path) -> Iterator[Tab]:
    """Yield a tab of a new browser, which is closed at the end.

    Args:
        chromium: The command.
        profile: Folder for its profile.
    """
    to_browser, from_test = os.pipe()
    to_test, from_browser = os.pipe()
    # The browser takes commands from descriptor 3 and answers on 4; a shell puts the pipes there.
    shell = f'exec "$@" 3<&{to_browser} 4>&{from_browser}'
    command = ["bash", "-c", shell, "bash", chromium, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(
        command, pass_fds=(to_browser, from_browser), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    os.close(to_browser)
    os.close(from_browser)
    try:
        yield Tab(to_test, from_test)
    finally:
        for descriptor in (from_test, to_test):
            os.close(descriptor)
        process.terminate()
        process.wait(timeout=PATIENCE)
