"""Slices of a volume in three planes: which are shown, as one image per plane, with masks as paths."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.imaging.media_store import MediaStore
from harness.imaging.views import volume_views
from harness.imaging.views.slice_places import bin_centres
from harness.records import Media, Size, View
from harness.reports.viewer.contours import path_of
from harness.reports.viewer.pixels import QUALITY_OF_SLICES, jpeg_uri
from harness.reports.viewer.records import Plane

Bools = NDArray[np.bool_]
PLANES: tuple[Literal["axial", "coronal", "sagittal"], ...] = ("axial", "coronal", "sagittal")

# Slices of each plane on a page, and the longest side of one in pixels: three planes of a CT then weigh about 250 kB.
SLICES = 16
TILE_SIDE = 160
# Slices side by side in the image of a plane.
COLUMNS = 4


def planes_of(
    media: Media | None,
    size: Size,
    dense: Sequence[Bools],
    store: MediaStore | None,
    windows: tuple[tuple[float, float], ...] = (),
) -> tuple[tuple[Plane, ...], list[dict[str, dict[int, str]]]]:
    """Return the planes of a volume, and of each mask its paths by plane and number of the slice.

    Half of the slices are spread over the volume, the others over the part that holds masks; the first to be shown has
    most of the first mask that is not empty. A volume whose file gives its orientation is turned to the
    radiological convention, any other is shown as stored.

    Args:
        media: The volume; None if the sample has only masks.
        size: (D, H, W) of it.
        dense: Boolean (D, H, W) each, the more important ones first.
        store: Finds the voxels; None if they are not shown.
        windows: (low, high) in Hounsfield units, as the recipe of the request has them; empty: the window of the
            record, else percentiles.
    Raises:
        DataError: The volume cannot be read.
    """
    turned = media is not None and media.affine is not None
    spacing = media.spacing_mm if media is not None else None
    planes = []
    paths: list[dict[str, dict[int, str]]] = [{} for _ in dense]
    for name in PLANES:
        axis = volume_views.AXES[name]
        if size[axis] == 0 or (min(size) == 1 and size[axis] != 1):
            continue  # a single slice has no other plane
        areas = [mask.sum(axis=tuple(other for other in range(3) if other != axis)) for mask in dense]
        places, first = _places(size[axis], areas)
        rows, columns = (length for other, length in enumerate(size) if other != axis)
        high, wide = volume_views.tile_size(size, spacing, name, (1, 1))
        scale = min(1.0, TILE_SIDE / max(high, wide))
        tile = (max(1, round(high * scale)), max(1, round(wide * scale)))
        grid = (-(-len(places) // COLUMNS), min(COLUMNS, len(places)))
        uri = None
        if store is not None and media is not None:
            view = View(
                recipe="report",
                plane=name,
                slices=places,
                original=size,
                tile=tile,
                grid=grid,
                turned=turned,
                windows=windows,
            )
            shown = (tile[0] * grid[0], tile[1] * grid[1])
            image = store.image(
                replace(media, kind="image", size=shown, spacing_mm=None, affine=None, flat=False, view=view)
            )
            uri = jpeg_uri(image, quality=QUALITY_OF_SLICES)
        for mask, found in zip(dense, paths, strict=True):
            slices = volume_views.along(mask, name)
            found[name] = {
                place: path
                for place in places
                if (path := path_of(slices[place][::-1, ::-1] if turned else slices[place]))
            }
        planes.append(
            Plane(
                name=name,
                depth=size[axis],
                places=places,
                first=places.index(first),
                size=(rows, columns),
                tile=tile,
                grid=grid,
                uri=uri,
            )
        )
    return tuple(planes), paths


def _places(depth: int, areas: Sequence[NDArray[np.int64]]) -> tuple[tuple[int, ...], int]:
    """Return the slices to show along an axis, and the one to show first.

    Args:
        depth: Number of slices.
        areas: Of each mask, its foreground in every slice.
    """
    # Of several slices with as much, the middle one: a vessel or a box is as large in most of them.
    fullest = next((int(np.median(np.flatnonzero(area == area.max()))) for area in areas if area.any()), depth // 2)
    if depth <= SLICES:
        return tuple(range(depth)), fullest
    held = np.flatnonzero(np.sum(areas, axis=0)) if areas else np.array([], dtype=np.intp)
    chosen = {fullest}
    if held.size:
        first, last = int(held[0]), int(held[-1]) + 1
        chosen |= {first + place for place in bin_centres(last - first, min(last - first, SLICES // 2))}
    for place in bin_centres(depth, SLICES - len(chosen)):
        chosen.add(place)
    return tuple(sorted(chosen)), fullest
