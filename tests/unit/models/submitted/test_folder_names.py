"""Which sample a file of a predictions folder answers, by its name."""

from pathlib import Path

import pytest

from harness.models.submitted.folder_names import Names, Target, label_of, mask_files_below, question_of
from harness.records import Entity, Media, Sample
from harness.records import Target as SampleTarget


def sample(source: str, label: str | None, *, dataset: str = "ours") -> Sample:
    ending = "" if label is None else f":{label}"
    return Sample(
        id=f"{dataset}/test/{source}{ending}",
        media=(Media(path=f"{dataset}/{source}", sha256="0", size=(4, 5)),),
        target=SampleTarget(entities=(Entity(name=label or "thing"),)),
    )


def names(*samples: Sample) -> Names:
    found = Names()
    for one in samples:
        found.add(one)
    return found


@pytest.mark.parametrize(
    ("source", "path", "label"),
    [
        # nnU-Net: the case without its channel, in whatever folder of the output.
        ("imagesTs/bone_003_0000.nii.gz", "bone_003.nii.gz", None),
        ("imagesTs/bone_003_0000.nii.gz", "bone_003_0000.nii.gz", None),
        ("imagesTs/bone_003_0000.nii.gz", "fold_0/validation/bone_003.nii.gz", None),
        ("imagesTs/bone_003_0000.nii.gz", "imagesTs/bone_003_0000.nii.gz", None),
        # Pictures: any other suffix, case of letters, Unicode form.
        ("images/IMG_7.jpg", "img_7.PNG", None),
        ("images/e\u0301cho.png", "\u00e9cho.png", None),
        ("images/a.b.png", "a.b.png", None),
        ("images/1.png", "1_mask.png", None),
        ("images/1.png", "preds/1_pred.png", None),
        # A folder for each patient, with images of one name or of their own.
        ("p3/slice_07.png", "p3/slice_07.png", None),
        ("p3/slice_07.png", "slice_07.png", None),
        ("p3/image.nii.gz", "p3.nii.gz", None),
        ("p3/image.nii.gz", "p3/image.nii.gz", None),
        ("p3/image.nii.gz", "p3/label.nii.gz", None),
        ("p3/image.nii.gz", "p3_seg.nii.gz", None),
        # DICOM: the folder of the series.
        ("p3", "p3/1-1.dcm", None),
        ("p3", "p3.nii.gz", None),
        # A file for each label.
        ("images/1.png", "left lung/1.png", "left lung"),
        ("images/1.png", "left_lung/1.png", "left lung"),
        ("images/1.png", "1/left_lung.png", "left lung"),
        ("images/1.png", "masks/1_left_lung.png", "left lung"),
        ("images/1.png", "1-Left Lung.png", "left lung"),
        ("p3/image.nii.gz", "p3/left_lung.nii.gz", "left lung"),
        # The sample's id.
        ("images/1.png", "ours/test/images/1.png_left lung.png", "left lung"),
        ("images/1.png", "ours__test__images__1.png_left lung.png", "left lung"),
        ("images/1.png", "ours/1.png", None),
    ],
)
def test_a_file_is_found_by_the_name_of_its_image_label_or_sample(source: str, path: str, label: str | None) -> None:
    own, other = sample(source, "left lung"), sample("other/q9_0000.png", "left lung")
    assert names(own, other).of(path) == [Target(question=own.media[0].path, label=label)]


@pytest.mark.parametrize(
    "path",
    [
        "bone_0030.nii.gz",
        "p4/bone_003.nii.gz",
        "003.nii.gz",
        "kidney/bone_003.nii.gz",
        "bone_003_kidney.nii.gz",
        "x.png",
    ],
)
def test_a_file_of_another_name_answers_nothing(path: str) -> None:
    assert names(sample("p3/bone_003_0000.nii.gz", "liver")).of(path) == []


def test_a_name_that_several_images_share_is_ambiguous() -> None:
    found = names(sample("p1/slice_07.png", "liver"), sample("p2/slice_07.png", "liver"))
    assert [target.question for target in found.of("slice_07.png")] == ["ours/p1/slice_07.png", "ours/p2/slice_07.png"]
    assert [target.question for target in found.of("p2/slice_07.png")] == ["ours/p2/slice_07.png"]
    two = names(sample("a.png", "left liver"), sample("a_left.png", "liver"))
    assert len(two.of("a_left_liver.png")) == 2


def test_samples_whose_ids_name_no_label_are_found_by_their_ids_alone() -> None:
    one, two = sample("ct_00--Demo--z_0007--0001", None), sample("ct_00--Demo--z_0007--0002", None)
    assert (label_of(one), question_of(one)) == (None, one.id)
    found = names(one, two)
    assert found.of("ct_00--demo--z_0007--0002.png") == [Target(question=two.id)]
    assert found.of("ours/test/ct_00--demo--z_0007--0001.png") == [Target(question=one.id)]
    assert found.of("ct_00--demo--z_0007.png") == []


def test_the_nearest_name_is_offered() -> None:
    assert (
        names(sample("images/bone_003_0000.nii.gz", "liver")).nearest("bone_03.nii.gz") == " (did you mean 'bone_003'?)"
    )


def test_hidden_files_and_other_suffixes_are_passed_over(tmp_path: Path) -> None:
    for path in ("b/1.png", "a.nii.gz", "A.NII.GZ", "._a.png", ".x/b.png", "__MACOSX/a.png", "plans.json", "a.npz"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(b"")
    assert list(mask_files_below(tmp_path, (".png", ".nii.gz"))) == ["A.NII.GZ", "a.nii.gz", "b/1.png"]
