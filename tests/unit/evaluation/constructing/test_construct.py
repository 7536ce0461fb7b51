"""Constructions from tiny releases: what they write and turn away, and that nothing changes or is asked twice."""

import csv
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from harness.cli import main
from harness.data.construction.registry import PIPELINES, find_pipeline
from harness.errors import DataError, InterruptedRunError, SpecError
from harness.evaluation.constructing.construct import Constructed, ConstructSpec, construct
from harness.evaluation.constructing.review import take_labels, write_review
from tests.support.tiny_m3d import write_tiny_cap, write_tiny_seg

WRITER = str(Path(__file__).parents[3] / "support" / "rule_writer.py") + ":RuleWriter"
OUTPUTS = ("card.md", "funnel.json", "funnel.html", "rejected.jsonl", "pedigree.jsonl", "split.json")


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """M3D's releases with a few volumes."""
    return write_tiny_seg(write_tiny_cap(tmp_path_factory.mktemp("tiny-m3d")))


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("construct-cache")


def spec(data: Path, cache: Path, out: Path, pipeline: str = "m3d-vqa", **options: Any) -> ConstructSpec:
    return ConstructSpec(
        **{"pipeline": pipeline, "llm": WRITER, "data_roots": (str(data),), "out": out, "cache": cache, **options}
    )


@pytest.fixture(scope="session")
def made(data: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Constructed:
    """M3D-VQA by a rule that makes no mistakes."""
    return construct(spec(data, cache, tmp_path_factory.mktemp("construct") / "vqa"))


def digests(out: Path) -> dict[str, str]:
    """Return the sha256 of every output, the release's files included."""
    files = [out / name for name in OUTPUTS] + [path for path in (out / "release").rglob("*") if path.is_file()]
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)}


def lines(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        yield json.loads(line)


def reasons(made: Constructed) -> dict[str, int]:
    return {reason: n for step in made.funnel["steps"] for reason, n in step["rejected"].items()}


def test_good_items_all_stay_and_are_read_back_without_a_defect(made: Constructed) -> None:
    assert made.defects == ()
    assert reasons(made) == {}
    assert made.funnel["release"]["items"] == 4 * 9
    assert {split: one["items"] for split, one in made.funnel["release"]["by_split"].items()} == {
        "train": 18,
        "validation": 9,
        "test": 9,
    }
    with (made.out / "release/M3D_VQA/M3D_VQA_test.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["Question Type"] for row in rows] == list("123444555")
    assert "m3d_vqa, test | 9 | none" in (made.out / "card.md").read_text(encoding="utf-8")


def test_every_record_has_its_pedigree(made: Constructed) -> None:
    found = list(lines(made.out / "pedigree.jsonl"))
    assert len(found) == made.funnel["release"]["items"]
    for line in found:
        assert all(len(value) == 64 for value in line["inputs"].values())
        assert len(line["inputs"]) == 2
        assert line["replies"][0]["prompt"] == "m3d_vqa/generate"
        assert "Question-9" in line["replies"][0]["text"]
        assert line["model"] is not None
    # Only what models are measured on is checked by the model, too.
    assert {len(line["replies"]) for line in found if line["split"] == "train"} == {1}
    assert {len(line["replies"]) for line in found if line["split"] == "test"} == {2}


def test_an_interrupted_construction_goes_on_to_the_same_bytes_and_asks_nothing_twice(
    data: Path, cache: Path, tmp_path: Path, made: Constructed, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.runs.engine.progress import RunProgress

    finish, finished = RunProgress.finish, []

    def interrupted(progress: RunProgress, number: int, answers: Any) -> None:
        finish(progress, number, answers)
        finished.append(number)
        if len(finished) in (1, 3):
            raise KeyboardInterrupt

    monkeypatch.setattr(RunProgress, "finish", interrupted)
    out = tmp_path / "killed"
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            construct(spec(data, cache, out))
        assert not (out / "release").exists()
    again = construct(spec(data, cache, out))
    assert digests(out) == digests(made.out)
    keys = [line["key"] for line in lines(out / "run/predictions/predictions.jsonl")]
    assert len(keys) == len(set(keys)) == 4 + 18
    assert construct(spec(data, cache, out)).asked == 0
    assert again.funnel == made.funnel


def test_media_are_links_or_copies_of_the_same_bytes(
    data: Path, cache: Path, tmp_path: Path, made: Constructed
) -> None:
    copied = construct(spec(data, cache, tmp_path / "copied", copy_media=True, read_back=False))
    image = "release/M3D_Cap_npy/ct_case/000000/Axial_C__arterial_phase.npy"
    assert (made.out / image).is_symlink()
    assert not (copied.out / image).is_symlink()
    assert (made.out / image).read_bytes() == (copied.out / image).read_bytes()
    assert "not read back" in (copied.out / "card.md").read_text(encoding="utf-8")


GOOD = (
    "Question-1: Along which plane were the slices taken? Choice: A. axial B. coronal C. sagittal D. oblique "
    "Answer: A. axial\n"
)


def vqa_reply(**changed: str) -> str:
    """Return a reply with one good question per number, or another under `q1` to `q9`."""
    good = {
        f"q{n}": GOOD.replace("Question-1", f"Question-{n}").replace("slices", f"slices of part {n}")
        for n in range(1, 10)
    }
    return "\n".join({**good, **changed}.values())


PLANTED: Mapping[str, tuple[dict[str, str], str]] = {
    "prose": ({}, "unreadable_reply"),
    "option": (
        {"q3": GOOD.replace("Question-1", "Question-3").replace("Answer: A. axial", "Answer: A. radial")},
        "answer_not_in_options",
    ),
    "organ": (
        {"q3": "Question-3: Is the uterus seen in the image? Choice: A. yes B. no C. partly D. twice Answer: A. yes\n"},
        "hallucinated_organ",
    ),
    "leak": (
        {"q3": GOOD.replace("Question-1", "Question-3").replace("which plane", "the axial plane, which plane")},
        "leaked_answer",
    ),
    "refusal": (
        {
            "q3": GOOD.replace("Question-1", "Question-3").replace(
                "Along which plane were the slices taken?", "I'm sorry, but I cannot assist with that?"
            )
        },
        "refusal",
    ),
    "twice": ({"q3": GOOD.replace("Question-1", "Question-3").replace("slices", "slices of part 1")}, "duplicate"),
    "foreign": (
        {
            "q3": GOOD.replace("Question-1", "Question-3").replace(
                "Along which plane were the slices taken?",
                "In welcher Ebene wurden die Schichten der Leber aufgenommen und warum nicht anders?",
            )
        },
        "foreign_language",
    ),
    "long": ({"q3": GOOD.replace("Question-1", "Question-3").replace("taken", "taken " + "again " * 80)}, "over_long"),
    "side": (
        {"q3": GOOD.replace("Question-1", "Question-3").replace("plane were the slices", "plane was the left kidney")},
        "wrong_laterality",
    ),
    "empty": (
        {"q3": GOOD.replace("Question-1", "Question-3").replace("Along which plane were the slices taken?", "")},
        "empty",
    ),
    "three": (
        {"q3": "Question-3: Which plane? Choice: A. axial B. coronal C. sagittal Answer: A. axial\n"},
        "four_options",
    ),
    "missing": ({"q3": ""}, "missing_question"),
    "report": (
        {"q3": GOOD.replace("Question-1", "Question-3").replace("slices", "slices in the report")},
        "of_the_report",
    ),
    "nothing": ({"q3": GOOD.replace("Question-1", "Question-3").replace("D. oblique", "D. None")}, "reads_as_missing"),
}


def test_every_planted_fault_is_caught_by_its_name_and_good_items_stay(cache: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    cap = root / "M3D_Cap_npy/ct_case"
    write_tiny_cap(root)
    listed, replies = [], []
    for number, (name, (changed, _)) in enumerate(PLANTED.items()):
        case = cap / f"9{number:05}"
        case.mkdir()
        image = f"M3D_Cap_npy/ct_case/9{number:05}/Axial.npy"
        (root / image).write_bytes((cap / "000000/Axial_C__arterial_phase.npy").read_bytes() + bytes([number]))
        (case / "text.txt").write_text("An axial series of the liver and the right kidney.", encoding="utf-8")
        listed.append({"image": image, "text": f"M3D_Cap_npy/ct_case/9{number:05}/text.txt"})
        text = "I see a liver." if name == "prose" else vqa_reply(**changed)
        replies.append({"sample_id": f"{image.removesuffix('.npy')}/generate", "text": text})
    (root / "M3D_Cap_npy/M3D_Cap.json").write_text(json.dumps({"train": listed}), encoding="utf-8")
    file = tmp_path / "replies.jsonl"
    file.write_text("".join(json.dumps(one) + "\n" for one in replies), encoding="utf-8")
    made = construct(spec(root, cache, tmp_path / "out", llm="scripted", llm_args={"file": str(file)}, read_back=False))
    assert reasons(made) == {reason: 1 for _, reason in PLANTED.values()}
    # Of each reply but the one in prose eight questions are good.
    assert made.funnel["release"]["items"] == 8 * (len(PLANTED) - 1)
    rejected = list(lines(made.out / "rejected.jsonl"))
    assert len(rejected) == len(PLANTED)
    assert all(line["replies"] and line["detail"] for line in rejected)


@pytest.mark.parametrize(
    ("pipeline", "items", "rejected"),
    [
        ("m3d-refseg", 2 * 6, {"empty_region": 2}),
        ("m3d-positioning", 2 * 2 * 4, {"flat_box": 2 * 4}),
        ("term-dictionary", 3 * 16, {}),
    ],
)
def test_the_other_pipelines_of_m3d_are_read_back_without_a_defect(
    data: Path, cache: Path, tmp_path: Path, pipeline: str, items: int, rejected: dict[str, int]
) -> None:
    llm = None if pipeline == "m3d-positioning" else WRITER
    made = construct(spec(data, cache, tmp_path / "out", pipeline, llm=llm))
    assert made.defects == ()
    assert reasons(made) == rejected
    assert made.funnel["release"]["items"] == items


def test_the_verdicts_of_the_model_count(data: Path, cache: Path, tmp_path: Path) -> None:
    names = [f"M3D_Cap_npy/ct_case/00000{n}/Axial_C__arterial_phase" for n in range(4)]
    replies = [{"sample_id": f"{name}/generate", "text": vqa_reply()} for name in names]
    replies += [{"sample_id": f"{names[3]}/check/{n}", "text": "Yes"} for n in range(1, 8)]
    replies += [{"sample_id": f"{names[3]}/check/8", "text": "NO. The plane is another."}]
    file = tmp_path / "replies.jsonl"
    file.write_text("".join(json.dumps(one) + "\n" for one in replies), encoding="utf-8")
    made = construct(
        spec(data, cache, tmp_path / "out", llm="scripted", llm_args={"file": str(file), "text": "Perhaps."})
    )
    # Of test one is found wrong and one gets no verdict; of validation none gets one.
    assert reasons(made) == {"found_wrong": 1, "no_verdict": 1 + 9}
    assert made.funnel["release"]["by_split"]["test"]["items"] == 7


def test_limits_nest_and_another_construction_is_refused_in_the_same_folder(
    data: Path, cache: Path, tmp_path: Path
) -> None:
    taken = {}
    for limit in (1, 3):
        construct(spec(data, cache, tmp_path / str(limit), limit=limit, read_back=False))
        taken[limit] = {line["id"] for line in lines(tmp_path / str(limit) / "run/sources.jsonl")}
    assert taken[1] < taken[3]
    with pytest.raises(SpecError, match="holds another run") as error:
        construct(spec(data, cache, tmp_path / "1", limit=2))
    assert "limit: stored 1, requested 2" in str(error.value)


def test_a_failed_request_is_rejected_and_asked_again_only_on_demand(data: Path, cache: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    adapter = tmp_path / "flaky.py"
    adapter.write_text(FLAKY.format(mark=str(tmp_path / "well")), encoding="utf-8")
    options = {"llm": f"{adapter}:Flaky", "read_back": False}
    made = construct(spec(data, cache, out, "term-dictionary", **options))
    assert reasons(made) == {"model_error": 1, "wrong_json": 2}
    (tmp_path / "well").touch()
    assert construct(spec(data, cache, out, "term-dictionary", **options)).asked == 0
    again = construct(spec(data, cache, out, "term-dictionary", retry_failed=True, **options))
    assert (again.asked, reasons(again)) == (1, {"wrong_json": 3})


FLAKY = """
from pathlib import Path
from harness import Answer, Capabilities, ErrorInfo

class Flaky:
    def capabilities(self):
        return Capabilities(takes=frozenset({{"text"}}), batch_invariant=True)

    def load(self, device):
        pass

    def predict(self, requests):
        if "spleen" in requests[0].prompt and not Path({mark!r}).exists():
            return [Answer(error=ErrorInfo(type="Down", message="no one is there"))]
        return [Answer(text="no list")]
"""


def test_a_model_that_only_fails_stops_the_construction(
    data: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.runs.engine.progress.LEAST_FINISHED", 1)
    monkeypatch.setattr("harness.evaluation.constructing.construct.DEFAULT_BATCH", 1)
    options = {"llm": "scripted", "llm_args": {"fail_every": 1}}
    with pytest.raises(InterruptedRunError, match=r"failed on all of the first [\s\S]* --retry-failed asks them again"):
        construct(spec(data, cache, tmp_path / "out", "term-dictionary", **options))


def test_what_cannot_begin_says_why(data: Path, cache: Path, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "notes.txt").touch()
    wrong: dict[str, dict[str, Any]] = {
        r"construct m3d-vq: expected one of mecovqa, .*did you mean 'm3d-vqa'": {"pipeline": "m3d-vq"},
        r"--llm: pipeline m3d-vqa asks a model; expected the reference of one, found none": {"llm": None},
        r"--llm baseline:otsu: expected a model that gives text, this one gives": {"llm": "baseline:otsu"},
        r"--llm .*: expected a model that reads the question, this one takes the target": {"llm": "baseline:oracle"},
        r"--limit 0: expected a whole number of at least 1": {"limit": 0},
        r"holds other files and no construction": {"out": full},
        r"--llm openai:x sends what is known of the sources to localhost\. .*--send-data-to localhost": {
            "llm": "openai:x",
            "llm_args": {"base_url": "http://localhost:1/v1"},
        },
    }
    for words, options in wrong.items():
        with pytest.raises(SpecError, match=words):
            construct(spec(data, cache, **{"out": tmp_path / "new", **options}))


def test_a_data_root_without_sources_is_an_error(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "root/M3D_RefSeg").mkdir(parents=True)
    with pytest.raises(SpecError, match=r"construct m3d-refseg: expected sources below .*, found none"):
        construct(spec(tmp_path / "root", cache, tmp_path / "out", "m3d-refseg"))
    (tmp_path / "root/M3D_Cap_npy").mkdir()
    (tmp_path / "root/M3D_Cap_npy/M3D_Cap.json").write_text('{"train": [{"text": "a.txt"}]}', encoding="utf-8")
    with pytest.raises(DataError, match="train: expected an entry with image and text, found"):
        construct(spec(tmp_path / "root", cache, tmp_path / "out"))


def test_people_reject_items_and_the_release_is_made_anew(
    data: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDGROUND_CACHE", str(cache))
    made = construct(spec(data, cache, tmp_path / "out"))
    page, shown = write_review(made.out, (), number=10, seed=0)
    assert shown == 10
    text = page.read_text(encoding="utf-8")
    assert text.count("<article") == 10
    assert "data:image/png;base64," in text
    item = next(lines(made.out / "pedigree.jsonl"))["item"]
    labels = tmp_path / "labels.jsonl"
    labels.write_text(json.dumps({"item": item, "label": "reject", "note": "not seen"}) + "\n", encoding="utf-8")
    again = take_labels(made.out, labels, ())
    assert again.funnel["release"]["items"] == made.funnel["release"]["items"] - 1
    assert reasons(again) == {"human_review": 1}
    # The labels stay with the construction: the same command keeps them, and a later label takes one back.
    assert construct(spec(data, cache, made.out)).funnel == again.funnel
    labels.write_text(json.dumps({"item": item, "label": "keep"}) + "\n", encoding="utf-8")
    assert take_labels(made.out, labels, ()).funnel["release"] == made.funnel["release"]
    for content, words in (
        ('{"item": "x", "label": "keep"}', "expected items of .*, found x; is it the file of another construction"),
        ('{"item": "x", "label": "perhaps"}', "labels.jsonl:1: expected .*found ValueError: label 'perhaps'"),
    ):
        labels.write_text(content, encoding="utf-8")
        with pytest.raises(SpecError, match=words):
            take_labels(made.out, labels, ())
    with pytest.raises(SpecError, match="no such file; expected the one that the page saves"):
        take_labels(made.out, tmp_path / "none", ())
    with pytest.raises(SpecError, match="expected a finished construction, found none"):
        write_review(tmp_path, (), number=1, seed=0)


def test_the_command_names_the_pipelines_and_shows_the_funnel(data: Path, cache: Path, tmp_path: Path) -> None:
    shown = CliRunner().invoke(main, ["construct", "--help"])
    assert shown.exit_code == 0
    assert all(name in shown.output for name in PIPELINES)
    words = ["construct", "term-dictionary", "--data-root", str(data), "--llm", WRITER, "--out", str(tmp_path / "out")]
    result = CliRunner(env={"MEDGROUND_CACHE": str(cache)}).invoke(main, words)
    assert result.exit_code == 0
    assert "read_definitions         items           48 ->        48" in result.stdout
    assert "release  " in result.stderr


def test_every_pipeline_of_the_table_has_checks_data_and_a_reading() -> None:
    for name in PIPELINES:
        pipeline = find_pipeline(name)
        assert pipeline.name == name
        assert pipeline.read_back
        assert pipeline.data
        assert pipeline.licences
        assert sum(pipeline.shares.values()) == pytest.approx(1)
        assert len({step.name for step in pipeline.steps}) == len(pipeline.steps)
