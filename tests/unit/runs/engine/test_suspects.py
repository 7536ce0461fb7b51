"""Which requests are suspected after sessions that ended without a word."""

from typing import Any

import pytest

from harness.runs.engine.suspects import find_suspects


def events(*lines: str) -> list[dict[str, Any]]:
    """Return the events that are meant by words such as `session`, `started 1 ab` and `finished 1 ab`."""
    found: list[dict[str, Any]] = []
    for text in lines:
        name, *rest = text.split()
        if name == "session":
            found.append({"event": name, "runner": rest[0] if rest else "process"})
        else:
            batch = int(rest[0]) if rest and rest[0].isdigit() else None
            found.append({"event": name, "batch": batch, "keys": list(rest[-1]) if rest else []})
    return found


@pytest.mark.parametrize(
    ("lines", "ends", "alone"),
    [
        ([], {}, {}),
        (["session", "started 1 ab"], {"a": 1, "b": 1}, {}),
        (["session", "started 1 ab", "finished 1 ab"], {}, {}),
        (["session", "started 1 a", "session", "started 1 a"], {"a": 2}, {"a": 2}),
        (["session", "started 1 a", "session", "started 1 a", "session"], {"a": 2}, {"a": 2}),
        (["session", "started 1 a", "session", "started 1 b", "finished 1 b", "started 2 a"], {"a": 1}, {"a": 1}),
        (["session", "started 1 a", "session", "started 1 b"], {"a": 1, "b": 1}, {"b": 1}),
        (["session", "started 1 a", "session", "started 1 ab", "session", "started 1 a"], {"a": 3, "b": 1}, {"a": 1}),
        (["session", "started 1 a", "stopped"], {}, {}),
        (["session", "started 1 a", "session", "started 1 a", "stopped", "session", "started 1 a"], {"a": 2}, {"a": 2}),
        (["session ray", "started 1 a", "started 2 b"], {}, {}),
        (["session", "started 1 a", "session ray", "started 1 a", "session", "started 1 a"], {"a": 2}, {"a": 2}),
        (["session", "started 1 a", "session", "given_up a", "started 1 b"], {"b": 1}, {"b": 1}),
    ],
)
def test_only_ends_without_a_word_make_suspects(lines: list[str], ends: dict[str, int], alone: dict[str, int]) -> None:
    suspects = find_suspects(events(*lines))
    assert dict(suspects.ends) == ends
    assert dict(suspects.alone) == alone


def test_the_watchdogs_word_makes_it_a_hang() -> None:
    suspects = find_suspects(events("session", "started 1 a", "hung a", "session", "started 1 a", "hung a"))
    assert suspects.causes == {"a": "hang"}
    assert suspects.alone == {"a": 2}
