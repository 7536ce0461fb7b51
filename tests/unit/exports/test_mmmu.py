"""The answers of a run on MMMU as its server takes them."""

import json
from pathlib import Path

import pytest

from harness.data.phantoms.writers.mmmu import write_mmmu
from harness.errors import SpecError
from harness.evaluation.evaluate import evaluate
from harness.evaluation.setup import RunSpec
from harness.exports.mmmu import Submission, submission, write_submission
from tests.support.tiny_vqa_rad import write_release


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mmmu")
    write_mmmu(root, 3)
    return root


def submitted(release: Path, folder: Path, replies: dict[str, str]) -> Submission:
    """Return what is submitted of a predictions file with these replies, by MMMU's ids."""
    lines = [json.dumps({"sample_id": f"mmmu/test/{name}", "text": words}) for name, words in replies.items()]
    (folder / "mine.jsonl").write_text("\n".join(lines) + "\n")
    spec = RunSpec(
        tasks=("mmmu_hm_test",),
        model=f"predictions:{folder / 'mine.jsonl'}",
        data_roots=(str(release),),
        out=folder / "run",
        cache=folder / "cache",
        ray="off",
        max_failures="100%",
    )
    return submission(evaluate(spec).out)


def test_letters_are_read_and_words_stand_as_they_are(release: Path, tmp_path: Path) -> None:
    key = json.loads((release / "mmmu" / "answer_dict_test.json").read_text())
    lettered = [name for name, entry in key.items() if entry["question_type"] == "multiple-choice"]
    opened = next(name for name, entry in key.items() if entry["question_type"] != "multiple-choice")
    replies = {lettered[0]: "The answer is (B).", lettered[1]: "It cannot be said.", opened: "  two lesions "}
    found = submitted(release, tmp_path, replies)
    assert set(found.answers) == set(key)
    assert [found.answers[name] for name in replies] == ["B", "", "two lesions"]
    assert (found.unread, found.unanswered) == (1, len(key) - 3)
    assert found.answers[lettered[2]] == ""


def test_a_run_without_mmmu_is_refused(tmp_path: Path) -> None:
    root = write_release(tmp_path / "data", 2)
    spec = RunSpec(
        tasks=("vqa_rad",),
        model="scripted",
        data_roots=(str(root),),
        out=tmp_path / "run",
        cache=tmp_path / "cache",
        ray="off",
        max_failures="100%",
    )
    run = evaluate(spec).out
    with pytest.raises(
        SpecError, match="expected a run of mmmu_hm_test or another task that reads MMMU, found vqa_rad"
    ):
        submission(run)


def test_the_file_maps_ids_to_answers_in_any_script(tmp_path: Path) -> None:
    write_submission(tmp_path / "a.json", Submission(answers={"test_1": "脾"}, unread=0, unanswered=0))
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n "test_1": "脾"\n}\n'


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"--out .*: cannot be written: Is a directory; name another file"):
        write_submission(tmp_path, Submission(answers={}, unread=0, unanswered=0))
