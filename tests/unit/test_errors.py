"""The helpers that put messages together."""

import errno
import os

import pytest

from harness.errors import DataError, HarnessError, SpecError, listed, nearest, place_problem, together, words_of


def test_a_long_list_names_its_first_items_and_counts_the_others() -> None:
    texts = [listed(items, 2, "tasks") for items in ("", "ab", "abc", "x" * 1002)]
    assert texts == ["", "a, b", "a, b and 1 more tasks", "x, x and 1,000 more tasks"]
    assert listed((3, 1, 2), 1) == "3 and 2 more"


def test_several_messages_become_one_error_in_order() -> None:
    found = together(["a.yaml:1: no", "a.yaml:2: nor this"])
    assert type(found) is SpecError
    assert str(found) == "a.yaml:1: no\na.yaml:2: nor this"
    assert type(together(["x"], DataError)) is DataError
    assert isinstance(found, HarnessError)


@pytest.mark.parametrize(("word", "guess"), [("dise", " (did you mean 'dice'?)"), ("zzz", ""), ("", "")])
def test_the_nearest_known_word_is_suggested(word: str, guess: str) -> None:
    assert nearest(word, ["iou", "dice"]) == guess


class MuteError(BaseException):
    """Its message cannot be read."""

    def __str__(self) -> str:
        raise SystemExit(0)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("no"), "ValueError: no"),
        (SystemExit("no licence"), "SystemExit: it calls sys.exit('no licence')"),
        (SystemExit(), "SystemExit: it calls sys.exit()"),
        (MuteError(), "MuteError: <its message cannot be read: __str__ raises SystemExit>"),
    ],
)
def test_an_exception_of_foreign_code_has_words_whatever_it_does(error: BaseException, words: str) -> None:
    assert words_of(error) == words


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.EROFS, "/x: Read-only file system; name another place, or change its rights"),
        (errno.EACCES, "/x: Permission denied; name another place, or change its rights"),
        (errno.ENOSPC, "/x: No space left on device; make room and run the same command again"),
        (errno.ENOENT, None),
    ],
)
def test_a_place_that_cannot_be_used_is_the_users_to_mend(code: int, words: str | None) -> None:
    assert place_problem(OSError(code, os.strerror(code), "/x")) == words
