"""Where the data lie that come with the harness: task files, and beside them the wording of their benchmarks."""

from pathlib import Path


def packaged_folder() -> Path:
    """Return the folder of the tasks that come with the harness, installed or in its repository."""
    here = Path(__file__).parent
    installed = here / "task_files"
    return installed if installed.is_dir() else here.parent / "tasks"
