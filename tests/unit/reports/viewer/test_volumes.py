"""Slices of a volume in three planes."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.imaging.media_store import MediaStore
from harness.records import Media
from harness.reports.viewer.volumes import SLICES, planes_of

AFFINE = (1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 3.0, 0.0, 0.0, 0.0, 0.0, 1.0)


@dataclass(slots=True)
class _Held(MediaStore):
    """A store whose only volume is an array."""

    voxels: Any = None

    def _read_volume(self, media: Media) -> Any:
        assert media.kind == "volume"
        return self.voxels


def _volume(depth: int) -> Media:
    size = (depth, 20, 30)
    return Media(path="a.nii.gz", sha256="0" * 64, kind="volume", size=size, spacing_mm=(3.0, 1.0, 1.0), affine=AFFINE)


def test_slices_gather_where_the_mask_is_and_begin_with_the_fullest() -> None:
    dense = np.zeros((100, 20, 30), dtype=np.bool_)
    dense[70:74, 5:8, 4:9] = True
    dense[72, 5:12, 4:9] = True
    planes, (paths,) = planes_of(_volume(100), (100, 20, 30), [dense], None)
    axial = planes[0]
    assert [plane.name for plane in planes] == ["axial", "coronal", "sagittal"]
    assert axial.places[axial.first] == 72
    assert {70, 71, 72, 73} <= set(axial.places)
    assert len(axial.places) <= SLICES
    assert axial.places[0] < 20
    assert axial.places[-1] > 80
    assert sorted(paths["axial"]) == [70, 71, 72, 73]
    assert axial.uri is None


def test_volumes_that_say_how_they_lie_are_turned_with_their_masks_and_have_square_pixels() -> None:
    dense = np.zeros((4, 20, 30), dtype=np.bool_)
    dense[1, 0:2, 0:3] = True
    store = _Held(roots=(), voxels=np.arange(4 * 20 * 30, dtype=np.float32).reshape(4, 20, 30))
    (axial, coronal, _), (paths,) = planes_of(_volume(4), (4, 20, 30), [dense], store)
    assert paths["axial"][1] == "M27 18h3v2h-3z"
    assert (coronal.size, coronal.tile) == ((4, 30), (12, 30))
    assert axial.uri is not None
    assert axial.uri.startswith("data:image/jpeg;base64,")
    assert axial.grid == (1, 4)


def test_a_single_slice_has_one_plane() -> None:
    planes, _ = planes_of(None, (1, 6, 6), [np.ones((1, 6, 6), dtype=np.bool_)], None)
    assert [plane.name for plane in planes] == ["axial"]
