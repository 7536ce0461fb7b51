"""Runs a command, and ends it with all that it started as soon as the process that asked for it is gone.

It is run as a program, `python -I -S supervisor.py FD PROGRAM [ARGUMENT ...]`, and imports nothing but the standard
library. FD is the reading end of a pipe whose writing end the asking process holds: the kernel closes that end even
where the process is killed, so nothing outlives it. The command has stdin, stdout and stderr of this program, and this
program ends as the command did.

A process between the two is needed because the end of the parent (PR_SET_PDEATHSIG) reaches one process only, not the
interpreter below a shell script, and counts the end of the thread that started it as well.
"""

import ctypes
import os
import resource
import select
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
# After SIGTERM, with which a client of `docker run` ends its container; together with SIGKILL well below a second.
SECONDS_AFTER_TERM = 0.4
# Exit code of a command that cannot be started, as in a shell.
NOT_STARTED = 127


def main(lifeline: int, words: list[str]) -> NoReturn:
    """Run the command until it ends, or until the other end of `lifeline` is closed; leave as it left."""
    news, noting = os.pipe()
    os.set_blocking(noting, False)
    signal.set_wakeup_fd(noting, warn_on_full_buffer=False)
    for each in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(each, lambda *_: None)  # the byte in the pipe is enough
    os.set_inheritable(lifeline, False)
    if sys.platform == "linux":
        # What the command leaves behind becomes a child of this process instead of the system's first.
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    child = os.fork()
    if child == 0:
        _become(words)
    for descriptor in (0, 1):
        os.close(descriptor)  # or the asking process would not notice that the command closed its own
    poll = select.poll()
    poll.register(lifeline, select.POLLIN)
    poll.register(news, select.POLLIN)
    status = None
    while status is None:
        ready = dict(poll.poll())
        status = _reaped(child)
        signals = os.read(news, 512) if news in ready else b""
        if lifeline in ready or signal.SIGTERM in signals:
            break
    if status is None:
        _send(signal.SIGTERM, child)
        end = time.monotonic() + SECONDS_AFTER_TERM
        while status is None and time.monotonic() < end:
            time.sleep(0.01)
            status = _reaped(child)
    _send(signal.SIGKILL, child if status is None else None)
    if status is None:
        _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        fatal = os.WTERMSIG(status)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the command has left its memory already
        if fatal != signal.SIGKILL:
            signal.signal(fatal, signal.SIG_DFL)
        os.kill(os.getpid(), fatal)
    os._exit(os.WEXITSTATUS(status))


def _become(words: list[str]) -> NoReturn:
    """Become the command, in the forked child."""
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(NOT_STARTED)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGPIPE):  # Python ignores SIGPIPE, and `exec` keeps that
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvp(words[0], words)
    except OSError as error:
        os.write(2, f"{words[0]}: {error.strerror}\n".encode(errors="backslashreplace"))
    os._exit(NOT_STARTED)


def _reaped(child: int) -> int | None:
    """Collect every process that has ended; return the status of the command if it is among them."""
    found = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == child:
            found = status
        elif pid == 0:
            return found


def _send(number: int, child: int | None) -> None:
    """Send a signal to every process below this one; where they cannot be listed, to `child` alone."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
        except OSError:  # it has ended meanwhile
            continue
    below, new = set[int](), {os.getpid()}
    while new:
        new = {child for child, parent in parents.items() if parent in new} - below
        below |= new
    for pid in below | ({child} if child is not None else set()):
        try:
            os.kill(pid, number)
        except OSError:
            continue


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
