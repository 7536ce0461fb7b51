import json
from pathlib import Path

import numpy as np
import pytest

from harness.comparison.gate import gate
from harness.comparison.pinned import pin, read_side
from harness.errors import DataError, SpecError
from harness.evaluation.evaluate import evaluate
from harness.evaluation.setup import RunSpec
from harness.records.codec import digest
from tests.support.tiny_vqa_rad import write_release


def run(folder: Path, text: str) -> Path:
    data = folder.parent / "data"
    if not data.exists():
        write_release(data, 6)
    spec = RunSpec(
        tasks=("vqa_rad",),
        model="scripted",
        model_args={"text": text},
        data_roots=(str(data),),
        out=folder,
        cache=folder.parent / "cache",
        ray="off",
    )
    return evaluate(spec).out


@pytest.fixture(scope="module")
def yes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that answers yes to six questions."""
    return run(tmp_path_factory.mktemp("pinned") / "yes", "yes")


@pytest.fixture(scope="module")
def file(yes: Path) -> Path:
    """The run, pinned."""
    pin(yes, yes.parent / "yes.json")
    return yes.parent / "yes.json"


def test_a_pinned_file_holds_what_the_run_holds(yes: Path, file: Path) -> None:
    a, b = read_side(yes), read_side(file)
    assert (a.run.model, a.run.data, a.run.limited) == (b.run.model, b.run.data, b.run.limited)
    first, second = (side.requests["vqa_rad"] for side in (a, b))
    assert (first.ids, first.clusters, first.answers) == (second.ids, second.clusters, second.answers)
    assert first.measures.keys() == second.measures.keys()
    one, other = (side.run.tasks["vqa_rad"] for side in (a, b))
    assert one.block == other.block
    for metric, protocol in {(row["metric"], row["protocol"]) for row in one.rows}:
        of_run, of_file = (it.read(metric, protocol) for it in (one, other))
        order = np.argsort(of_run.sample_ids.to_pylist())
        assert of_file.sample_ids.to_pylist() == sorted(of_run.sample_ids.to_pylist())
        assert np.array_equal(of_file.values, of_run.values[order], equal_nan=True)
        assert [of_file.cluster_names[at] for at in of_file.cluster] == [
            of_run.cluster_names[at] for at in of_run.cluster[order]
        ]
        assert [of_file.strata_values[at] for at in of_file.strata] == [
            of_run.strata_values[at] for at in of_run.strata[order]
        ]
        assert of_file.scored.tolist() == of_run.scored[order].tolist()


def test_the_same_answers_pass_against_run_and_file_and_others_of_few_patients_do_not(yes: Path, file: Path) -> None:
    assert gate(file, yes).exit_code == gate(yes, file).exit_code == 0
    no = run(yes.parent / "no", "no")
    report = gate(file, no)
    assert report.exit_code == 3
    assert "fewer than the 20" in report.rows[0].reason


@pytest.mark.slow
def test_the_same_model_run_again_gives_the_same_answers(yes: Path, file: Path) -> None:
    again = run(yes.parent / "again", "yes")
    assert gate(file, again).rows[0].reason.startswith("the same answers")


def test_a_file_that_was_laid_out_anew_is_read_and_one_with_another_number_is_not(file: Path, tmp_path: Path) -> None:
    whole = json.loads(file.read_text())
    (tmp_path / "indented.json").write_text(json.dumps(whole, indent=2))
    read_side(tmp_path / "indented.json")
    scores = next(iter(whole["content"]["tasks"]["vqa_rad"]["scores"].values()))
    scores["values"][0][0] = 0 if scores["values"][0][0] else 1
    path = tmp_path / "edited.json"
    path.write_text(json.dumps(whole))
    with pytest.raises(
        SpecError, match=r"edited.json: was changed after it was pinned: expected content with sha256 "
    ) as it:
        read_side(path)
    assert str(it.value).endswith(
        f"restore it from version control, or pin the run again: harness baseline pin RUN -o {path}"
    )


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("{", SpecError, "is damaged or no pinned baseline"),
        ("[]", SpecError, "is no pinned baseline; expected a file that `harness baseline pin RUN -o FILE` wrote"),
        ('{"medground_baseline": 2, "content": {}}', SpecError, "expected a pinned baseline of version 1, found 2"),
        ('{"medground_baseline": 1, "content": NaN}', SpecError, "holds a number that is none"),
        (
            json.dumps({"medground_baseline": 1, "sha256": digest({}), "content": {}}),
            DataError,
            "does not hold what a pinned baseline must",
        ),
    ],
)
def test_a_file_that_is_no_baseline_is_refused(text: str, kind: type[Exception], words: str, tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_text(text)
    with pytest.raises(kind, match=words):
        read_side(path)


def test_a_place_that_cannot_be_written_is_named(yes: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"there is no folder .*; make it, or name another file"):
        pin(yes, tmp_path / "no" / "file.json")
    with pytest.raises(SpecError, match=r"is a folder; name a file, such as .*baseline.json"):
        pin(yes, tmp_path)


def test_a_path_that_does_not_exist_names_both_kinds_of_baseline(tmp_path: Path) -> None:
    message = r"nope.json: does not exist; expected a run directory .*, or a file that `harness baseline pin` wrote"
    with pytest.raises(SpecError, match=message):
        read_side(tmp_path / "nope.json")
