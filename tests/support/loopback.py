"""An OpenAI-compatible server on this machine that answers as a test tells it to, and counts."""

import contextlib
import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One HTTP answer.

    Attributes:
        status, headers, body: As they are sent; a body that is no text is sent as JSON.
        wait: Seconds before anything is sent.
        cut: Bytes of the body after which the connection is closed, though the header promises all of it.
        drop: Close the connection without an answer.
    """

    status: int = 200
    body: Any = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    wait: float = 0.0
    cut: int | None = None
    drop: bool = False


@dataclass(slots=True)
class Asked:
    """One call that arrived: its path, headers and body."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def question(self) -> str:
        """The words of the last turn, or the prompt of a completion."""
        if "prompt" in self.body:
            return str(self.body["prompt"])
        content = self.body["messages"][-1]["content"]
        return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


@dataclass(slots=True)
class Loopback:
    """The server.

    Attributes:
        say: Returns the answer to a call; the number counts the calls from 0.
        asked: The calls, in the order of their arrival.
        most: The most calls that were in work at one time.
    """

    say: Callable[[Asked, int], Said]
    asked: list[Asked] = field(default_factory=list)
    most: int = 0
    port: int = 0
    _now: int = 0
    _turn: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://127.0.0.1:{self.port}/v1"

    def take(self, call: Asked) -> Said:
        """Count a call and return what is said."""
        with self._turn:
            number = len(self.asked)
            self.asked.append(call)
            self._now += 1
            self.most = max(self.most, self._now)
        said = self.say(call, number)
        # In pieces, so that the test's end need not wait for a long silence.
        end = time.monotonic() + said.wait
        while time.monotonic() < end and self.port:
            time.sleep(min(0.02, said.wait))
        with self._turn:
            self._now -= 1
        return said


def reply(text: Any = "yes", **fields: Any) -> dict[str, Any]:
    """Return the body of a chat completion of 9 tokens read and 1 written."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}
    return {"id": "x", "object": "chat.completion", "model": "m", "choices": [choice], "usage": usage, **fields}


@contextlib.contextmanager
def serving(say: Callable[[Asked, int], Said] | Said | None = None) -> Iterator[Loopback]:
    """Yield a server that is running; without an argument it says yes to everything."""
    fixed = Said(body=reply()) if say is None else say
    server = Loopback(fixed if callable(fixed) else lambda *_: fixed)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *arguments: Any) -> None:
            """Print nothing."""

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            said = server.take(Asked(self.path, {name.title(): value for name, value in self.headers.items()}, body))
            if said.drop:
                self.close_connection = True
                return
            raw = (
                said.body
                if isinstance(said.body, bytes)
                else said.body.encode()
                if isinstance(said.body, str)
                else None
            )
            raw = json.dumps(said.body).encode() if raw is None else raw
            self.send_response(said.status)
            for name, value in {"Content-Type": "application/json", **said.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(raw[: said.cut])
            self.close_connection = said.cut is not None

        do_GET = do_POST  # noqa: N815 - as above

    http_server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http_server.daemon_threads = True
    server.port = http_server.server_port
    thread = threading.Thread(target=lambda: http_server.serve_forever(poll_interval=0.01), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.port = 0
        http_server.shutdown()
        http_server.server_close()
        thread.join()
