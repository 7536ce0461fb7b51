"""Failures of one kind are counted together, and shown once."""

from harness.scoring.failure_kinds import kinds_of
from harness.scoring.results import Failure


def failure(name: str, message: str, *lines: int, status: str = "model_error") -> Failure:
    frames = "".join(f'  File "/home/mine.py", line {line}, in predict\n    raise it\n' for line in lines)
    trace = f"Traceback (most recent call last):\n{frames}{message}\n" if lines else ""
    return Failure(task="t", sample_id=name, status=status, message=message, traceback=trace)


def test_a_kind_is_the_type_of_the_exception_and_the_line_that_raised_it() -> None:
    kinds = kinds_of(
        [
            failure("a", "ValueError: 1", 3, 7),
            failure("b", "ValueError: 2", 4, 7),
            failure("c", "ValueError: 3", 3, 8),
            failure("d", "KeyError: 4", 3, 7),
            failure("e", "ValueError: 5", 9, 7),
        ]
    )
    assert [(kind.example.sample_id, kind.count) for kind in kinds] == [("a", 3), ("c", 1), ("d", 1)]
    assert kinds[0].text == (
        "3 failures like this one (a):\nTraceback (most recent call last):\n"
        '  File "/home/mine.py", line 3, in predict\n    raise it\n'
        '  File "/home/mine.py", line 7, in predict\n    raise it\nValueError: 1'
    )
    assert kinds[1].text.startswith("1 failure (c):\nTraceback")


def test_without_a_traceback_the_message_is_shown() -> None:
    kinds = kinds_of([failure("a", "Timeout: a: none", status="timeout"), failure("", "Timeout: b: none")])
    assert [kind.text for kind in kinds] == [
        "1 failure (a):\ntimeout: Timeout: a: none",
        "1 failure:\nmodel_error: Timeout: b: none",
    ]


def test_no_failure_is_of_no_kind() -> None:
    assert list(kinds_of([])) == []
