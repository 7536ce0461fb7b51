"""The image releases of a few synthetic patients, which several files read and none may change."""

from pathlib import Path

import pytest

from harness.data.phantoms.families import write_phantoms

PATIENTS = 60


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with all image releases of 60 patients."""
    folder = tmp_path_factory.mktemp("phantom")
    write_phantoms(folder, seed=0, patients=PATIENTS)
    return folder
