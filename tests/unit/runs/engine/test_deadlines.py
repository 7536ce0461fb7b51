"""The deadline that two processes share."""

import subprocess
import sys
import time

from harness.runs.engine.deadlines import GRACE_SECONDS, SHARED_BYTES, Deadlines, Overdue


def shared() -> Deadlines:
    deadlines = Deadlines()
    deadlines.share()
    return deadlines


def test_only_a_deadline_that_has_passed_is_missed() -> None:
    deadlines = shared()
    assert deadlines.missed() is None
    overdue = Overdue(words="it hung", path="events", line="{}")
    with deadlines.within(60.0, overdue):
        assert deadlines.missed() is None
    with deadlines.within(-GRACE_SECONDS, overdue):
        assert deadlines.missed() == overdue
        assert deadlines.missed(slack=5.0) is None
    assert deadlines.missed() is None


def test_an_inner_deadline_takes_the_place_of_the_outer_for_its_time() -> None:
    deadlines = shared()
    with deadlines.within(-GRACE_SECONDS, Overdue(words="outer")):
        with deadlines.within(60.0, Overdue(words="inner")):
            assert deadlines.missed() is None
        assert deadlines.missed() == Overdue(words="outer")


def test_of_too_many_words_the_line_is_left_out() -> None:
    deadlines = shared()
    with deadlines.within(-GRACE_SECONDS, Overdue(words="it hung", path="events", line="x" * SHARED_BYTES)):
        assert deadlines.missed() == Overdue(words="it hung")


def test_without_a_parent_a_thread_that_needs_no_gil_ends_the_process() -> None:
    program = (
        "import ctypes\nfrom harness.runs.engine.deadlines import DEADLINES, Overdue\n"
        "with DEADLINES.within(-2.9, Overdue(words='it hung')): ctypes.PyDLL(None).sleep(60)\n"
    )
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, time.monotonic() - began < 50) == (1, True)
    assert "Timeout" in done.stderr
