"""Volumes by recipes: each on phantoms of known orientation, what it refuses, its words, its key, and answers back."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.errors import DataError
from harness.imaging import masks
from harness.imaging.media_store import LocalMedia, MediaStore
from harness.imaging.volumes import read_volume
from harness.models.answer_check import to_prediction
from harness.records import Answer, Capabilities, Media, Request
from harness.records.codec import media_from_json, request_from_json, to_json
from harness.requests import volume_slices
from harness.requests.key import request_key
from harness.requests.support import support
from harness.requests.volume_slices import VolumeFallbacks, views_of
from harness.tasks.volume_recipes import RECIPES
from tests.unit.requests.request_cases import build, model, sample, task

SIZE = (20, 12, 8)  # head, front, right
SPACING = (3.0, 1.0, 1.0)
EYES = Capabilities(takes=frozenset({"text", "images"}), gives=frozenset({"text", "nll", "masks"}), max_images=99)
AFFINE = (1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 3.0, 0.0, 0.0, 0.0, 0.0, 1.0)
CT = Media(
    path="a.nii.gz", sha256="1" * 64, kind="volume", size=SIZE, spacing_mm=SPACING, affine=AFFINE, window=(-1000, 500)
)
NPY = replace(CT, path="a.npy", spacing_mm=None, affine=None)

# Recipe -> the number of images of the phantom, and the size of the first.
SHOWN: Mapping[str, tuple[int, tuple[int, int]]] = {
    "axial-10": (10, (12, 8)),
    "axial-32": (20, (12, 8)),
    "axial-all": (20, (12, 8)),
    "coronal-10": (10, (60, 8)),
    "coronal-all": (12, (60, 8)),
    "sagittal-10": (8, (60, 12)),
    "sagittal-all": (8, (60, 12)),
    "planes-5": (15, (12, 8)),
    "axial-5mm": (12, (12, 8)),
    "axial-10mm": (6, (12, 8)),
    "axial-content-10": (10, (12, 8)),
    "axial-content-32": (20, (12, 8)),
    "axial-10-lung": (10, (12, 8)),
    "axial-10-soft-tissue": (10, (12, 8)),
    "axial-10-bone": (10, (12, 8)),
    "axial-10-brain": (10, (12, 8)),
    "axial-10-rgb": (10, (12, 8)),
    "axial-10-numbered": (10, (12, 8)),
    "axial-10-last": (10, (12, 8)),
    "medgemma-85": (20, (12, 8)),
    "montage-9": (1, (36, 24)),
    "montage-16": (1, (48, 32)),
    "montage-16-content": (1, (48, 32)),
    "montage-16-rgb": (1, (48, 32)),
}


def phantom() -> NDArray[np.float32]:
    """Return a CT of air with an L of bone in the axial slices 2 to 5, upright to a radiologist."""
    voxels = np.full(SIZE, -1000.0, dtype=np.float32)
    voxels[2:6, 2:10, 6] = 400  # axial: from the back to the front at the right of the patient
    voxels[2:6, 2, 1:7] = 400  # and along the back
    return voxels


def upright(shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return an L as it is read: a stroke down at the left, and one to the right at its foot."""
    letter = np.zeros(shape, dtype=bool)
    letter[1:-1, 1] = True
    letter[-2, 1:-1] = True
    return letter


def stored(folder: Path, voxels: NDArray[Any], turn: str = "LPS") -> tuple[Media, MediaStore]:
    """Write (D, H, W) voxels in RAS+ order as NIfTI whose axes run as `turn` says; return its record and a store."""
    nibabel: Any = pytest.importorskip("nibabel")
    array, affine = voxels.T, np.diag([*SPACING[::-1], 1.0])
    for axis, (letter, positive) in enumerate(zip(turn, "RAS", strict=True)):
        if letter != positive:
            array = np.flip(array, axis)
            affine[axis, 3] = affine[axis, axis] * (voxels.T.shape[axis] - 1)
            affine[axis, axis] *= -1
    path = folder / "a.nii"
    nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(array), affine), path)
    found = read_volume(path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    media = Media(
        path="a.nii",
        sha256=sha256,
        kind="volume",
        size=found.voxels.shape,
        spacing_mm=found.spacing_mm,
        affine=found.affine,
    )
    return media, MediaStore(roots=[folder])


def asked(name: str, wants: str = "text", media: Sequence[Media] = (CT,), **changes: Any) -> VolumeFallbacks:
    capabilities = replace(EYES, volume=name) if "takes" not in changes else changes.pop("takes")
    return VolumeFallbacks(
        media=tuple(media),
        fallbacks={},
        capabilities=capabilities,
        wants=tuple(wants.split()),
        modality=changes.get("modality", "ct"),
    )


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_shows_a_phantom(tmp_path: Path, name: str) -> None:
    media, store = stored(tmp_path, phantom())
    shown = views_of(media, RECIPES[name])
    assert (len(shown), shown[0].size) == SHOWN[name]
    for item in shown:
        assert (item.kind, item.spacing_mm, item.affine) == ("image", None, None)
        assert item.view is not None
        assert item.view.recipe == f"{name}/1"
        assert store.image(item).shape == (*item.size, 3)
        assert media_from_json(to_json(item)) == item
    assert asked(name, media=[media]).missing(pointed=False) == []
    places = [
        (RECIPES[name].planes.index(item.view.plane), item.view.slices) for item in shown if item.view is not None
    ]
    assert places == sorted(places)
    assert views_of(replace(media, kind="image"), RECIPES[name]) == (replace(media, kind="image"),)


@pytest.mark.parametrize("turn", ["RAS", "LPS", "LAI"])
@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_an_l_stands_upright_by_the_radiological_convention(tmp_path: Path, plane: str, turn: str) -> None:
    # Indices grow to the head, the front and the right of the patient.
    voxels = np.full((8, 8, 8), -1000.0, dtype=np.float32)
    low, high, along = 1, 6, slice(1, 7)
    if plane == "axial":  # front up, the patient's right at the left
        voxels[:, along, high] = voxels[:, low, along] = 400
    elif plane == "coronal":  # head up, the patient's right at the left
        voxels[along, :, high] = voxels[low, :, along] = 400
    else:  # head up, front at the left
        voxels[along, high, :] = voxels[low, along, :] = 400
    media, store = stored(tmp_path, voxels, turn)
    shown = views_of(replace(media, spacing_mm=(1.0, 1.0, 1.0)), RECIPES[f"{plane}-all"])
    assert len(shown) == 8
    for item in shown:
        assert np.array_equal(store.image(item)[:, :, 0] > 128, upright((8, 8)))


def test_slices_ascend_from_the_feet_to_the_head(tmp_path: Path) -> None:
    voxels = np.full(SIZE, -1000.0, dtype=np.float32) + 50 * np.arange(20, dtype=np.float32)[:, None, None]
    for turn in ("LPS", "LAI"):
        media, store = stored(tmp_path, voxels, turn)
        greys = [int(store.image(item)[0, 0, 0]) for item in views_of(media, RECIPES["axial-10"])]
        assert greys == sorted(greys)
        assert len({*greys}) == 10


def test_without_a_window_greys_are_those_of_slices_by_number(tmp_path: Path) -> None:
    voxels = np.random.default_rng(3).normal(0, 300, SIZE).astype(np.float32)
    media, store = stored(tmp_path, voxels)
    for given in (media, replace(media, window=(-100.0, 100.0))):
        plain = volume_slices.slices_of(given, 10)
        for old, new in zip(plain, views_of(given, RECIPES["axial-10"]), strict=True):
            assert np.array_equal(store.image(old)[::-1, ::-1], store.image(new))


def test_windows_are_those_of_the_table_to_the_grey_value(tmp_path: Path) -> None:
    voxels = np.random.default_rng(4).uniform(-1400, 1400, SIZE).astype(np.float32)
    media, store = stored(tmp_path, voxels)
    wanted = {
        "axial-10-rgb": [(-1350, 150), (-150, 250), (-500, 1300)],
        "medgemma-85": [(-1024, 1024), (-135, 215), (0, 80)],
    }
    for name, windows in wanted.items():
        item = views_of(media, RECIPES[name])[4]
        assert item.view is not None
        pixels = voxels[item.view.slices[0]][::-1, ::-1].astype(np.float64)
        for channel, (low, high) in enumerate(windows):
            expected = np.rint((np.clip(pixels, low, high) - low) / (high - low) * 255)
            assert np.array_equal(store.image(item)[:, :, channel], expected), (name, channel)


def test_content_is_chosen_from_the_voxels_whatever_the_window(tmp_path: Path) -> None:
    media, store = stored(tmp_path, phantom())
    for window in (None, (-1000.0, -999.0), (2000.0, 3000.0)):
        given = replace(media, window=window)
        first, *_, last = views_of(given, replace(RECIPES["axial-content-10"], number=4))
        assert (first.view.slices, last.view.slices, first.view.of) == ((0,), (3,), 4)  # type: ignore[union-attr]
        same = [store.image(item) for item in views_of(given, replace(RECIPES["axial-all"]))[2:6]]
        for place, item in enumerate(views_of(given, replace(RECIPES["axial-content-10"], number=4))):
            assert np.array_equal(store.image(item), same[place])


def test_an_adapter_gets_a_file_with_the_pixels_of_the_view(tmp_path: Path) -> None:
    from PIL import Image

    media, store = stored(tmp_path, phantom())
    handle = LocalMedia(views_of(media, RECIPES["montage-9"])[0], store)
    assert handle.size == (36, 24)
    with Image.open(handle.path) as image:
        assert np.array_equal(np.asarray(image), handle.image())


def test_voxels_that_are_no_hounsfield_units_are_a_fault_of_the_data(tmp_path: Path) -> None:
    media, store = stored(tmp_path, np.abs(phantom()))
    with pytest.raises(DataError, match="a window in Hounsfield units needs a CT"):
        store.image(views_of(media, RECIPES["axial-10-lung"])[0])


# --- what is recorded, and what is refused


@pytest.mark.parametrize(
    ("name", "wants", "used"),
    [
        ("axial-10", "text", "volume: axial-10 (version 1, together)"),
        ("axial-10", "nll", "volume: axial-10 (version 1, together)"),
        ("axial-10", "embedding", "volume: axial-10 (version 1, one by one)"),
        ("coronal-all", "masks", "volume: coronal-all (version 1, one by one)"),
    ],
)
def test_the_number_comes_with_the_recipe_its_version_and_the_way(name: str, wants: str, used: str) -> None:
    chosen = asked(name, wants)
    assert (chosen.missing(pointed=False), chosen.used()) == ([], (used,))


def test_a_task_names_a_recipe_in_its_fallback_and_the_model_overrules_it() -> None:
    spec = task(fallbacks={"volume_as_slices": "axial-10"})
    item = sample(media=(CT,))
    found = support(spec, (), item, model("text images", max_images=10))
    assert (found.missing, found.fallbacks) == (None, ("volume_as_slices: axial-10 (version 1, together)",))
    found = support(spec, (), item, model("text images", max_images=10, volume="montage-9"))
    assert found.fallbacks == ("volume: montage-9 (version 1, together)",)
    # A model that takes volumes gets them, unless it is told to look at images.
    assert support(spec, (), item, model("text volume")).fallbacks == ()
    found = support(task(), (), item, model("text volume image", volume="montage-9"))
    assert found.fallbacks == ("volume: montage-9 (version 1, together)",)


@pytest.mark.parametrize(
    ("chosen", "pointed", "reason"),
    [
        (asked("axial-10", takes=replace(EYES, volume="axial-10", max_images=9)), False,
         "axial-10 shows 10 images at once, and the model takes 9 (max_images)"),
        (asked("axial-10", "nll", takes=replace(EYES, volume="axial-10", max_images=9)), False,
         "axial-10 shows 10 images at once, and the model takes 9 (max_images)"),
        (asked("axial-5mm", takes=replace(EYES, volume="axial-5mm", max_images=11)), False,
         "axial-5mm shows 12 images at once, and the model takes 11 (max_images)"),
        (asked("planes-5", takes=Capabilities(takes=frozenset({"text", "image"}), max_images=99, volume="planes-5")),
         False, "planes-5 shows 15 images at once, and the model takes 1 (max_images)"),
        (asked("axial-10"), True, "axial-10 cannot show what is pointed at in a volume"),
        (asked("axial-10", takes=Capabilities(takes=frozenset({"text"}), volume="axial-10")), False,
         "axial-10 needs a model that takes image"),
        (asked("axial-all", "boxes"), False, "axial-all cannot place a box along the slices"),
        (asked("montage-9", "boxes"), False, "montage-9 cannot place a box of a montage in the volume"),
        (asked("montage-9", "masks"), False, "montage-9 cannot bring a mask on a montage back to the volume"),
        (asked("axial-10", "masks"), False,
         "axial-10 shows only some slices, and masks need each; axial-all, coronal-all, sagittal-all show all"),
        (asked("axial-all", "text masks"), False,
         "axial-all needs an answer for each slice, and the words of several cannot become one reply"),
        (asked("axial-10", "embedding", [CT, CT]), False,
         "axial-10 asks about each slice of one volume, and there are more images"),
        (asked("axial-10-last", media=[CT, CT]), False,
         "axial-10-last orders the words around one volume, and there are more images"),
        (asked("coronal-10", media=[NPY]), False,
         "coronal-10 needs volumes whose files say how they lie in the patient, such as NIfTI or DICOM"),
        (asked("planes-5", media=[replace(CT, flat=True)]), False,
         "planes-5 needs volumes whose files say how they lie in the patient, such as NIfTI or DICOM"),
        (asked("axial-5mm", media=[NPY]), False,
         "axial-5mm needs volumes whose files give the distance of the slices, such as NIfTI or DICOM"),
        (asked("axial-10-lung", modality="mr"), False, "axial-10-lung has windows in Hounsfield units, and needs a CT "
         "(modality ct) in a file that keeps them, such as NIfTI"),
        (asked("axial-10-rgb", media=[NPY]), False, "axial-10-rgb has windows in Hounsfield units, and needs a CT "
         "(modality ct) in a file that keeps them, such as NIfTI"),
    ],
)  # fmt: skip
def test_what_a_recipe_cannot_do_is_said_before_the_model_is_asked(
    chosen: VolumeFallbacks, pointed: bool, reason: str
) -> None:
    assert chosen.missing(pointed=pointed) == [f"takes volume (volume: {reason})"]


def test_the_modality_of_the_sample_opens_the_windows() -> None:
    spec, looks = task(), model("text images", max_images=10, volume="axial-10-lung")
    assert support(spec, (), sample(media=(CT,), strata={"modality": "ct"}), looks).missing is None
    assert "(modality ct)" in str(support(spec, (), sample(media=(CT,), strata={"modality": "mr"}), looks).missing)


def test_one_montage_fits_a_model_of_one_image() -> None:
    looks = Capabilities(takes=frozenset({"text", "image"}), volume="montage-9")
    chosen = asked("montage-9", takes=looks)
    assert (chosen.missing(pointed=False), chosen.one_by_one) == ([], False)


@pytest.mark.parametrize(("name", "images"), [("planes-5", 15), ("axial-all", 1), ("axial-5mm", 1), ("montage-9", 1)])
def test_a_volume_that_cannot_be_read_counts_as_many_images_as_are_wanted(name: str, images: int) -> None:
    unread = Media(path="b.nii", sha256=None, kind="volume")
    for most, missing in ((images, 0), (images - 1, 1)):
        if most:
            chosen = asked(name, media=[unread], takes=replace(EYES, volume=name, max_images=most))
            assert len(chosen.missing(pointed=False)) == missing


# --- words, order and keys


def parts_of(request: Request) -> list[str]:
    return [part.text if hasattr(part, "text") else "#" for part in request.messages[0].parts]


@pytest.mark.parametrize(
    ("name", "prompt", "expected"),
    [
        ("montage-9", "Look: <image> What?", ["Look: ", "#", " What?"]),
        ("axial-10", "Look: <image> What?", ["Look: ", *"#" * 10, " What?"]),
        ("axial-10", "What?", [*"#" * 10, "What?"]),
        ("axial-10-last", "Look: <image> What?", ["Look:  What?", *"#" * 10]),
        ("axial-10-last", "What?", ["What?", *"#" * 10]),
        ("axial-10-numbered", "<image>What?",
         [*(words for place in range(1, 10) for words in ("#", f" (slice {place} of 10) ")), "#",
          " (slice 10 of 10) What?"]),
        ("medgemma-85", "What?", [*(words for place in range(1, 20) for words in ("#", f" SLICE {place} ")), "#",
                                  " SLICE 20 What?"]),
    ],
)  # fmt: skip
def test_words_and_images_stand_in_the_order_of_the_recipe(name: str, prompt: str, expected: list[str]) -> None:
    request = build(task(prompt=prompt), sample(media=(CT,)), replace(EYES, volume=name))
    assert parts_of(request) == expected
    assert not request.one_by_one


def test_each_of_two_volumes_takes_its_own_mark() -> None:
    spec, looks = task(prompt="Now <image> before <image> worse?"), replace(EYES, volume="axial-10mm")
    longer = replace(CT, size=(30, 12, 8))
    request = build(spec, sample(media=(CT, longer)), looks)
    assert parts_of(request) == ["Now ", *"#" * 6, " before ", *"#" * 9, " worse?"]
    few = build(task(prompt="Before <image> now?"), sample(media=(CT, longer)), looks)
    assert parts_of(few) == [*"#" * 6, "Before ", *"#" * 9, " now?"]
    many = build(task(prompt="A <image> B <image> C"), sample(media=(CT,)), looks)
    assert parts_of(many) == ["A ", *"#" * 6, " B ", " C"]


def test_a_slice_of_its_own_call_has_no_number() -> None:
    spec = task(asks="embed", gives="retrieval", prompt="{question}")
    request = build(
        spec, sample(media=(CT,)), replace(EYES, volume="axial-10-numbered", gives=frozenset({"embedding"}))
    )
    assert request.one_by_one
    assert parts_of(request) == [*"#" * 10]
    chosen = asked("axial-10-numbered", "masks")
    assert chosen.marked("<image>What?") == "<image>" * 10 + "What?"


def test_requests_of_different_recipes_and_versions_have_different_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    def key(name: str) -> str:
        return request_key(build(task(), sample(media=(CT,)), replace(EYES, volume=name)), {"id": "m"})

    assert len({key(name) for name in RECIPES}) == len(RECIPES)
    before = key("axial-10")
    monkeypatch.setitem(RECIPES, "axial-10", replace(RECIPES["axial-10"], version=2))
    assert key("axial-10") != before


def test_a_request_with_views_comes_back_from_its_json() -> None:
    request = build(task(), sample(media=(CT,)), replace(EYES, volume="montage-16-rgb"))
    assert request_from_json(to_json(request)) == request


# --- masks back in the volume


def answered(name: str, media: Media, reply: Callable[[NDArray[np.uint8]], Answer], store: MediaStore) -> Any:
    """Return the prediction that a model's answers to single slices become."""
    spec = task(gives="masks", prompt="Mark it.")
    whole = build(spec, sample(media=(media,)), replace(EYES, volume=name))
    assert whole.one_by_one

    def ask(requests: Sequence[Request]) -> Sequence[object]:
        return [reply(store.image(one.media[0].record)) for one in requests]

    return to_prediction(whole, volume_slices.together(replace(whole, key="k"), ask), 0.0)


@pytest.mark.parametrize("name", ["axial-all", "coronal-all", "sagittal-all"])
def test_masks_on_slices_are_stacked_back_into_the_volume(tmp_path: Path, name: str) -> None:
    voxels = np.where(np.random.default_rng(5).random(SIZE) > 0.8, 400, -1000).astype(np.float32)
    media, store = stored(tmp_path, voxels)
    found = answered(name, media, lambda pixels: Answer(masks=[pixels[:, :, 0] > 128]), store)
    (mask,) = found.masks
    # Of stretched rows the middle one of each voxel counts, which holds its grey value alone.
    assert np.array_equal(masks.decode(mask), voxels > 0)

    likely = answered(name, media, lambda pixels: Answer(soft_masks=[pixels[:, :, 0] / 255]), store)
    assert likely.soft_masks[0].size == SIZE
    assert np.array_equal(masks.decode(likely.masks[0]), voxels > 0)


def test_slices_without_a_mask_leave_the_volume_empty_there(tmp_path: Path) -> None:
    media, store = stored(tmp_path, phantom())

    def bright(pixels: NDArray[np.uint8]) -> Answer:
        shown = pixels[:, :, 0] > 128
        return Answer(masks=[shown]) if shown.any() else Answer()

    (mask,) = answered("coronal-all", media, bright, store).masks
    assert np.array_equal(masks.decode(mask), phantom() > 0)
    assert answered("coronal-all", media, lambda _: Answer(), store).status == "empty"


def test_a_mask_in_another_size_than_the_slice_as_shown_is_refused(tmp_path: Path) -> None:
    media, store = stored(tmp_path, phantom())
    found = answered("coronal-all", media, lambda _: Answer(masks=[np.ones((20, 8), dtype=bool)]), store)
    assert found.status == "model_error"
    assert "(60, 8)" in found.error.message


@pytest.mark.parametrize("name", ["axial-10", "axial-10-rgb", "axial-content-10", "planes-5"])
def test_a_volume_is_read_once_for_all_of_its_views(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    from harness.imaging import media_store

    read: list[Media] = []
    once = MediaStore._read_volume

    def count(self: MediaStore, media: Media) -> NDArray[np.float32]:
        read.append(media)
        return once(self, media)

    monkeypatch.setattr(MediaStore, "_read_volume", count)
    monkeypatch.setattr(media_store, "CACHE_BYTES", 1)  # any clinical CT overfills the real one
    media, store = stored(tmp_path, phantom())
    for item in views_of(media, RECIPES[name]):
        store.image(item)
    assert len(read) == 1
    first = views_of(replace(media, window=(-1000.0, 1000.0)), RECIPES[name])
    for item in (first[0], first[1]):
        store.image(item)
    assert len(read) == (1 if RECIPES[name].windows else 2)
