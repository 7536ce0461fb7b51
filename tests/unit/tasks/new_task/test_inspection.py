"""A look at folders and files: which layout they have, what is taken, what is left to a person, what is refused."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.errors import DataError, SpecError
from harness.tasks.new_task.draft import Choices, Draft, flow, task_name
from harness.tasks.new_task.inspection import look
from harness.tasks.task_file import load_task
from tests.support import own_data
from tests.support.own_data import block, disc, picture, save, volume, write_pictures


def looked(path: Path, **choices: Any) -> Draft:
    (draft,) = look(path, Choices(**choices))
    return draft


def labels_of(draft: Draft) -> Any:
    return draft.options["labels"]


@pytest.fixture
def polyps(tmp_path: Path) -> Path:
    own_data.write_images_and_masks(tmp_path / "polyps")
    return tmp_path / "polyps"


# --- images and masks


def test_one_value_becomes_one_label_that_a_person_names(polyps: Path) -> None:
    draft = looked(polyps)
    assert (draft.reader, draft.split, draft.data_root, labels_of(draft)) == (
        "segmentation",
        "all",
        polyps.parent,
        {"target": 255},
    )
    assert "# The masks hold 255 (in 3 of 3 masks). 'target' is used in the question: write" in draft.to_yaml()
    assert any("modality" in line for line in draft.open)
    named = looked(polyps, labels={"polyp": (255,)}, modality="endo", name="mine")
    assert (named.name, labels_of(named), named.options["modality"]) == ("mine", {"polyp": 255}, "endo")
    assert not any("modality" in line or "target" in line for line in named.open)


def test_a_label_that_no_mask_holds_is_refused(polyps: Path) -> None:
    with pytest.raises(SpecError, match=r"--label: no mask holds the value 1; the masks hold 255 \(in 3 of 3 masks\)"):
        looked(polyps, labels={"polyp": (1,)})
    with pytest.raises(SpecError, match="--modality endoscopy: expected one of ct, mr"):
        looked(polyps, modality="endoscopy")


def test_several_values_become_placeholders_with_their_counts(tmp_path: Path) -> None:
    for number in range(3):
        save(tmp_path / f"cells/images/{number}.png", disc(number) * 200)
        save(tmp_path / f"cells/masks/{number}.png", disc(number) * 1 + (disc(number + 3) & (number > 0)) * 2)
    draft = looked(tmp_path / "cells", labels={})
    assert labels_of(draft) == {"label_1": 1, "label_2": 2, "label_3": 3}
    assert "label_1" in draft.to_yaml()
    assert "1 (in 3 of 3 masks), 2 (in 2 of 3 masks), 3 (in 2 of 3 masks)" in draft.to_yaml()
    assert draft.headline == {"metric": "dice", "mean": "macro", "over": "class"}
    partly = looked(tmp_path / "cells", labels={"nucleus": (1, 3)})
    assert labels_of(partly) == {"nucleus": [1, 3]}
    assert "The masks also hold 2: name it here, or in labels_ignored: [2]" in partly.open


def test_masks_of_0_and_1_among_masks_of_0_and_255_are_one_label(tmp_path: Path) -> None:
    for number in range(3):
        save(tmp_path / f"seg/images/{number}.png", disc(number) * 200)
        save(tmp_path / f"seg/masks/{number}.png", disc(number) * (255 if number else 1))
    draft = looked(tmp_path / "seg")
    assert labels_of(draft) == {"target": [1, 255]}
    said = "1 (in 1 of 3 masks), none of them both, so both are taken for the same structure"
    assert said in " ".join(draft.open)
    assert said in draft.to_yaml()
    save(tmp_path / "seg/masks/0.png", np.where(disc(9), 255, disc(0)))
    assert labels_of(looked(tmp_path / "seg")) == {"label_1": 1, "label_255": 255}


def test_masks_saved_as_jpeg_are_one_label_that_is_cut_at_half(tmp_path: Path) -> None:
    for number in range(2):
        save(tmp_path / f"seg/images/{number}.png", disc(number) * 200)
        save(tmp_path / f"seg/masks/{number}.jpg", disc(number) * 255)
    draft = looked(tmp_path / "seg")
    assert labels_of(draft) == {"target": 255}
    assert "with soft edges, cut at half" in " ".join(draft.seen)


def test_masks_of_one_bit_are_white(tmp_path: Path) -> None:
    from PIL import Image

    save(tmp_path / "seg/images/0.png", disc(0) * 200)
    (tmp_path / "seg/masks").mkdir()
    Image.fromarray(disc(0)).convert("1").save(tmp_path / "seg/masks/0.png")
    assert labels_of(looked(tmp_path / "seg")) == {"target": 255}


def test_masks_without_foreground_and_photographs_are_said(tmp_path: Path) -> None:
    save(tmp_path / "a/images/0.png", disc(0) * 200)
    save(tmp_path / "a/masks/0.png", disc(0) * 0)
    assert "nothing but background in 1 mask" in " ".join(looked(tmp_path / "a").seen)
    save(tmp_path / "b/images/0.png", disc(0) * 200)
    save(tmp_path / "b/masks/0.png", np.arange(24 * 32).reshape(24, 32) % 97)
    with pytest.raises(SpecError, match="the masks hold 96 values from 1 to 96: expected labels"):
        looked(tmp_path / "b")


def test_two_folders_of_masks_are_a_question_and_a_pattern_answers_it(polyps: Path) -> None:
    for number, name in enumerate(("p01_a", "p01_b", "p02_a")):
        save(polyps / f"masks_b/{name}.png", disc(number) * 255)
    with pytest.raises(SpecError) as caught:
        looked(polyps)
    assert str(caught.value).split("\n")[1:] == [
        "  --images 'images/{case}.*' --masks 'masks/{case}.png' (3 pairs)",
        "  --images 'images/{case}.*' --masks 'masks_b/{case}.png' (3 pairs)",
    ]
    assert looked(polyps, masks="masks_b/{case}.png").options["masks"] == "masks_b/{case}.png"
    with pytest.raises(SpecError, match=r"the pattern fits none of what was found \(--images 'images"):
        looked(polyps, masks="gt/{case}.png")


def test_the_users_patterns_count(polyps: Path) -> None:
    draft = looked(polyps, images="images/{patient}_{case}.*", masks="masks/{patient}_{case}.png")
    assert (draft.cluster, draft.options["images"]) == ("patient", "images/{patient}_{case}.*")
    with pytest.raises(
        SpecError, match=r"--images 'images/\{case\}\.\*' --masks 'm/\{case\}\.png': no image has a mask"
    ):
        looked(polyps, images="images/{case}.*", masks="m/{case}.png")


def test_splits_are_taken_and_may_be_chosen(tmp_path: Path) -> None:
    for split in ("train", "val"):
        save(tmp_path / f"d/{split}/images/0.png", disc(0) * 200)
        save(tmp_path / f"d/{split}/masks/0.png", disc(0) * 255)
    assert looked(tmp_path / "d").split == "val"
    assert looked(tmp_path / "d", split="train").split == "train"
    with pytest.raises(SpecError, match="--split test: expected one of train, val"):
        looked(tmp_path / "d", split="test")


def test_without_splits_none_can_be_chosen(polyps: Path) -> None:
    with pytest.raises(SpecError, match="--split test: no folder is named after a split"):
        looked(polyps, split="test")


def test_what_pairs_with_nothing_is_said(polyps: Path) -> None:
    save(polyps / "images/extra.png", disc(0) * 1)
    save(polyps / "masks/lost.png", disc(0) * 255)
    seen = looked(polyps).seen
    assert "1 image without a mask, such as images/extra.png" in seen
    assert "1 mask without an image, such as masks/lost.png" in seen


# --- volumes


def test_nnunets_folders_need_no_decision(tmp_path: Path) -> None:
    own_data.write_nnunet(tmp_path / "Dataset001_X")
    draft = looked(tmp_path / "Dataset001_X")
    assert (draft.reader, draft.split, draft.open, draft.options) == (
        "nifti_seg",
        "test",
        (),
        {"folder": "Dataset001_X"},
    )
    assert looked(tmp_path / "Dataset001_X/dataset.json").name == "dataset001_x"
    with pytest.raises(
        SpecError, match="expected labels of the split train, found 2 files in labelsTs and 0 files in labelsTr"
    ):
        looked(tmp_path / "Dataset001_X", split="train")
    with pytest.raises(SpecError, match="expected one dataset, found Dataset001_X; name one of them"):
        looked(tmp_path)
    (tmp_path / "Dataset001_X/dataset.json").write_text("{}")
    with pytest.raises(DataError, match=r"dataset\.json: expected an object with 'labels', found '\{\}'"):
        looked(tmp_path / "Dataset001_X")


def test_bids_names_its_labels_by_a_lookup_table(tmp_path: Path) -> None:
    own_data.write_bids(tmp_path / "brains")
    draft = looked(tmp_path / "brains")
    assert labels_of(draft) == {"ventricle": 1, "lesion": 2}
    assert (draft.options["modality"], draft.cluster, draft.open) == ("mr", "patient", [])
    (tmp_path / "brains/derivatives/manual/dseg.tsv").unlink()
    assert labels_of(looked(tmp_path / "brains")) == {"label_1": 1, "label_2": 2}


def bids(root: Path, *images: str, derivatives: str = "") -> Path:
    for subject in ("sub-01", "sub-02"):
        for image in images:
            folder, _, name = image.rpartition("/")
            volume(root / folder.format(s=subject) / name.format(s=subject), block(0))
        for mask in derivatives.split():
            folder, _, name = mask.rpartition("/")
            volume(
                root / "derivatives" / folder.format(s=subject) / name.format(s=subject),
                (block(0) == 1).astype(np.int16),
            )
    return root


def test_bids_may_keep_its_images_in_a_folder_of_their_own(tmp_path: Path) -> None:
    images, masks = "rawdata/{s}/anat/{s}_T1w.nii.gz", "m/{s}/anat/{s}_dseg.nii.gz"
    draft = looked(bids(tmp_path / "b", images, derivatives=masks))
    assert draft.options["images"] == "rawdata/{patient}/anat/{case}_T1w.nii.gz"


def test_bids_with_sessions_and_several_contrasts_takes_the_first_contrast(tmp_path: Path) -> None:
    root = bids(
        tmp_path / "b",
        "{s}/ses-1/anat/{s}_ses-1_T1w.nii.gz",
        "{s}/ses-1/anat/{s}_ses-1_FLAIR.nii.gz",
        derivatives="man/{s}/ses-1/anat/{s}_ses-1_desc-lesion_mask.nii.gz",
    )
    draft = looked(root)
    assert draft.options["images"] == "{patient}/{session}/anat/{case}_T1w.nii.gz"
    assert draft.options["masks"] == "derivatives/man/{patient}/{session}/anat/{case}_desc-lesion_mask.nii.gz"
    flair = "{patient}/{session}/anat/{case}_FLAIR.nii.gz"
    assert looked(root, images=flair).options["images"] == flair


def test_masks_of_bids_in_another_space_go_with_the_image_of_that_space(tmp_path: Path) -> None:
    root = bids(
        tmp_path / "b",
        "{s}/anat/{s}_T1w.nii.gz",
        "derivatives/prep/{s}/anat/{s}_space-MNI_desc-preproc_T1w.nii.gz",
        derivatives="prep/{s}/anat/{s}_space-MNI_dseg.nii.gz",
    )
    assert looked(root).options["images"] == "derivatives/prep/{patient}/anat/{case}_desc-preproc_T1w.nii.gz"


def test_a_mask_for_each_label_of_bids_becomes_labels(tmp_path: Path) -> None:
    masks = "m/{s}/anat/{s}_label-lesion_mask.nii.gz m/{s}/anat/{s}_label-oedema_mask.nii.gz"
    draft = looked(bids(tmp_path / "b", "{s}/anat/{s}_T1w.nii.gz", derivatives=masks))
    assert (labels_of(draft), draft.options["masks"]) == (
        ["lesion", "oedema"],
        "derivatives/m/{patient}/anat/{case}_label-{label}_mask.nii.gz",
    )


def test_two_pipelines_of_bids_are_ambiguous_and_none_is_refused(tmp_path: Path) -> None:
    masks = "a/{s}/anat/{s}_dseg.nii.gz b/{s}/anat/{s}_dseg.nii.gz"
    root = bids(tmp_path / "b", "{s}/anat/{s}_T1w.nii.gz", derivatives=masks)
    with pytest.raises(SpecError, match="several segmentations fit; choose one by adding:\n  --images"):
        looked(root)
    chosen = "derivatives/b/{patient}/anat/{case}_dseg.nii.gz"
    assert looked(root, masks=chosen).options["masks"] == chosen
    root = bids(tmp_path / "c", "{s}/anat/{s}_T1w.nii.gz", "derivatives/x/{s}/anat/{s}_T1w.nii.gz")
    with pytest.raises(SpecError, match=r"expected \*_dseg or \*_mask below derivatives/ that pair with images"):
        looked(root)


@pytest.mark.parametrize(
    ("moved", "folder", "cases", "split"),
    [
        ("", "export", None, "all"),
        ("test", "export", "{split}/{patient}", "test"),
        ("visits", "export", "{patient}/{case}", "all"),
    ],
)
def test_dicom_folders_of_cases_are_recognised(
    tmp_path: Path, moved: str, folder: str, cases: str | None, split: str
) -> None:
    pytest.importorskip("pydicom")
    own_data.write_dicom(tmp_path / folder / moved)
    draft = looked(tmp_path / folder)
    assert (draft.reader, draft.options.get("cases"), draft.split) == ("dicom_seg", cases, split)


def test_the_folder_of_one_patient_is_a_case_itself(tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    own_data.write_dicom(tmp_path / "export")
    draft = looked(tmp_path / "export/p01")
    assert (draft.options, draft.data_root) == ({"folder": "export", "cases": "p01"}, tmp_path)


def test_a_segmentation_without_a_series_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    own_data.write_dicom(tmp_path / "export")
    for path in (tmp_path / "export").rglob("ct/*"):
        path.unlink()
    with pytest.raises(SpecError, match=r"beside the SEG of p01/seg there is no series\. Put them into one folder"):
        looked(tmp_path / "export")


# --- tables


def write_table(path: Path, rows: list[dict[str, Any]], encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


ROW = {"image": "0.png", "question": "a?", "answer": "b"}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("Frage", "Antwort", "Bild"), {"question": "Frage", "answer": "Antwort", "image": "Bild"}),
        (("query", "ground_truth", "img_path"), {"question": "query", "answer": "ground_truth", "image": "img_path"}),
        (
            ("Question text", "Correct answer", "Image file"),
            {"question": "Question text", "answer": "Correct answer", "image": "Image file"},
        ),
        (("question", "answer", "image"), None),
    ],
)
def test_columns_are_known_by_their_names(tmp_path: Path, names: tuple[str, str, str], expected: Any) -> None:
    write_pictures(tmp_path / "images")
    values = ("a?", "b", "0.png")
    draft = looked(write_table(tmp_path / "q.csv", [dict(zip(names, values, strict=True))]))
    assert draft.options.get("columns") == expected
    assert (draft.options["file"], draft.options["images"], draft.model) == ("q.csv", "images", "baseline:random")


def test_a_table_without_questions_is_refused_with_its_columns(tmp_path: Path) -> None:
    path = write_table(tmp_path / "q.csv", [{"name": "x", "age": "3"}])
    with pytest.raises(SpecError, match="no column is named like question or answer; found name, age"):
        looked(path)
    with pytest.raises(SpecError, match=r"expected a folder of images with masks, .* found 1 \.csv in no folder"):
        looked(tmp_path)


@pytest.mark.parametrize("place", ["images", "figures/all", ".", "../images"])
def test_the_folder_of_the_images_is_found(tmp_path: Path, place: str) -> None:
    folder = tmp_path / "set"
    write_pictures(folder / (place.rpartition("/")[0] if place == "figures/all" else place))
    row = {**ROW, "image": "0.png"}
    draft = looked(write_table(folder / "q.csv", [row]))
    root, images = draft.data_root, str(draft.options.get("images", ""))
    table = str(draft.options["file"])
    assert (root / table).is_file()
    assert (root / (images or table.rpartition("/")[0]) / "0.png").is_file()


def test_images_that_lie_nowhere_are_named(tmp_path: Path) -> None:
    path = write_table(tmp_path / "set/q.csv", [{**ROW, "image": "/data/x/0.png"}])
    with pytest.raises(SpecError, match=r"column 'image' names images such as '/data/x/0\.png', which are in none of"):
        looked(path)


def test_questions_without_a_column_of_images_leave_that_to_a_person(tmp_path: Path) -> None:
    draft = looked(write_table(tmp_path / "q.csv", [{"question": "a", "answer": "b"}]))
    assert draft.options["columns"] == {"image": ""}
    assert "images: no column of images was found, so the questions are asked without" in draft.open


def test_a_table_with_and_without_options_becomes_two_tasks(tmp_path: Path) -> None:
    write_pictures(tmp_path / "images")
    rows = [{**ROW, "A": "x", "B": "y", "answer": "A"}, {**ROW, "A": "", "B": ""}]
    options, without = look(write_table(tmp_path / "q.csv", rows), Choices())
    assert (options.name, options.gives, options.where) == ("q_options", "choice", {"form": "options"})
    assert (without.name, without.gives, without.where) == ("q_words", "text", {"form": "words"})
    assert options.dataset == without.dataset == "q"


@pytest.mark.parametrize(
    "names", [("Option A", "Option B"), ("choice_a", "choice_b"), ("opa", "opb"), ("option1", "option2"), ("a", "b")]
)
def test_columns_of_options_are_known_by_their_names(tmp_path: Path, names: tuple[str, str]) -> None:
    write_pictures(tmp_path / "images")
    draft = looked(write_table(tmp_path / "q.csv", [{**ROW, names[0]: "b", names[1]: "c"}]))
    assert (draft.gives, draft.options["columns"]) == ("choice", {"options": list(names)})


@pytest.mark.parametrize("right", ["correct_option", "Correct", "cop"])
def test_a_column_of_options_called_a_is_not_the_answer(tmp_path: Path, right: str) -> None:
    write_pictures(tmp_path / "images")
    row = {"image": "0.png", "question": "a?", "a": "lung", "b": "liver", right: "b"}
    draft = looked(write_table(tmp_path / "q.csv", [row]))
    assert draft.options["columns"] == {"answer": right, "options": ["a", "b"]}


@pytest.mark.parametrize("second", ["image2", "image_2", "Image 2"])
def test_images_in_several_columns_are_shown_together(tmp_path: Path, second: str) -> None:
    write_pictures(tmp_path / "images")
    draft = looked(write_table(tmp_path / "q.csv", [{**ROW, second: "1.png"}, {**ROW, second: ""}]))
    assert draft.options["columns"] == {"image": ["image", second]}
    nowhere = write_table(tmp_path / "x/q.csv", [{**ROW, "image": "8.png", second: "9.png"}])
    with pytest.raises(SpecError, match=rf"column 'image, {second}' names images such as '8\.png', which are in none"):
        looked(nowhere)


def test_numbers_that_are_options_too_are_left_to_a_person(tmp_path: Path) -> None:
    write_pictures(tmp_path / "images")
    rows = [{**ROW, "options": ["2", "3", "1"], "answer": 2}, {**ROW, "options": ["1", "2", "3"], "answer": 1}]
    (tmp_path / "q.json").write_text(json.dumps(rows))
    said = [line for line in looked(tmp_path / "q.json").open if line.startswith("answers")]
    assert said == [
        "answers: '2' is taken as the text of an option; if it counts the options, add answers: index_from_0 or "
        "index_from_1"
    ]
    (tmp_path / "q.json").write_text(json.dumps(rows[1:]))
    assert not any(line.startswith("answers") for line in looked(tmp_path / "q.json").open)


@pytest.mark.parametrize(
    ("answers", "form", "open_to"),
    [((0, 1), "index_from_0", False), ((1, 3), "index_from_1", False), ((1, 2), "index_from_1", True)],
)
def test_numbers_of_options_are_told_if_their_ends_are(
    tmp_path: Path, answers: tuple[int, ...], form: str, open_to: bool
) -> None:
    write_pictures(tmp_path / "images")
    rows = [{**ROW, "answer": answer, "options": ["x", "y", "z"]} for answer in answers]
    (tmp_path / "q.json").write_text(json.dumps(rows))
    draft = looked(tmp_path / "q.json")
    assert draft.options["answers"] == form
    assert any("answers" in line for line in draft.open) == open_to


def test_a_table_in_another_encoding_is_read_and_left_to_a_person(tmp_path: Path) -> None:
    write_pictures(tmp_path / "images")
    draft = looked(write_table(tmp_path / "q.csv", [{**ROW, "answer": "Größe über"}], encoding="cp1252"))
    assert draft.options["encoding"] == "cp1252"
    assert any("Größe" in line for line in draft.open)
    rows = [{**ROW, "question": "图中有肿块吗？", "answer": "没有"}]
    assert looked(write_table(tmp_path / "q.csv", rows, encoding="gbk")).options["encoding"] == "gb18030"


def test_columns_with_few_values_become_strata(tmp_path: Path) -> None:
    write_pictures(tmp_path / "images")
    rows = [
        {**ROW, "Body part": part, "note": f"free text {number}"} for number, part in enumerate(("Lung", "Liver") * 3)
    ]
    draft = looked(write_table(tmp_path / "q.csv", rows))
    assert draft.options["columns"] == {"body_part": "Body part"}
    assert draft.strata == ("answer_type", "body_part")
    assert "columns that are not used: note" in draft.seen


def test_a_column_of_splits_is_used_and_may_be_chosen(tmp_path: Path) -> None:
    write_pictures(tmp_path / "images")
    path = write_table(tmp_path / "q.csv", [{**ROW, "split": "train"}, {**ROW, "split": "test"}])
    assert looked(path).split == "test"
    assert looked(path, split="train").split == "train"
    with pytest.raises(SpecError, match="--split test: the table has no column of splits"):
        looked(write_table(tmp_path / "r.csv", [ROW]), split="test")


def test_parquet_with_images_of_its_own_needs_no_folder(tmp_path: Path) -> None:
    row = {"image": {"bytes": picture(0), "path": None}, "question": "a", "answer": "b"}
    pd.DataFrame([row]).to_parquet(tmp_path / "q.parquet")
    draft = looked(tmp_path / "q.parquet")
    assert "images" not in draft.options
    assert "images: in the table itself" in draft.taken


def test_a_folder_with_one_table_of_questions_is_that_table(tmp_path: Path) -> None:
    write_pictures(tmp_path / "images")
    write_table(tmp_path / "q.csv", [ROW])
    write_table(tmp_path / "notes.csv", [{"a": "1"}])
    assert looked(tmp_path).name == "q"
    write_table(tmp_path / "r.csv", [ROW])
    with pytest.raises(SpecError, match=r"expected one table of questions, found q\.csv, r\.csv; name one of them"):
        looked(tmp_path)


def test_answers_of_many_words_are_scored_by_the_words_in_common(tmp_path: Path) -> None:
    write_pictures(tmp_path / "images")
    report = {**ROW, "answer": "The heart is normal in size, and the lungs are clear on both sides."}
    draft = looked(write_table(tmp_path / "q.csv", [report, report, ROW]))
    assert [metric["metric"] for metric in draft.metrics] == ["token_prf", "rouge", "bleu"]
    assert (draft.headline, draft.prompt) == ({"metric": "token_prf"}, "{question}")
    assert looked(write_table(tmp_path / "q.csv", [report, ROW, ROW])).headline == {"metric": "vqa_accuracy"}


def test_tables_that_differ_in_the_split_alone_are_one(tmp_path: Path) -> None:
    write_pictures(tmp_path / "quiz/images")
    for split in ("train", "test"):
        write_table(tmp_path / f"quiz/{split}set.csv", [ROW])
    draft = looked(tmp_path / "quiz")
    assert (draft.name, draft.options["file"], draft.split) == ("quiz", "{split}set.csv", "test")
    assert looked(tmp_path / "quiz", split="train").split == "train"
    with pytest.raises(SpecError, match="--split val: expected one of test, train"):
        looked(tmp_path / "quiz", split="val")


def test_parts_of_the_hubs_parquet_are_one_table_with_splits(tmp_path: Path) -> None:
    for name in ("test-00000-of-00001", "train-00000-of-00002", "train-00001-of-00002"):
        (tmp_path / "set/data").mkdir(parents=True, exist_ok=True)
        row = {"image": {"bytes": picture(0), "path": None}, "question": name, "answer": "b"}
        pd.DataFrame([row]).to_parquet(tmp_path / f"set/data/{name}.parquet")
    draft = looked(tmp_path / "set")
    assert (draft.options["file"], draft.split) == ("{split}-*.parquet", "test")
    assert draft.data_root == tmp_path / "set/data"
    (tmp_path / "set/data/test-00000-of-00001.parquet").unlink()
    assert looked(tmp_path / "set").split == "train"


# --- everything


def test_a_folder_with_more_files_than_a_dataset_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.tasks.new_task.listing.MOST_FILES", 2)
    write_pictures(tmp_path / "d")
    with pytest.raises(SpecError, match="expected a dataset, found more than 2 files; name a folder in it"):
        looked(tmp_path / "d")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.with_name("absent"), "expected a folder or a table, found nothing"),
        (lambda path: path, "found an empty folder"),
        (lambda path: write_table(path / "a.xlsx", [ROW]), r"found a file \.xlsx; save the sheet as CSV in UTF-8"),
        (lambda path: write_table(path / "README", [ROW]), "found a file without a suffix"),
    ],
)
def test_what_has_no_layout_is_refused(tmp_path: Path, make: Callable[[Path], Path], words: str) -> None:
    (tmp_path / "d").mkdir()
    with pytest.raises(SpecError, match=words):
        looked(make(tmp_path / "d"))


def test_a_broken_table_is_named(tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text('{"question": "a"}\n{')
    with pytest.raises(DataError, match=r"q\.jsonl:2: expected one JSON object a line"):
        looked(tmp_path / "q.jsonl")


@pytest.mark.parametrize("layout", own_data.LAYOUTS)
def test_every_draft_is_a_task_file_without_a_fault(tmp_path: Path, layout: str) -> None:
    pytest.importorskip("pydicom")
    own_data.LAYOUTS[layout](tmp_path / layout)
    draft = looked(tmp_path / layout)
    (tmp_path / "task.yaml").write_text(draft.to_yaml(), encoding="utf-8")
    task = load_task(tmp_path / "task.yaml")
    assert (task.task, task.release.reader, task.release.options) == (draft.name, draft.reader, dict(draft.options))


def test_a_folder_that_holds_the_cache_is_a_data_root_itself(polyps: Path) -> None:
    draft = looked(polyps, cache=polyps.parent / ".cache/medground")
    assert (draft.data_root, draft.options["folder"]) == (polyps, ".")


def test_texts_of_yaml_are_quoted_where_they_could_be_something_else() -> None:
    values = ["no", "1", "a b", "{x}", "null", "ok_1", 'q"', "ü", "a/b.c"]
    assert flow(values) == '["no", "1", "a b", "{x}", "null", ok_1, "q\\"", "ü", a/b.c]'
    assert flow({"a": [1, True]}) == "{a: [1, true]}"
    assert [task_name(text) for text in ("My Data (2)", "Ü", "a.b-c", "Groups")] == [
        "my_data_2",
        "my_task",
        "a.b-c",
        "my_groups",
    ]
