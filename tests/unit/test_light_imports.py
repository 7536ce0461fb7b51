"""Help and listing start fast: they load none of the heavy libraries."""

import subprocess
import sys

import pytest

HEAVY = ("numpy", "torch", "ray", "pandas", "transformers", "scipy", "pyarrow", "PIL", "pycocotools")


@pytest.mark.parametrize(
    "statement",
    [
        "import harness",
        "from harness.cli import main; main(['--help'], standalone_mode=False)",
        "from harness.cli import main; main(['run', '--help'], standalone_mode=False)",
        "from harness.cli import main; main(['list', 'tasks'], standalone_mode=False)",
        "from leaderboard.cli import main; main(['--help'], standalone_mode=False)",
        "from reference_model.cli import main; main(['--help'], standalone_mode=False)",
    ],
)
def test_nothing_heavy_is_loaded(statement: str) -> None:
    program = f"import sys\n{statement}\nprint([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
