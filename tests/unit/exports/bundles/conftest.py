"""A finished run, judged, with masks in a file of their own: the snapshot of a bundle with its plan made anew."""

import shutil
from pathlib import Path

import pytest

from harness.evaluation.rebuilding import rebuild
from harness.paths import default_cache
from leaderboard.verification.archive import unpack
from leaderboard.verification.contents import read_contents
from tests.support.good_bundle import BUNDLE, DATA


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the run directory."""
    folder = tmp_path_factory.mktemp("bundle")
    contents = read_contents(folder, unpack(BUNDLE, folder))
    rebuild(
        folder,
        contents.capabilities,
        given_roots=(str(DATA),),
        task_paths=(),
        cache=default_cache(),
        notice=lambda _: None,
    )
    return folder


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """Return a copy of the run directory, to be changed."""
    return Path(shutil.copytree(made, tmp_path / "run"))
