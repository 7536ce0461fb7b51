"""Synthetic patients as the sources of constructions, drawn once."""

from pathlib import Path

import pytest

from harness.data.construction.pipeline import Inputs
from harness.data.phantoms.figures import write_pubmed_figures
from harness.data.phantoms.writers.samed2d import write_samed2d


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    """SA-Med2D-20M with one image of each modality."""
    root = tmp_path_factory.mktemp("construct-images")
    write_samed2d(root, seed=5, patients=10, slices=1)
    return Inputs(root=root, cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def figures(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    """Figures of articles with their captions."""
    root: Path = tmp_path_factory.mktemp("construct-figures")
    write_pubmed_figures(root, 5, patients=3)
    return Inputs(root=root, cache=tmp_path_factory.mktemp("cache"))
