"""A parent process that notices when a command's process ends before the command is done.

The code of a model or of a task may end its process at once and without a word, by `os._exit(0)` or by the `exit` of a
native library. Nothing that is left in that process could object, and a script would read exit code 0 as success. So a
command that runs such code gets a process of its own, and its parent passes an exit code of 0 on only if the command
has said that it is done.

The parent is forked off before anything heavy is imported and before there are threads; it holds no more than Python
and click. Both processes stay in one process group: terminal, Ctrl-C and Ctrl-Z reach them as they would reach one.
"""

import os
import resource
import select
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import click

# Commands that load tasks or models, and with them other people's code.
GUARDED = frozenset(
    {
        *("check-adapter", "demo", "explain", "judge", "list", "new-task", "prepare", "report", "run", "score", "show"),
        "validate",
    }
)
PASSED_ON = (signal.SIGINT, signal.SIGTERM)
# The child's message is this byte, which is the number of no signal, and its exit code.
DONE = 255
# Equals EXIT_RESUMABLE of `harness.cli.options`, whose import would take longer than the fork.
EXIT_RESUMABLE = 3
# In this time a child notes a signal that was sent to the whole group; Python's handler in C does it at once.
SECONDS_TO_NOTE_A_SIGNAL = 0.1
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
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # if it were inherited as ignored, waitpid would find no status
    # Before the fork: no signal may come between it and the first wait.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (*PASSED_ON, signal.SIGCHLD))
    parent, child = os.getpid(), os.fork()
    if child == 0:
        os.close(reading)
        _run(command, parent, writing, before)
    os.close(writing)
    os.set_blocking(reading, False)
    status, said = _wait(child, reading)
    for each in PASSED_ON:  # a signal after the child's end would end this process before it has printed its message
        signal.signal(each, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    code = 0 if number else os.WEXITSTATUS(status)
    if said is None and number not in PASSED_ON and code != EXIT_RESUMABLE and sys.stderr is not None:
        how = f"by signal {number} ({signal.strsignal(number)})" if number else f"with exit code {code}"
        cursor = SHOW_CURSOR if sys.stderr.isatty() else ""
        sys.stderr.write(
            f"{cursor}harness: the process ended {how} before the command was done, as the code of a model or of a "
            "task can end it. What is finished is kept; run the same command again to go on, or with --ray local, "
            "where every worker has a process of its own.\n"
        )
        sys.stderr.flush()
    if number:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the child has left its memory already
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        sys.exit(128 + number)  # the first process of a container is not ended by a signal of its own
    sys.exit(code or (EXIT_RESUMABLE if said is None else said))


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
        if os.getpid() == own:  # not a child that the model forked and let return
            os.write(writing, bytes([DONE, code % 256]))
    sys.exit(code)


def _wait(child: int, reading: int) -> tuple[int, int | None]:
    """Wait for the child's end; return its status, and the exit code that it said it would leave with."""
    said: int | None = None
    noted: set[int] = set()
    while True:
        number = signal.sigwait((*PASSED_ON, signal.SIGCHLD))
        if number != signal.SIGCHLD and number not in noted:
            select.select([reading], [], [], SECONDS_TO_NOTE_A_SIGNAL)
        try:
            news = os.read(reading, 1 << 16)
        except BlockingIOError:
            news = b""
        before, done, after = news.partition(bytes([DONE]))
        noted.update(before)
        if done:
            said = after[0]
        if number == signal.SIGCHLD:
            pid, status = os.waitpid(child, os.WNOHANG)  # 0 if the child was only stopped
            if pid:
                return status, said
        elif number in noted:
            noted.remove(number)
        else:
            os.kill(child, number)
