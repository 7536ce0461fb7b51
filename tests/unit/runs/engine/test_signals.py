"""Signals outside the main thread; those that come while a model works are tested with the runner in process."""

import signal

from harness.runs.engine.signals import Interruption


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    from threading import Thread

    before = signal.getsignal(signal.SIGINT)
    seen = []

    def enter() -> None:
        with Interruption() as interruption:
            seen.append(signal.getsignal(signal.SIGINT) is before and not interruption.has_come())

    thread = Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [True]
