"""A table as a release: samples, ids, clusters, strata, splits, images in every form, and what is reported."""

import base64
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.data.integrity import Integrity
from harness.data.manifest import prepare
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.question_tables.reader import READER
from harness.data.releases.reader import ReleaseAbsentError, ReleaseRequest
from harness.errors import DataError, SpecError
from harness.records import Sample
from harness.tasks.task_file import load_task
from tests.support.own_data import picture, write_pictures


def asked(split: str = "all", **options: Any) -> ReleaseRequest:
    return ReleaseRequest(dataset="q", split=split, options=options)


def read(root: Path, split: str = "all", where: Any = None, **options: Any) -> tuple[list[Sample], Integrity]:
    request = ReleaseRequest(dataset="q", split=split, options=options, where=where or {})
    READER.check(request)
    reader, integrity = READER.fitted(request), Integrity()
    reader.check_split(root, split)
    derived = root.parent / f"{root.name}-derived"
    found = []
    for _, sample in reader.read(ReleaseFiles(root=root, derived=derived), request, integrity):
        integrity.count(sample)
        found.append(sample)
    return found, integrity


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    write_pictures(folder / "images")
    return folder


def write(root: Path, text: str, name: str = "q.csv") -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_a_row_becomes_a_sample(root: Path) -> None:
    write(root, "Nr;Bild;Frage;Antwort;Person;Organ\n7;0.png;Is it?;No;p1;Lung\n8;1.png;What?;None;p1;\n")
    columns = {
        "question": "Frage",
        "answer": "Antwort",
        "image": "Bild",
        "id": "Nr",
        "patient": "Person",
        "organ": "Organ",
    }
    (first, second), integrity = read(root, file="q.csv", images="images", columns=columns)
    assert (first.id, first.question, first.target.answers, first.cluster) == ("q/all/7", "Is it?", ("No",), "p1")
    assert first.media[0].path == "images/0.png"
    assert first.strata == {"answer_type": "closed", "form": "words", "organ": "lung"}
    assert second.target.answers == ("None",)
    assert second.strata == {"answer_type": "open", "form": "words", "organ": "unknown"}
    assert (integrity.counts, integrity.repairs) == ({}, {})


def test_without_ids_and_patients_the_row_and_the_image_stand_in(root: Path) -> None:
    write(root, "image,question,answer\n0.png,a,b\n1.png,c,d\n")
    first, second = read(root, file="q.csv", images="images")[0]
    assert (first.id, second.id, second.cluster) == ("q/all/0", "q/all/1", "images/1.png")


def test_options_in_columns_with_letters_and_in_one_column_with_texts_mean_the_same(root: Path) -> None:
    write(root, "image,question,answer,A,B,C\n0.png,a,B,lung,liver,\n", "letters.csv")
    write(root, 'image,question,answer,options\n0.png,a,Liver,"[""lung"", ""liver""]"\n', "texts.csv")
    (letters,), _ = read(root, file="letters.csv", images="images")
    (texts,), _ = read(root, file="texts.csv", images="images")
    assert letters.choices == texts.choices == ("lung", "liver")
    assert letters.target == texts.target
    assert (letters.target.choice, letters.target.answers, letters.strata["form"]) == ("B", ("liver",), "options")


def test_questions_with_and_without_options_stand_in_one_table_and_are_told_apart(root: Path) -> None:
    write(root, "image,question,answer,A,B\n0.png,a,B,lung,liver\n0.png,b,left,,\n0.png,c,,,\n")
    samples, integrity = read(root, file="q.csv", images="images")
    assert [(one.strata["form"], one.strata["answer_type"]) for one in samples] == [
        ("options", "closed"),
        ("words", "open"),
        ("words", "unknown"),
    ]
    assert samples[2].defect is None
    assert [finding.detail for finding in integrity.findings] == ["1 questions, the first at q.csv:4"]
    kept, integrity = read(root, where={"form": ("options",)}, file="q.csv", images="images")
    assert ([one.id for one in kept], integrity.selected) == (["q/all/0"], (3, 1))


def test_what_is_wrong_with_a_row_is_reported_and_the_row_is_kept(root: Path) -> None:
    rows = [
        "0.png,,yes,,",  # no question
        ",is it?,yes,,",  # no image
        "9.png,is it?,yes,,",  # an image that is not there
        "0.png,which?,spleen,lung,liver",
        "0.png,which?,lung,lung,",  # one option
        "0.png,which?,lung,lung,liver",  # by text in a table of letters
        "0.png,which?,A,lung,liver",
        "0.png,which?,B,lung,liver",
    ]
    write(root, "image,question,answer,A,B\n" + "\n".join(rows) + "\n")
    samples, integrity = read(root, file="q.csv", images="images")
    assert [one.defect for one in samples] == [
        "the record has no question",
        "the record names no image",
        "image images/9.png is missing",
        "the right answer is not one of the options",
        "the options cannot be read",
        None,
        None,
        None,
    ]
    assert integrity.counts == {
        "missing_value": 2,
        "answer_not_among_options": 1,
        "missing_file": 1,
        "mixed_answers": 1,
        "unreadable_options": 1,
    }
    assert {finding.where for finding in integrity.findings} >= {"q.csv:2", "q.csv:3", "q.csv:5", "q.csv:6", "q.csv:7"}
    assert samples[5].target.choice == "A"


def test_several_right_answers_are_accepted_for_words_and_refused_for_options(root: Path) -> None:
    records = [
        {"image": "0.png", "question": "a", "answer": ["left", "left side"]},
        {"image": "0.png", "question": "b", "answer": ["x", "y"], "options": ["x", "y", "z"]},
    ]
    write(root, json.dumps(records), "q.json")
    (words, options), integrity = read(root, file="q.json", images="images")
    assert words.target.answers == ("left", "left side")
    assert options.defect == "there are several right options"
    assert "expected one right option, found 2: x, y" in integrity.findings[0].detail
    write(root, "image,question,answer\n0.png,a,left; left side\n")
    (sample,), _ = read(root, file="q.csv", images="images", separators={"answer": ";"})
    assert sample.target.answers == ("left", "left side")
    (sample,), _ = read(root, file="q.csv", images="images")
    assert sample.target.answers == ("left; left side",)


@pytest.mark.parametrize(
    ("cell", "finding"),
    [
        ("/etc/passwd", "outside_path"),
        ("../secret.png", "outside_path"),
        ("C:/a.png", "outside_path"),
        ("https://example.org/a.png", "outside_path"),
        ("data:image/png;base64,????", "unreadable_file"),
        ("a" * 100, "unreadable_file"),
    ],
)
def test_images_outside_of_the_data_are_never_opened(root: Path, cell: str, finding: str) -> None:
    (root.parent / "secret.png").write_bytes(picture(0))
    write(root, json.dumps([{"image": cell, "question": "a", "answer": "b"}]), "q.json")
    (sample,), integrity = read(root, file="q.json", images="images")
    assert sample.defect is not None
    assert cell not in sample.defect
    assert [one.kind for one in integrity.findings] == [finding]


def test_names_are_found_in_other_forms_and_counted(root: Path) -> None:
    (root / "images/Mu\u0308ller.PNG").write_bytes(picture(5))
    names = ["1", "sub\\2.png", "m\u00fcller.png", "/mnt/x/0.png"]
    (root / "images/sub").mkdir()
    (root / "images/sub/2.png").write_bytes(picture(2))
    write(root, json.dumps([{"image": name, "question": "a", "answer": "b"} for name in names]), "q.json")
    samples, integrity = read(root, file="q.json", images="images", image_prefix="/mnt/x/")
    assert [one.media[0].path for one in samples] == [
        "images/1.png",
        "images/sub/2.png",
        "images/Mu\u0308ller.PNG",
        "images/0.png",
    ]
    assert integrity.repairs == {"backslash_in_path": 1, "name_form": 1, "suffix_added": 1}
    (root / "images/M\u00dcLLER.png").write_bytes(picture(6))
    samples, _ = read(root, file="q.json", images="images", image_prefix="/mnt/x/")
    assert samples[2].defect == "image images/m\u00fcller.png is missing"


@pytest.mark.parametrize("cell", [["0.png", "1.png"], "['0.png', '1.png']", '["0.png", "1.png"]', "0.png, 1.png"])
def test_several_images_of_a_question_keep_their_order(root: Path, cell: Any) -> None:
    write(root, json.dumps([{"image": cell, "question": "a", "answer": "b"}]), "q.json")
    (sample,), _ = read(root, file="q.json", images="images", separators={"image": ","})
    assert [media.path for media in sample.media] == ["images/0.png", "images/1.png"]


def test_vlmevalkits_images_are_decoded_and_referred_to_by_index(root: Path) -> None:
    first, second = (base64.b64encode(picture(number)).decode() for number in (0, 1))
    rows = [("5", "6"), ("6", first), ("7", f"data:image/png;base64,{second}"), ("8", "6"), ("9", "3")]
    lines = ["index\timage\tquestion\tanswer\tA\tB", *(f"{index}\t{image}\tq?\tA\tx\ty" for index, image in rows)]
    write(root, "\n".join(lines) + "\n", "b.tsv")
    samples, integrity = read(root, file="b.tsv")
    paths = [one.media[0].path for one in samples]
    assert paths[0] == paths[1] == paths[3] != paths[2]
    assert (root.parent / "root-derived" / paths[0]).read_bytes() == picture(0)
    # An index that no row holds an image for is a name, and no file has it.
    assert samples[4].defect == "image 3 is missing"
    assert (integrity.counts, samples[0].media[0].size) == ({"missing_file": 1}, (8, 10))


def test_images_that_parquet_holds_are_written_to_the_cache(root: Path) -> None:
    rows = [{"image": {"bytes": picture(0), "path": None}, "question": "a", "answer": "b"}]
    pd.DataFrame([*rows, {"image": {"bytes": None, "path": "1.png"}, "question": "c", "answer": "d"}]).to_parquet(
        root / "q.parquet"
    )
    (first, second), _ = read(root, file="q.parquet", images="images")
    assert first.media[0].path.startswith("vqa_table/")
    assert second.media[0].path == "images/1.png"


def test_a_chat_is_read_and_its_later_turns_and_system_words_reported(root: Path) -> None:
    chat = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "liver"}]
    more = [{"from": "system", "value": "Be brief."}, *chat, {"from": "human", "value": "Where?"}]
    records = [
        {"id": "a", "image": "0.png", "conversations": chat},
        {"id": "b", "image": "1.png", "conversations": more},
    ]
    write(root, json.dumps(records), "chat.json")
    (first, _), integrity = read(root, file="chat.json", images="images")
    assert (first.id, first.question, first.target.answers) == ("q/all/a", "<image>\nWhat?", ("liver",))
    assert integrity.counts == {"later_turn": 1, "not_asked": 1}


def test_questions_without_images_are_asked_without(root: Path) -> None:
    write(root, "question,answer\na,b\n")
    with pytest.raises(SpecError, match="expected a column 'image' or 'image_path'"):
        read(root, file="q.csv")
    (sample,), _ = read(root, file="q.csv", columns={"image": ""})
    assert (sample.media, sample.cluster, sample.defect) == ((), "0", None)


def test_splits_of_a_column_and_overlap_with_train(root: Path) -> None:
    rows = ["0.png,a,b,train,p1", "0.png,c,d,test,p1", "1.png,e,f,test,p2", "1.png,g,h,,p3"]
    write(root, "image,question,answer,split,patient\n" + "\n".join(rows) + "\n")
    reader = READER.fitted(asked(file="q.csv"))
    assert reader.splits(root) == ("test", "train")
    samples, integrity = read(root, "test", file="q.csv", images="images")
    assert [one.id for one in samples] == ["q/test/1", "q/test/2"]
    assert integrity.counts == {"missing_value": 1, "patient_overlap": 1, "train_test_overlap": 1}
    with pytest.raises(ReleaseAbsentError, match="found the splits test, train, not 'all'"):
        reader.check_split(root, "all")
    assert len(read(root, file="q.csv", images="images", columns={"split": ""})[0]) == 4


def test_splits_of_files_with_images_in_folders_of_their_own(root: Path) -> None:
    for split, number in (("train", 0), ("test", 1)):
        write_pictures(root / split / "pictures")
        for part in "ab":
            write(root, f"image,question,answer\n{number}.png,{part},x\n", f"data/{split}-{part}.csv")
    options = {"file": "data/{split}-*.csv", "images": "{split}/pictures"}
    assert READER.fitted(asked(**options)).splits(root) == ("test", "train")
    samples, integrity = read(root, "test", **options)
    assert [(one.id, one.question, one.media[0].path) for one in samples] == [
        ("q/test/0", "a", "test/pictures/1.png"),
        ("q/test/1", "b", "test/pictures/1.png"),
    ]
    assert integrity.counts == {}


def test_the_whole_table_decides_how_answers_are_named(root: Path) -> None:
    rows = ["0.png,a,A,test,B,A", "0.png,b,B,train,x,y"]
    write(root, "image,question,answer,split,A,B\n" + "\n".join(rows) + "\n")
    (sample,), _ = read(root, "test", file="q.csv", images="images")
    assert sample.target.choice == "A"


def test_numbers_of_options_are_read_as_the_task_says(root: Path) -> None:
    records = [{"image": "0.png", "question": "a", "options": ["x", "y"], "answer": 1}]
    write(root, json.dumps(records), "q.json")
    with pytest.raises(
        DataError, match=r"q\.json\[0\]: expected the right option's letter or text, found whole numbers"
    ):
        read(root, file="q.json", images="images")
    (sample,), _ = read(root, file="q.json", images="images", answers="index_from_0")
    assert (sample.target.choice, sample.target.answers) == ("B", ("y",))


def test_an_id_that_occurs_twice_ends_the_preparation_with_both_lines(root: Path, tmp_path: Path) -> None:
    write(root, "id,image,question,answer\n1,0.png,a,b\n2,0.png,c,d\n1,1.png,e,f\n")
    request = asked(file="q.csv", images="images")
    with pytest.raises(
        DataError, match=r"q/all/1: expected every sample id once, found it at q\.csv:2 and again at q\.csv:4"
    ):
        prepare(READER, request, roots=[root], cache=tmp_path / "cache")
    write(root, "id,image,question,answer\n,0.png,a,b\n")
    with pytest.raises(DataError, match=r"q\.csv:2: column 'id': expected an id, found an empty cell"):
        prepare(READER, request, roots=[root], cache=tmp_path / "cache")


def test_the_first_root_that_holds_the_table_is_taken_and_its_absence_named(root: Path, tmp_path: Path) -> None:
    write(root, "image,question,answer\n0.png,a,b\n")
    (tmp_path / "other").mkdir()
    reader = READER.fitted(asked(file="q.csv"))
    assert reader.find_root([tmp_path / "other", root]) == root
    with pytest.raises(
        ReleaseAbsentError, match=r"vqa_table: expected q\.csv below a data root, looked in: .*other\. Put"
    ):
        reader.find_root([tmp_path / "other"])
    with pytest.raises(ReleaseAbsentError, match="found the splits none"):
        READER.fitted(asked(file="{split}.tsv")).check_split(root, "test")


@pytest.mark.parametrize(
    ("option", "value", "fault"),
    [
        ("file", "../q.csv", "expected the path of a table below the data root"),
        ("file", "q.xlsx", r"expected a file that ends in .*; save the sheet as CSV in UTF-8"),
        ("file", "{split}/*/*/*/*.csv", "expected fewer"),
        ("images", "/abs", "expected a folder below the data root"),
        ("image_prefix", 3, "expected text"),
        ("encoding", "utf-9", "expected an encoding such as utf-8, cp1252 or utf-16"),
        ("delimiter", ";;", "expected one character in quotes, or auto"),
        ("answers", "number", "expected 'auto' or 'letter'"),
        ("columns", [], "expected field: column"),
    ],
)
def test_wrong_options_are_named(option: str, value: Any, fault: str) -> None:
    with pytest.raises(SpecError, match=rf"release\.options\.{option}: {fault}"):
        READER.check(asked(**{option: value}))


def test_a_split_without_a_file_ends_the_reading(root: Path) -> None:
    write(root, "image,question,answer\n0.png,a,b\n", "test.csv")
    request = asked("val", file="{split}.csv")
    with pytest.raises(
        DataError, match=r"\{split\}\.csv: expected a table below the data root, found none; check its name"
    ):
        list(READER.fitted(request).read(ReleaseFiles(root=root, derived=root), request, Integrity()))


def test_a_task_without_a_table_names_the_option() -> None:
    with pytest.raises(SpecError, match="file: expected the path of a table below the data root"):
        READER.fitted(asked())


def task_file(root: Path, options: str, strata: str) -> Path:
    lines = [
        *("task: quiz", "version: 1", "title: Quiz", f"release: {{reader: vqa_table, split: all, options: {options}}}"),
        *("gives: text", 'oracle: "{answer}"', 'prompt: "{question} {organ}"', "metrics: [{metric: vqa_accuracy}]"),
        *("headline: {metric: vqa_accuracy}", f"strata: {strata}"),
    ]
    path = root / "quiz.yaml"
    path.write_text("\n".join(lines))
    return path


def test_a_task_may_break_down_by_the_strata_of_its_own_map(tmp_path: Path) -> None:
    task = load_task(task_file(tmp_path, "{file: q.csv, columns: {organ: Organ}}", "[answer_type, form, organ]"))
    assert task.strata == ("answer_type", "form", "organ")
    with pytest.raises(SpecError, match=r"reader 'vqa_table' does not tell 'orgn' \(did you mean 'organ'\?\), only"):
        load_task(task_file(tmp_path, "{file: q.csv, columns: {organ: Organ}}", "[organ, orgn]"))


def test_faulty_options_of_a_task_are_named_and_not_used(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        load_task(task_file(tmp_path, "{file: 3, columns: {organ: [a]}}", "[organ]"))
    for words in ("file: expected the path of a table", "columns: organ: expected the name of a column"):
        assert f"quiz.yaml:4: release.options.{words}" in str(caught.value)
