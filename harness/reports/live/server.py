"""A small server for `harness view`: the files of one folder, and pages of runs, for this machine alone."""

import os
import threading
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, unquote, urlsplit

from harness.errors import HarnessError, SpecError
from harness.reports.live.page import live_page, overview_page
from harness.reports.live.state import LiveReader, LiveRun
from harness.runs.directory import RunDirectory

HOST = "127.0.0.1"
# What files of a run, a report or a board are; anything else is offered as a download, which no browser runs.
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".jsonl": "text/plain; charset=utf-8",
    ".csv": "text/plain; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".tex": "text/plain; charset=utf-8",
    ".bib": "text/plain; charset=utf-8",
    ".md": "text/plain; charset=utf-8",
    ".log": "text/plain; charset=utf-8",
    ".yaml": "text/plain; charset=utf-8",
    ".png": "image/png",
    ".jpg": "image/jpeg",
}
# On top of the policy of each page: whatever a page of a folder of unknown origin runs, it reaches no other host.
POLICY = "default-src 'self' data: blob: 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
# Threads of requests at a time; a browser opens six connections.
MOST_REQUESTS = 32
CHUNK = 1 << 20
LIVE = "live.html"  # the page of a run, whatever files it has


class Server(ThreadingHTTPServer):
    """Serves a folder on 127.0.0.1.

    Attributes:
        folder: The folder, resolved; nothing outside of it is read, through links either.
    """

    daemon_threads = True
    # Two commands on one port would take each other's requests.
    allow_reuse_port = False

    def __init__(self, folder: Path, port: int = 0) -> None:
        """Bind to `port`, 0 for a free one.

        Raises:
            SpecError: There is no such folder, or the port is taken.
        """
        if not folder.is_dir():
            raise SpecError(f"{folder}: expected a run directory or another folder, found {_kind(folder)}")
        self.folder = folder.resolve()
        self.readers: dict[Path, tuple[LiveReader, threading.Lock]] = {}
        self.slots = threading.BoundedSemaphore(MOST_REQUESTS)
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            raise SpecError(f"--port {port}: {error.strerror}; name another, or none for a free one") from error

    @property
    def url(self) -> str:
        """The address of the first page."""
        return f"http://{HOST}:{self.server_port}/"

    def locate(self, path: str) -> Path | None:
        """Return the file or folder of an address; None for one outside of the folder.

        Args:
            path: The path of the address, percent-encoded.
        """
        words = unquote(path, errors="surrogateescape")
        if "\0" in words or "\\" in words:
            return None
        try:
            found = (self.folder / words.lstrip("/")).resolve()
        except (OSError, ValueError):  # a loop of links
            return None
        return found if found.is_relative_to(self.folder) else None

    def read_run(self, folder: Path) -> LiveRun | None:
        """Return the run in a folder as it is now; None if there is none."""
        if not RunDirectory(folder).run_path.is_file():
            return None
        reader, lock = self.readers.setdefault(folder, (LiveReader(RunDirectory(folder)), threading.Lock()))
        with lock:
            return reader.read()

    def first_page(self, folder: Path) -> tuple[str | None, str]:
        """Return (where to go, page) for the address of a folder: one of the two is empty.

        A page of the folder's own comes first, then the report of a finished run, then the page of a run, and last a
        list of the runs and pages in it.
        """
        if (folder / "index.html").is_file():
            return "index.html", ""
        run = self.read_run(folder)
        # The report of a run that was resumed is of an earlier session.
        if run is not None and not (run.is_over and run.report is not None):
            return None, live_page(run)
        report = RunDirectory(folder).report_path
        return (report.name, "") if report.is_file() else (None, overview_page(folder, _places(folder)))


def _kind(path: Path) -> str:
    return "a file" if path.is_file() else "nothing"


def _places(folder: Path) -> Sequence[tuple[str, str]]:
    """Return (name, address) of the runs and pages directly in a folder."""
    found = []
    for path in sorted(folder.iterdir()):
        if path.is_symlink() or path.name.startswith("."):
            continue
        if path.is_dir() and (RunDirectory(path).run_path.is_file() or (path / "index.html").is_file()):
            found.append((path.name, f"{quote(path.name)}/"))
        elif path.suffix == ".html":
            found.append((path.name, quote(path.name)))
    return found


class _Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD; every other method gets 501 from the base class."""

    server: Server
    server_version = "medground"
    sys_version = ""
    timeout = 30.0  # of a connection that says nothing

    def do_GET(self) -> None:
        with self.server.slots:
            self._answer(with_body=True)

    def do_HEAD(self) -> None:
        with self.server.slots:
            self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        # A page of another site may resolve its own name to 127.0.0.1 and would then read what only this user may.
        host = self.headers.get("Host", "")
        if host not in (f"{HOST}:{self.server.server_port}", f"localhost:{self.server.server_port}"):
            self._refuse(HTTPStatus.FORBIDDEN)
            return
        path = urlsplit(self.path).path
        found = self.server.locate(path)
        try:
            if found is not None and found.name == LIVE and not found.exists():
                run = self.server.read_run(found.parent)
                self._page(None if run is None else live_page(run), with_body=with_body)
            elif found is None or not found.exists():
                self._refuse(HTTPStatus.NOT_FOUND)
            elif found.is_dir():
                self._folder(path, found, with_body=with_body)
            elif found.is_file():
                self._file(found, with_body=with_body)
            else:
                self._refuse(HTTPStatus.NOT_FOUND)
        except (HarnessError, OSError):
            self._refuse(HTTPStatus.NOT_FOUND)

    def _folder(self, path: str, folder: Path, *, with_body: bool) -> None:
        if not path.endswith("/"):
            # Of the last part alone: an address that begins with two slashes would lead to another host.
            self._move(f"{quote(folder.name)}/")
            return
        target, page = self.server.first_page(folder)
        if target is not None:
            self._move(quote(target))
        else:
            self._page(page, with_body=with_body)

    def _move(self, target: str) -> None:
        self.send_response(HTTPStatus.FOUND)
        self.send_header("Location", target)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _page(self, page: str | None, *, with_body: bool) -> None:
        if page is None:
            self._refuse(HTTPStatus.NOT_FOUND)
            return
        content = page.encode(errors="replace")
        self._head(TYPES[".html"], len(content))
        if with_body:
            self.wfile.write(content)

    def _file(self, path: Path, *, with_body: bool) -> None:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            self._head(TYPES.get(path.suffix.lower(), "application/octet-stream"), size)
            if with_body:
                self._copy(file, size)

    def _copy(self, file: BinaryIO, size: int) -> None:
        # No more than was promised: a file of a run in progress grows.
        while size > 0 and (part := file.read(min(CHUNK, size))):
            self.wfile.write(part)
            size -= len(part)

    def _head(self, kind: str, size: int) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(size))
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()

    def _refuse(self, status: HTTPStatus) -> None:
        self.send_error(status, explain="This server shows the files of one folder to this machine.")

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: the terminal shows the address, and requests are those of its user."""
