"""Volumes for NiiVue: on a coarser grid, in place, and only for the file that was tried."""

import base64
import gzip
import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from harness.imaging import masks
from harness.imaging.media_store import MediaStore
from harness.records import Entity, Media, Prediction, Sample, Target
from harness.reports.examples import Rank
from harness.reports.viewer import niivue
from harness.reports.viewer.niivue import PLACE, SHA256, SIDE, VERSION, niivue_source, scenes_json, scenes_of
from harness.reports.viewer.samples import SampleReader, StoredSample
from harness.runs.plan_file import PlannedRequest

SIZE = (2, 3 * SIDE, 10)


@dataclass(slots=True)
class _Held(MediaStore):
    """A store whose only volume is an array."""

    voxels: Any = None

    def _read_volume(self, media: Media) -> Any:
        assert media.kind == "volume"
        return self.voxels


class _Reader:
    """The reader of one stored sample."""

    def __init__(self, store: MediaStore | None, stored: StoredSample) -> None:
        self.store, self._stored = store, stored

    def __iter__(self) -> Iterator[StoredSample]:
        yield self._stored


def _stored() -> StoredSample:
    dense = np.zeros(SIZE, dtype=np.bool_)
    dense[1, 31, 4] = True
    media = Media(path="a.npy", sha256="0" * 64, kind="volume", size=SIZE, spacing_mm=(5.0, 1.0, 2.0))
    target = Target(entities=(Entity(name="<x>", mask=masks.encode(dense)),))
    sample = Sample(id="a/</script>", media=(media,), target=target)
    row = PlannedRequest(sample=sample, repeat=0, key="0" * 64, size_class=0, request="", defect=None)
    prediction = Prediction(key="0" * 64, status="empty")
    return StoredSample(rank=Rank(0.5, "", sample.id, 0, 0.5), row=row, request=None, prediction=prediction)


def test_a_small_lesion_survives_the_coarser_grid_and_voxels_keep_their_place() -> None:
    nibabel = pytest.importorskip("nibabel")
    voxels = np.zeros(SIZE, dtype=np.float32)
    voxels[:, :, 5:] = 100.0
    (scene,) = scenes_of(cast("SampleReader", _Reader(_Held(roots=(), voxels=voxels), _stored())))
    target = nibabel.Nifti1Image.from_bytes(_unpacked(scene.target))
    assert target.shape == (4, SIDE, 1)
    assert np.argwhere(np.asanyarray(target.dataobj)).tolist() == [[1, 10, 0]]
    assert target.header.get_zooms() == (6.0, 3.0, 15.0)
    grey = np.asanyarray(nibabel.Nifti1Image.from_bytes(_unpacked(scene.grey)).dataobj)
    assert grey[:, 0, 0].tolist() == [0, 0, 255, 255]
    assert (scene.prediction, scene.oriented, scene.value) == ("", False, 0.5)
    assert "</script" not in scenes_json([scene])
    assert json.loads(scenes_json([scene]))[0]["title"] == "a/</script>"


def _unpacked(text: str) -> bytes:
    return gzip.decompress(base64.b64decode(text))


def test_without_voxels_there_is_no_scene() -> None:
    assert scenes_of(cast("SampleReader", _Reader(None, _stored()))) == []


def test_another_file_than_the_one_that_was_tried_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    niivue_source.cache_clear()
    assert niivue_source() is None
    (tmp_path / PLACE).parent.mkdir(parents=True)
    (tmp_path / PLACE).write_text("alert(1)")
    niivue_source.cache_clear()
    assert niivue_source() is None
    monkeypatch.setattr(niivue, "SHA256", hashlib.sha256(b"alert(1)").hexdigest())
    niivue_source.cache_clear()
    assert niivue_source() == "alert(1)"
    niivue_source.cache_clear()


def test_make_installs_the_version_that_is_used(repository: Path) -> None:
    text = (repository / "Makefile").read_text(encoding="utf-8")
    assert f"NIIVUE := {VERSION}\n" in text
    assert f"NIIVUE_SHA256 := {SHA256}\n" in text
