"""The process that a model runs in: started, asked line by line, and ended with whoever asked."""

import contextlib
import math
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.errors import ModelError
from harness.models.secrets import masked
from harness.paths import without_home

SUPERVISOR = Path(__file__).with_name("supervisor.py")
# The longest line that is read. It answers a batch: 64 masks of a large CT as run lengths are about as long, and
# parsed JSON takes ten times its memory.
MOST_LINE_BYTES = 64 * 2**20
# Text on stdout that is not JSON, between two lines that are: enough for the banners and warnings of libraries.
MOST_PRINTED_BYTES = 2**20
# A line that begins as JSON is meant for us, also behind the byte order mark of some runtimes, or where JSON over
# several lines begins, for which nobody should wait in vain. What begins otherwise, such as `{'loss': 0.3}`, is
# some library's print.
BEGINS_AS_JSON = re.compile(rb'(?:\xef\xbb\xbf)?\s*(?:\{\s*(?:["}]|\Z)|\[\s*(?:\{|\Z))')
READ_BYTES = 2**16
# Between closing stdin and SIGTERM, for a model that writes something before it ends.
SECONDS_TO_END = 1.0
# The supervisor needs less after its SIGTERM.
SECONDS_TO_BE_ENDED = 3.0
# Of each of the two files, the running one and the one before it.
MOST_LOG_BYTES = 512 * 1024
MOST_LOG_LINE = 8192
LAST_LINES = 8
MOST_LAST_WORDS = 2000


class EndedError(ModelError):
    """Raised when the process ended, or closed its stdout, where a line was expected."""


class LateError(ModelError):
    """Raised when no line came in time."""


class OutOfStepError(ModelError):
    """Raised when what came is no line of the protocol, so that what follows cannot be trusted either."""


class ErrorLog:
    """What a model's processes write to stderr, or print beside the protocol: the last lines, and two files at most.

    Args:
        path: The running file; at MOST_LOG_BYTES it is renamed to `<path>.1`. None keeps the last lines only.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.last: deque[str] = deque(maxlen=LAST_LINES)
        self._turn = threading.Lock()

    def add(self, line: bytes) -> None:
        """Keep one line, well-known keys masked and the user's home written as `~`."""
        text = without_home(masked(line[:MOST_LOG_LINE].decode("utf-8", "backslashreplace").rstrip(), ()))
        if text:
            with self._turn:
                self.last.append(text)
                self._write(text)

    def note(self, words: str) -> None:
        """Write a line of our own; the last words begin anew, with those of the process that is started next."""
        with self._turn:
            self.last.clear()
            self._write(f"harness: {words}")

    def _write(self, text: str) -> None:
        if self.path is not None:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                if self.path.exists() and self.path.stat().st_size > MOST_LOG_BYTES:
                    self.path.replace(self.path.with_name(f"{self.path.name}.1"))
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(f"{text}\n")
            except OSError:  # a full disk must cost the log, not an answer
                self.path = None

    def last_words(self) -> str:
        """Return the last lines in one, as the end of a message; empty if there are none."""
        with self._turn:
            words = " | ".join(self.last)
        return f"; its last words: {words[-MOST_LAST_WORDS:]}" if words else ""

    def drain(self, stream: int) -> None:
        """Keep every line of a pipe until it is closed; carriage returns of progress bars end a line, too."""
        rest = b""
        with contextlib.suppress(OSError):
            while block := os.read(stream, READ_BYTES):
                *lines, rest = re.split(rb"[\r\n]+", rest + block)
                for line in lines:
                    self.add(line)
                rest = rest[-MOST_LOG_LINE:]
        self.add(rest)
        os.close(stream)


class Child:
    """One running process.

    Args:
        words: The program and its arguments.
        environment: Variables in addition to those of this process.
        log: Where its stderr goes.
    Raises:
        ModelError: It cannot be started.
    """

    def __init__(self, words: Sequence[str], environment: Mapping[str, str], log: ErrorLog) -> None:
        self.log = log
        self.in_step = True
        self.answers = 0
        self._read, self._searched = bytearray(), 0
        held, self._lifeline = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(SUPERVISOR), str(held), *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env={**os.environ, **environment},
                pass_fds=(held,),
                # Ctrl-C in a terminal is for the run, which ends its model itself.
                start_new_session=True,
            )
        except (OSError, ValueError) as error:  # ValueError: a null character in a word
            os.close(self._lifeline)
            raise ModelError(f"the process cannot be started: {error}") from error
        finally:
            os.close(held)
        stdin, stdout, stderr = self._process.stdin, self._process.stdout, self._process.stderr
        assert stdin is not None
        assert stdout is not None
        assert stderr is not None
        self._stdin, self._stdout = stdin, stdout
        os.set_blocking(stdin.fileno(), False)
        os.set_blocking(stdout.fileno(), False)
        self._errors = threading.Thread(
            target=log.drain, args=(os.dup(stderr.fileno()),), name="stderr of the model", daemon=True
        )
        stderr.close()
        self._errors.start()

    def exchange(self, content: bytes, seconds: float | None) -> bytes:
        """Write a line, or nothing, and return the next line that begins as JSON.

        Both at once: a process may answer before it has read all, and either pipe holds 64 KiB only.

        Args:
            content: The line with its end; empty to write nothing.
            seconds: Time for it; None: any.
        Raises:
            EndedError: The process ended, or closed its stdout.
            LateError: Time is up.
            OutOfStepError: A line is too long, or too much other text was printed.
        """
        self.in_step = False  # until the answer is here: an interruption may come at any moment
        end = math.inf if seconds is None else time.monotonic() + seconds
        rest, printed = memoryview(content), 0
        poll = select.poll()
        poll.register(self._stdout, select.POLLIN)
        if rest:
            poll.register(self._stdin, select.POLLOUT)
        while True:
            while not rest and (line := self._next_line()) is not None:
                if BEGINS_AS_JSON.match(line):
                    self.in_step = True
                    self.answers += 1
                    return line
                printed += len(line)
                self.log.add(line)
                if printed > MOST_PRINTED_BYTES:
                    shown = line[:80].decode("utf-8", "backslashreplace").strip()
                    raise OutOfStepError(
                        f"the process printed more than {MOST_PRINTED_BYTES:,} bytes of text on stdout where a line of "
                        f"JSON was expected, such as {shown!r}; stdout is for answers, print to stderr"
                    )
            left = end - time.monotonic()
            if left <= 0:
                raise LateError(f"no line within {seconds:g} s{self.log.last_words()}")
            for descriptor, event in poll.poll(None if math.isinf(left) else left * 1000 + 1):
                if descriptor == self._stdout.fileno():
                    block = os.read(descriptor, 1 << 20)
                    if not block:
                        raise EndedError(self.ended_how())
                    self._read += block
                    if len(self._read) > MOST_LINE_BYTES and self._read.find(b"\n", self._searched) < 0:
                        raise OutOfStepError(
                            f"a line of the process is longer than {MOST_LINE_BYTES:,} bytes; expected one line of "
                            "JSON for each batch. Write masks to files and give their paths"
                        )
                elif event & (select.POLLERR | select.POLLHUP):
                    rest = rest[:0]  # it reads no more; its last words may still be in the other pipe
                    poll.unregister(descriptor)
                else:
                    with contextlib.suppress(BlockingIOError, BrokenPipeError):
                        rest = rest[os.write(descriptor, rest[:READ_BYTES]) :]
                    if not rest:
                        poll.unregister(descriptor)

    def _next_line(self) -> bytes | None:
        """Cut the next whole line off what has been read; None if there is none."""
        place = self._read.find(b"\n", self._searched)
        if place < 0:
            self._searched = len(self._read)
            return None
        line = bytes(self._read[: place + 1])
        del self._read[: place + 1]
        self._searched = 0
        return line

    def has_ended(self) -> bool:
        """Say whether the process has ended."""
        return self._process.poll() is not None

    def ended_how(self) -> str:
        """End what is left of a process that closed its stdout, and return how it ended, with its last words."""
        self.end(SECONDS_TO_END)
        code = self._process.returncode
        how = f"by signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"with exit code {code}"
        after = "" if self.answers else " before it wrote a line"
        return f"the process ended {how}{after}{self.log.last_words()}"

    def end(self, seconds: float = SECONDS_TO_END) -> None:
        """End the process and all that it started.

        Args:
            seconds: Time that it has to end by itself once its stdin is closed; 0 for one that does not answer.
        """
        self._stdin.close()
        if seconds:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1
        try:
            self._process.wait(SECONDS_TO_BE_ENDED)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.join(SECONDS_TO_END)  # its last words
        self._stdout.close()
