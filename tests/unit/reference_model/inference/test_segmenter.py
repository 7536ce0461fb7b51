"""`sam-med2d:` on files and folders of small models: masks as calling the modules gives them, and what is refused."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from numpy.typing import NDArray

from harness.errors import DataError, SpecError
from harness.models import resolve
from harness.records import Answer, Box, Media, MediaPart, Points, Request, Turn, VisualPrompt
from reference_model.adapter import WEIGHTS
from reference_model.checkpoints.checkpoint import load_model
from reference_model.convert.conversion import prepare
from reference_model.convert.parents import Files
from reference_model.inference.prompted_masks import stretched
from reference_model.inference.segmenter import SamMed2d
from reference_model.inputs.images import SAM_MEAN, SAM_STD
from reference_model.modeling.model import PixelGroundingModel
from reference_model.preset_files import load_preset
from tests.support.shown_media import Shown
from tests.unit.reference_model.convert.convert_sources import Published, publish, with_pieces

TINY = WEIGHTS / "medplib-tiny"
BOX = Box(corners=(8.0, 5.0, 40.0, 30.0))
POINTS = Points(points=((20.0, 11.0), (3.0, 2.0)), labels=(1, 0))


def picture(seed: int = 0, size: tuple[int, int] = (36, 48)) -> Shown:
    """Return an image of coloured blocks of 6 x 6 pixels."""
    blocks = np.random.default_rng(seed).integers(0, 256, (size[0] // 6, size[1] // 6, 3), dtype=np.uint8)
    values = blocks.repeat(6, axis=0).repeat(6, axis=1)
    return Shown(Media(path=f"{seed}.png", sha256=f"{seed:064x}", size=size), values)


def asked(shown: Shown, *prompts: VisualPrompt) -> Request:
    turn = Turn(role="user", parts=(MediaPart(media=shown),))
    return Request(wants=("masks",), messages=(turn,), visual_prompts=prompts)


def one(adapter: SamMed2d, request: Request) -> Answer:
    (answer,) = adapter.predict([request])
    assert answer.error is None, answer.error
    return answer


def loaded(path: Path, **arguments: Any) -> SamMed2d:
    adapter = SamMed2d(str(path), **arguments)
    adapter.load("cpu")
    return adapter


@pytest.fixture(scope="module")
def tiny() -> SamMed2d:
    """The segmenter in the tiny model that comes with the package, as it was trained."""
    return loaded(TINY)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """SAM-Med2D's file and the parents of a model of the same sizes, at random."""
    found = publish(tmp_path_factory.mktemp("published"), with_pieces(load_preset("medplib-tiny")))
    weights = torch.load(found.sam_med2d, weights_only=False)
    for name, value in weights["model"].items():
        # So large that its proposals for a mask differ.
        value *= 4 if name.startswith("mask_decoder") and value.ndim > 1 else 1
    torch.save(weights, found.sam_med2d)
    return found


@pytest.fixture(scope="module")
def converted(published: Published, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `reference-model convert` writes of them."""
    out = tmp_path_factory.mktemp("converted") / "model"
    files = Files(llava=published.llava, clip=published.clip, sam_med2d=published.sam_med2d)
    prepare(with_pieces(load_preset("medplib-tiny")), files).write(out, lambda _: None)
    return out


def proposals(model: PixelGroundingModel, square_3SS: torch.Tensor, places: Any, prompt: Any, several: bool) -> Any:
    """Return the logits (P, L, L) and scores of a prompt at `places` of the square, by the parts of a model."""
    decoder = model.mask_decoder
    corners, points, labels = None, None, None
    if isinstance(prompt, Box):
        corners = torch.tensor(places).float().reshape(1, 1, 4)
    else:
        points, labels = torch.tensor(places).float()[None, None], torch.tensor(prompt.labels)[None, None]
    with torch.inference_mode():
        features = model.pixel_encoder.backbone(square_3SS[None]).last_hidden_state
        sparse, dense = decoder.prompt_encoder(points, labels, corners, None)
        logits, scores = decoder.decoder(
            image_embeddings=features,
            image_positional_embeddings=decoder.positions(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=several,
        )
    return logits[0, 0], scores[0, 0]


@pytest.mark.parametrize("prompt", [BOX, POINTS], ids=["box", "points"])
def test_masks_of_a_converted_sam_med2d_are_those_of_its_predictor(
    converted: Path, published: Published, prompt: Any
) -> None:
    shown = picture()
    # OpenCV's nearest pixel: that at the upper left of each place of the square.
    square = np.array([[shown.values[row * 36 // 96, column * 48 // 96] for column in range(96)] for row in range(96)])
    square_3SS = torch.tensor((square - np.array(SAM_MEAN)) / np.array(SAM_STD)).permute(2, 0, 1).float()
    given = np.array(prompt.corners if isinstance(prompt, Box) else prompt.points).reshape(-1, 2)
    places = given * [96 / 48, 96 / 36]
    logits, scores = proposals(load_model(converted)[0], square_3SS, places, prompt, several=True)
    best = int(scores.argmax())
    whole = F.interpolate(F.interpolate(logits[None], (96, 96), mode="bilinear"), (36, 48), mode="bilinear")[0]
    for adapter in (loaded(converted), loaded(published.sam_med2d, preset="medplib-tiny")):
        answer = one(adapter, asked(shown, prompt))
        assert np.array_equal(answer.masks[0], (whole[best] > 0).numpy())
        assert answer.mask_scores == pytest.approx([float(scores[best])], abs=1e-6)
    assert len({(mask > 0).numpy().tobytes() for mask in whole}) == 3


@pytest.mark.parametrize("prompt", [BOX, POINTS], ids=["box", "points"])
def test_masks_of_a_trained_model_are_those_of_its_padded_square(tiny: SamMed2d, prompt: Any) -> None:
    shown = picture()
    square_3SS = torch.zeros(3, 96, 96)
    # 36 x 48 pixels become 72 x 96, with 12 rows of padding above.
    from PIL import Image

    larger = np.asarray(Image.fromarray(shown.values).resize((96, 72), Image.Resampling.BILINEAR))
    square_3SS[:, 12:84] = torch.tensor((larger - np.array(SAM_MEAN)) / np.array(SAM_STD)).permute(2, 0, 1).float()
    given = np.array(prompt.corners if isinstance(prompt, Box) else prompt.points).reshape(-1, 2)
    logits, scores = proposals(load_model(TINY)[0], square_3SS, given * 2 + [0, 12], prompt, several=False)
    whole = F.interpolate(logits[None], (96, 96), mode="bilinear")[..., 12:84, :]
    answer = one(tiny, asked(shown, prompt))
    expected = (F.interpolate(whole, (36, 48), mode="bilinear")[0, 0] > 0).numpy()
    assert np.array_equal(answer.masks[0], expected)
    assert 0 < expected.sum() < expected.size
    assert answer.mask_scores == pytest.approx([float(scores[0])], abs=1e-6)


def test_the_square_and_the_proposals_can_be_chosen(tiny: SamMed2d) -> None:
    shown = picture()
    usual = one(tiny, asked(shown, BOX))
    for other in ({"square": "stretched"}, {"multimask": True}):
        answer = one(loaded(TINY, **other), asked(shown, BOX))
        assert (answer.masks[0] != usual.masks[0]).any(), other


def test_masks_follow_the_prompt_and_the_image(tiny: SamMed2d) -> None:
    def mask(seed: int, prompt: VisualPrompt) -> NDArray[Any]:
        found: NDArray[Any] = one(tiny, asked(picture(seed), prompt)).masks[0]
        return found

    assert (mask(1, BOX) != mask(1, POINTS)).any()
    assert (mask(1, BOX) != mask(2, BOX)).any()


def test_a_volume_is_segmented_slice_by_slice_and_each_image_is_encoded_once(tiny: SamMed2d) -> None:
    values = np.stack([picture(seed).values[..., 0] for seed in range(4)]).astype(np.float32)
    media = Media(path="v.nii", sha256="c" * 64, kind="volume", size=(4, 36, 48), window=(0.0, 255.0))
    passes: list[int] = []
    assert tiny._segmenter is not None
    hook = tiny._segmenter.pixel_encoder.register_forward_hook(lambda *_: passes.append(1))
    try:
        boxes = [Box(corners=(1.0, 5.0, 8.0, 3.0, 30.0, right)) for right in (40.0, 44.0)]
        answer = one(tiny, asked(Shown(media, values), *boxes))
    finally:
        hook.remove()
    assert len(passes) == 2
    assert answer.masks[0].shape == (4, 36, 48)
    assert not answer.masks[0][[0, 3]].any()
    for z in (1, 2):
        grey = np.repeat(values[z].astype(np.uint8)[..., None], 3, axis=2)
        flat = Shown(Media(path="z.png", sha256=f"{z}" * 64, size=(36, 48)), grey)
        assert np.array_equal(one(tiny, asked(flat, BOX)).masks[0], answer.masks[0][z])


def test_an_image_is_stretched_by_opencvs_nearest_pixel() -> None:
    image = np.arange(5 * 2 * 3, dtype=np.uint8).reshape(5, 2, 3)
    square = stretched(image, 4).permute(1, 2, 0).numpy() * np.array(SAM_STD) + np.array(SAM_MEAN)
    assert np.round(square).astype(int).tolist() == image[np.ix_([0, 1, 2, 3], [0, 0, 1, 1])].tolist()


def test_the_identity_holds_the_bytes_of_the_weights_and_what_changes_masks(published: Published) -> None:
    def identity(**arguments: Any) -> dict[str, Any]:
        reference = resolve.parse(f"sam-med2d:{published.sam_med2d}", {"preset": "medplib-tiny", **arguments})
        adapter = resolve.build(reference)
        return resolve.identity(reference, adapter, resolve.capabilities_of(reference, adapter))

    plain = identity()
    assert plain["id"] == "sam-med2d"
    assert len(plain["weights"]) == 1
    assert identity(gpus=1) == plain
    assert all(identity(**other) != plain for other in ({"square": "padded"}, {"multimask": False}))


def test_another_checkpoint_is_refused_with_what_is_read(published: Published) -> None:
    with pytest.raises(DataError) as sizes:
        loaded(published.sam_med2d)
    assert "missing" in str(sizes.value)
    assert "`sam-med2d:` reads SAM-Med2D with its adapters, of the sizes of the preset medplib-7b" in str(sizes.value)


def test_a_sam_without_adapters_is_refused(published: Published, tmp_path: Path) -> None:
    whole = torch.load(published.sam_med2d, weights_only=False)["model"]
    torch.save({name: value for name, value in whole.items() if "Adapter" not in name}, tmp_path / "sam.pth")
    with pytest.raises(DataError, match=r"missing \d+ \(pixel_encoder.*adapter.*\), unexpected none; `sam-med2d:`"):
        loaded(tmp_path / "sam.pth", preset="medplib-tiny")


@pytest.mark.parametrize(
    ("model", "arguments", "message"),
    [
        ("{}/nowhere.pth", {}, "no such file or folder; expected sam-med2d_b.pth as released, or a folder that"),
        ("{}/empty", {}, "expected the folder of a model of the reference family, found no model.safetensors in it"),
        ("{}/notes.txt", {}, "expected a file that ends in .pth or .pt or .bin or .safetensors, or a folder"),
        (str(TINY), {"square": "round"}, "--model-args square: expected stretched or padded, found 'round'"),
        (str(TINY), {"multimask": 1}, "--model-args multimask: expected true or false, found 1"),
        (str(TINY), {"preset": "medplib-tiny"}, "--model-args preset: is of a file of weights, and"),
        ("{}/x.pth", {"preset": "medplib-tny"}, "found 'medplib-tny' (did you mean 'medplib-tiny'?)"),
    ],
)
def test_what_cannot_be_built_is_refused(tmp_path: Path, model: str, arguments: dict[str, Any], message: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(SpecError) as error:
        SamMed2d(model.format(tmp_path), **arguments)
    assert message in str(error.value)


def test_without_its_packages_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(SpecError, match=r"sam-med2d: needs torch, transformers, safetensors, not installed; pip"):
        SamMed2d(str(TINY))


def test_it_is_found_by_its_name_and_built_without_torch() -> None:
    code = (
        "import sys; from harness.models import resolve; "
        f"resolve.build(resolve.parse('sam-med2d:{TINY}', {{}})).capabilities(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
