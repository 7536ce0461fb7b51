"""A parent process that notices when a command's process ends before the command is done.

The code of a model or of a task may end its process at once and without a word, by `os._exit(0)` or by the `exit` of a
native library. Nothing that is left in that process could object, and a script would read exit code 0 as success. So a
command that runs such code gets a process of its own, and its parent passes an exit code of 0 on only if the command
has said that it is done. The parent also ends a child that misses a deadline (`harness.runs.engine.deadlines`), even if
it hangs in native code, and one that is done and does not leave, as a thread or an `atexit` of a model can keep it.

The parent is forked off before anything heavy is imported and before there are threads; it holds no more than Python
and click. Both processes stay in one process group: terminal, Ctrl-C and Ctrl-Z reach them as they would reach one.
"""

import contextlib
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import click

from harness.errors import visible
from harness.runs.engine.deadlines import DEADLINES, Overdue

# Commands that load tasks or models, and with them other people's code.
GUARDED = frozenset(
    {
        *("check-adapter", "construct", "demo", "explain", "judge", "list", "new-task", "prepare", "report", "run"),
        *("score", "show", "validate"),
    }
)
PASSED_ON = (signal.SIGINT, signal.SIGTERM)
# The child's message is this byte, which is the number of no signal, and its exit code.
DONE = 255
# Equals EXIT_RESUMABLE of `harness.cli.options`, whose import would take longer than the fork.
EXIT_RESUMABLE = 3
# In this time a child notes a signal that was sent to the whole group; Python's handler in C does it at once.
SECONDS_TO_NOTE_A_SIGNAL = 0.1
# How often the deadline is looked at.
WATCH_EVERY_SECONDS = 1.0
# A child that is done closes files, and ends what a library or a model has it end at exit; then it is ended.
SECONDS_TO_LEAVE = 10.0
SHOW_CURSOR = "\x1b[?25h"
PR_SET_PDEATHSIG = 1


class GuardedGroup(click.Group):
    """A group of commands that runs those in GUARDED below a parent process if it is called as a program.

    `GuardedGroup.main`, which tests and other programs call, runs everything in the process of its caller.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command that the program's arguments name."""
        if not args and not kwargs and _is_guarded(sys.argv[1:]):
            guarded(super().__call__)
        return super().__call__(*args, **kwargs)


def _is_guarded(words: Sequence[str]) -> bool:
    """Say whether the words of a command line run a command in GUARDED; `--help` runs no code of others."""
    name = next((word for word in words if not word.startswith("-")), "")
    return name in GUARDED and not {"-h", "--help"} & {*words} and sys.platform == "linux"


def guarded(command: Callable[[], object]) -> NoReturn:
    """Run a command in a child process and leave as it left, but with 3 if it left with 0 before it was done.

    A signal that ends the child ends this process, too; SIGINT and SIGTERM that only this process gets are passed on,
    and the child does not outlive it.
    """
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()  # or both processes would write what it holds
    reading, writing = os.pipe()
    DEADLINES.share()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # if it were inherited as ignored, waitpid would find no status
    # Before the fork: no signal may come between it and the first wait.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (*PASSED_ON, signal.SIGCHLD))
    parent, child = os.getpid(), os.fork()
    if child == 0:
        os.close(reading)
        _run(command, parent, writing, before)
    os.close(writing)
    os.set_blocking(reading, False)
    end = _wait(child, reading)
    for each in PASSED_ON:  # a signal after the child's end would end this process before it has printed its message
        signal.signal(each, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    number = os.WTERMSIG(end.status) if os.WIFSIGNALED(end.status) else 0
    code = 0 if number else os.WEXITSTATUS(end.status)
    if end.said is not None and number not in PASSED_ON:
        # Whatever the child's last moments were: results, table and messages are out.
        sys.exit(end.said)
    if end.overdue is not None:
        if end.overdue.path:
            with contextlib.suppress(OSError), Path(end.overdue.path).open("ab") as file:
                file.write(f"{end.overdue.line}\n".encode())
        _say(end.overdue.words)
        sys.exit(end.overdue.code)
    if number not in PASSED_ON and code != EXIT_RESUMABLE:
        how = f"by signal {number} ({signal.strsignal(number)})" if number else f"with exit code {code}"
        _say(
            f"the process ended {how} before the command was done, as the code of a model or of a task can end it. "
            "What is finished is kept; run the same command again to go on, or with --ray local, where every worker "
            "has a process of its own."
        )
    if number:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the child has left its memory already
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        sys.exit(128 + number)  # the first process of a container is not ended by a signal of its own
    sys.exit(code or EXIT_RESUMABLE)


def _say(words: str) -> None:
    if sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(f"{SHOW_CURSOR if sys.stderr.isatty() else ''}harness: {visible(words)}\n")
            sys.stderr.flush()


def _run(command: Callable[[], object], parent: int, writing: int, mask: Any) -> NoReturn:
    """Run the command in the child; say its exit code to the parent, then leave with it."""
    import ctypes

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the line above
        os._exit(EXIT_RESUMABLE)
    os.set_blocking(writing, False)
    # Python writes the number of each signal that it handles: so the parent knows which ones need not be passed on.
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    own, code = os.getpid(), 1
    try:
        command()
        code = 0
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
        raise
    finally:
        if os.getpid() != own:  # a child that the model forked and let return
            os._exit(EXIT_RESUMABLE)
        # Before the word: what the last flush cannot write is not out.
        for stream in (sys.stdout, sys.stderr):
            try:
                if stream is not None and not stream.closed:
                    stream.flush()
            except (OSError, ValueError):
                code = code or 1
        os.write(writing, bytes([DONE, code % 256]))
    sys.exit(code)


class _End(NamedTuple):
    """The end of a child.

    Attributes:
        status: As `os.waitpid` returns it.
        said: The exit code with which the child said that it was done; None if it did not.
        overdue: Set if it was ended because it missed its deadline.
    """

    status: int
    said: int | None = None
    overdue: Overdue | None = None


def _wait(child: int, reading: int) -> _End:
    """Wait for the child's end, or end it when it misses its deadline or does not leave."""
    said: int | None = None
    leaves_by = 0.0
    noted: set[int] = set()
    slack, seen = 0.0, time.monotonic()
    while True:
        came = signal.sigtimedwait((*PASSED_ON, signal.SIGCHLD), WATCH_EVERY_SECONDS)
        number = 0 if came is None else came.si_signo
        now = time.monotonic()
        # Time in which this process was stopped, as by Ctrl-Z, the child was stopped, too.
        slack, seen = slack + max(0.0, now - seen - 2 * WATCH_EVERY_SECONDS), now
        if number in PASSED_ON and number not in noted:
            select.select([reading], [], [], SECONDS_TO_NOTE_A_SIGNAL)
        try:
            news = os.read(reading, 1 << 16)
        except BlockingIOError:
            news = b""
        before, done, after = news.partition(bytes([DONE]))
        noted.update(before)
        if done:
            said, leaves_by = after[0], now + SECONDS_TO_LEAVE
        overdue = None if said is not None else DEADLINES.missed(slack)
        if overdue is not None or (said is not None and now > leaves_by + slack):
            os.kill(child, signal.SIGKILL)
            return _End(os.waitpid(child, 0)[1], said, overdue)
        if number == signal.SIGCHLD:
            pid, status = os.waitpid(child, os.WNOHANG)  # 0 if the child was only stopped
            if pid:
                return _End(status, said)
        elif number in noted:
            noted.remove(number)
        elif number:
            os.kill(child, number)
