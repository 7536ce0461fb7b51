"""The model that is a file."""

from pathlib import Path

from harness.models.predictions_file import Predictions
from harness.records import Request


def test_each_request_gets_its_line_and_a_missing_one_an_error(tmp_path: Path) -> None:
    file = tmp_path / "p.jsonl"
    file.write_text('{"sample_id": "s/1", "text": "one"}\n{"sample_id": "s/2", "repeat": 1, "text": "two"}\n')
    model = Predictions(str(file))
    model.load("cpu")
    answers = model.predict([Request(sample_id="s/2", repeat=1), Request(sample_id="s/1"), Request(sample_id="s/3")])
    assert [answer.text for answer in answers] == ["two", "one", None]
    assert answers[2].error is not None
    assert answers[2].error.message == "p.jsonl: no line answers this sample"


def test_it_is_told_apart_by_the_files_bytes_and_asked_by_sample(tmp_path: Path) -> None:
    capabilities = Predictions(str(tmp_path / "p.jsonl")).capabilities()
    assert capabilities.weights == (str(tmp_path / "p.jsonl"),)
    assert capabilities.per_sample
    assert capabilities.batch_invariant
    assert capabilities.gives == {"text", "masks", "boxes", "nll", "embedding"}


def test_an_edited_mask_file_makes_another_model(tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "a.png").write_bytes(b"one")
    file = tmp_path / "p.jsonl"
    file.write_text(
        '{"sample_id": "s/1", "masks": [{"path": "masks/a.png"}]}\n'
        '{"sample_id": "s/2", "entities": [{"name": "liver", "mask": {"path": "masks/absent.png"}}]}\n'
        '{"sample_id": "s/3", "masks": [{"path": "../outside.png"}]}\n'
        '{"path": broken\n'
    )
    before = Predictions(str(file)).version
    assert before.startswith("1+")
    assert Predictions(str(file)).version == before
    (tmp_path / "masks" / "a.png").write_bytes(b"two")
    assert Predictions(str(file)).version != before


def test_without_mask_files_the_version_is_the_adapters(tmp_path: Path) -> None:
    file = tmp_path / "p.jsonl"
    file.write_text('{"sample_id": "s/1", "text": "yes"}\n')
    assert Predictions(str(file)).version == "1"
    assert Predictions(str(tmp_path / "absent.jsonl")).version == "1"
