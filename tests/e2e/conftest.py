"""The command line, called in this process."""

from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from harness.cli import main

Command = Callable[..., Result]


@pytest.fixture
def command() -> Command:
    """Call `harness` with the given words; the result has `exit_code`, `stdout` and `stderr`."""

    def call(*words: object, stdin: str | None = None) -> Result:
        result = CliRunner().invoke(main, [str(word) for word in words], input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call
