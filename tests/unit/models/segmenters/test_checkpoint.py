"""What is no checkpoint of the SAM family, or no argument of `sam:`, is refused in words before any weight is read."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers")

from harness.errors import ModelError, SpecError
from harness.models.segmenters import checkpoint
from harness.models.segmenters.checkpoint import KINDS
from harness.models.segmenters.pixels import StretchedPixels
from harness.models.segmenters.sam import Sam
from tests.unit.models.segmenters.test_sam import asked, picture, refused


def write(folder: Path, content: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(content)
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_the_type_of_a_checkpoint_says_what_it_is_asked_by(tmp_path: Path, kind: str) -> None:
    folder = write(tmp_path / "model", json.dumps({"model_type": kind}))
    takes = Sam(str(folder)).capabilities().takes
    assert ("text" in takes) == (kind in ("sam3", "sam3_video"))
    assert ("box" in takes) == (kind != "sam3")


def test_what_is_no_checkpoint_of_the_family_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sam_vit_b.pth").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    llava, torn = write(tmp_path / "llava", '{"model_type": "llava"}'), write(tmp_path / "torn", "{")
    for reference, message in (
        (tmp_path / "nowhere", "no such folder; expected one with a config.json, or a name on the hub"),
        (
            tmp_path / "sam_vit_b.pth",
            "in the layout of transformers, found the file sam_vit_b.pth; weights of the first",
        ),
        (tmp_path / "empty", "expected config.json in the folder of a model, found none"),
        (torn, "config.json cannot be read: "),
        (
            llava,
            "expected a model of type sam, sam2, sam2_video, sam3_video, sam3_tracker, sam3, config.json says 'llava'",
        ),
    ):
        with pytest.raises(SpecError) as error:
            checkpoint.find(str(reference), revision=None)
        assert str(error.value).startswith(f"--model sam:{reference}: ")
        assert message in str(error.value)
    with pytest.raises(SpecError, match=r"--model-args revision: is of a name on the hub, and .* is a folder"):
        checkpoint.find(str(llava), revision="main")


def test_a_name_that_the_hub_does_not_give_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: Any, **__: Any) -> str:
        raise OSError("no connection\nand more")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", absent)
    with pytest.raises(
        SpecError, match=r"--model sam:a/b: no folder of this name, and the hub .*: OSError: no connection$"
    ):
        checkpoint.find("a/b", revision=None)


def test_a_name_on_the_hub_is_its_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path / ("c" * 40), '{"model_type": "sam2"}')
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_, **__: str(folder / "config.json"))
    found = checkpoint.find("a/b", revision="main")
    assert (found.source, found.revision, found.weights, found.kind.family) == ("a/b", "c" * 40, folder, "sam2")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dtype": "int8"}, "--model-args dtype: expected auto or float32 or bfloat16 or float16, found 'int8'"),
        ({"multimask": "no"}, "--model-args multimask: expected true or false, found 'no'"),
        ({"threshold": 2}, "--model-args threshold: expected a number from 0 to 1, found 2"),
        ({"threshold": True}, "--model-args threshold: expected a number from 0 to 1, found True"),
        ({"concept": "("}, "--model-args concept: '(' is no regular expression: "),
        (
            {"concept": "the .+"},
            "--model-args concept: expected a group around the concept, as in (.+), found 'the .+'",
        ),
    ],
)
def test_arguments_of_another_form_are_refused(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as error:
        Sam(str(write(tmp_path, '{"model_type": "sam"}')), **arguments)
    assert message in str(error.value)


def test_without_its_packages_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(SpecError, match=r"--model sam: needs torch, transformers, not installed; pip install"):
        Sam("x")


def test_weights_that_are_gone_or_of_another_class_are_named(tmp_path: Path, folder: Callable[[str], Path]) -> None:
    none = Sam(str(write(tmp_path / "none", '{"model_type": "sam"}')))
    with pytest.raises(ModelError, match=r"^transformers cannot load it: OSError: .*no file named"):
        none.load("cpu")
    # The weights of a SAM beside the configuration of a SAM 2.
    mixed = write(tmp_path / "mixed", (folder("sam2") / "config.json").read_text())
    (mixed / "model.safetensors").symlink_to(folder("sam") / "model.safetensors")
    with pytest.raises(
        ModelError, match=r"mixed: its weights lack \d+ of Sam2Model, such as \S+; expected a checkpoint"
    ):
        Sam(str(mixed)).load("cpu")
    (mixed / "model.safetensors").unlink()
    (mixed / "model.safetensors").symlink_to(folder("sam2") / "model.safetensors")
    with pytest.raises(ModelError, match=r"^its image processor: "):
        Sam(str(mixed)).load("cpu")


def test_an_image_processor_of_another_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text('{"size": {"longest_edge": 64}}')
    with pytest.raises(ModelError, match=r"expected a square size with height and width, image_mean and image_std"):
        StretchedPixels.read(str(tmp_path), None)


class NoConcept:
    """A model of concepts that finds nothing, whose tokens are words."""

    class encoder:  # noqa: N801 - what the adapter reads
        @staticmethod
        def embedded(*_: Any) -> None: ...

    def length(self, concept: str) -> int:
        return len(concept.split())

    def segment(self, *_: Any) -> list[Any]:
        return []


def test_questions_without_a_concept_are_refused_and_long_ones_remarked(tmp_path: Path) -> None:
    adapter = Sam(str(write(tmp_path, '{"model_type": "sam3"}')), concept="segment the (.*)\\.")
    adapter.segmenter, adapter.concepts = None, NoConcept()  # type: ignore[assignment]
    request = asked(picture())
    assert refused(adapter, request) == (
        "--model-args concept: 'segment the (.*)\\\\.' does not match the question 'Segment it.'"
    )
    adapter.concept = None
    (answer,) = adapter.predict([request])
    assert answer.rendered == "Segment it."
    assert [bool(mask.any()) for mask in answer.masks] == [False]
    assert answer.remarks == ()
    adapter.concepts.length = lambda _: 33  # type: ignore[method-assign, union-attr]
    (answer,) = adapter.predict([request])
    assert answer.remarks == ("the concept has 33 tokens; the model reads the first 32",)
