"""Errors as one message and an exit code, which no code of a model or a task may choose."""

import pytest

from harness.cli.options import errors_as_exit_codes


@pytest.mark.parametrize("code", ["0", "", "7", "'no licence'"])
def test_foreign_code_cannot_choose_the_exit_code(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left, errors_as_exit_codes(debug=False):
        exec(compile(f"import sys\nsys.exit({code})", "/somewhere/model.py", "exec"), {"__name__": "model"})
    assert left.value.code == 2
    words = f"SystemExit: it calls sys.exit({code})"
    assert capsys.readouterr().err == f"harness: the code of a model or a task ends the command (model.py:2): {words}\n"


def test_a_command_chooses_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left, errors_as_exit_codes(debug=False):
        exec("import sys\nsys.exit(3)", {"__name__": "harness.cli.data"})
    assert left.value.code == 3
    assert capsys.readouterr().err == ""
