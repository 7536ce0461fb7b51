"""Patients with a CT: what was dealt to them is what is seen, and the report says the same."""

import re
from dataclasses import replace

import numpy as np
import pytest

from harness.data.phantoms.patients.volumes import (
    HOSTS,
    ORGANS,
    PLANES,
    VolumeStudy,
    draw_volumes,
    oblique_series,
    with_distinct_reports,
)
from harness.errors import DataError


@pytest.fixture(scope="module")
def studies() -> list[VolumeStudy]:
    return list(draw_volumes(seed=1, patients=10))


def test_a_patient_depends_on_the_seed_and_its_number(studies: list[VolumeStudy]) -> None:
    few = list(draw_volumes(seed=1, patients=2))
    assert all(np.array_equal(one.voxels, other.voxels) for one, other in zip(few, studies, strict=False))
    [other] = draw_volumes(seed=2, patients=1)
    assert not np.array_equal(other.voxels, studies[0].voxels)
    assert list(draw_volumes(seed=1, patients=0)) == []


def test_planes_are_dealt_from_those_that_are_wanted(studies: list[VolumeStudy]) -> None:
    assert {study.plane for study in studies} == set(PLANES)
    assert {study.plane for study in draw_volumes(seed=1, patients=2, planes=("axial",))} == {"axial"}


def test_absent_organs_are_not_seen_and_have_no_lesion(studies: list[VolumeStudy]) -> None:
    assert any(study.absent for study in studies)
    for study in studies:
        assert [organ.name for organ in study.organs] == [name for name in ORGANS if study.organ(name)]
        for name in study.absent:
            assert study.organ(name) is None
            assert study.lesions_in(name) == ()


def test_lesions_come_by_size_on_the_side_of_their_organ(studies: list[VolumeStudy]) -> None:
    found = [lesion for study in studies for lesion in study.lesions]
    assert found
    assert all(lesion.side in lesion.organ for lesion in found if "kidney" in lesion.organ)
    assert {lesion.side for lesion in found if lesion.organ == "spleen"} <= {"left"}
    for study in studies:
        sizes = [lesion.size_mm for lesion in study.lesions]
        assert sizes == sorted(sizes, reverse=True)


def test_the_report_tells_what_is_there_and_what_is_not(studies: list[VolumeStudy]) -> None:
    for study in studies:
        assert study.plane in study.report.lower()
        assert study.phase in study.report.lower()
        assert ("The gallbladder has been removed." in study.report) == ("gallbladder" in study.absent)
        assert ("No abnormal lesion is seen." in study.report) == (not study.lesions)
        named = re.findall(r"a (\d+) mm (cyst|tumor)", study.report)
        assert sorted((int(size), name) for size, name in named) == sorted(
            (lesion.size_mm, lesion.name) for lesion in study.lesions
        )


def moved_away(study: VolumeStudy, *names: str) -> VolumeStudy:
    """Return the study with these organs and their lesions in the corner that an oblique series leaves out."""
    corner = np.zeros(study.voxels.shape, dtype=bool)
    corner[0, 0, 0] = True
    organs = tuple(replace(one, mask=corner) if one.name in names else one for one in study.organs)
    lesions = tuple(replace(one, mask=corner) if one.organ in names else one for one in study.lesions)
    return replace(study, organs=organs, lesions=lesions)


def test_an_oblique_series_has_a_report_of_its_own_on_its_own_masks(studies: list[VolumeStudy]) -> None:
    for study in studies:
        oblique = oblique_series(study)
        report = oblique.report.lower()
        assert "oblique" in report
        assert not any(word in report for word in (*PLANES, "from top to bottom"))
        assert ("no gallbladder is seen." in report) == ("gallbladder" in oblique.absent)
        for name in HOSTS:
            organ = oblique.organ(name)
            slices = re.findall(rf"the {name} is seen on (\d+) slices", report)
            assert [int(count) for count in slices] == ([organ.mask.any(axis=(1, 2)).sum()] if organ else [])
        named = re.findall(r"a (cyst|tumor) (\d+) mm wide", report)
        wide = sorted((one.name, int(np.ptp(np.nonzero(one.mask)[2])) + 1) for one in oblique.lesions)
        assert sorted((name, round(int(size) / study.spacing_mm[2])) for name, size in named) == wide
        assert report.endswith("no abnormal lesion is seen.") == (not oblique.lesions)


def test_masks_of_an_oblique_series_lie_where_its_voxels_show_them(studies: list[VolumeStudy]) -> None:
    study = studies[0]
    marked = np.where(study.organs[0].mask, 500, study.voxels).astype(np.float32)
    oblique = oblique_series(replace(study, voxels=marked))
    assert (oblique.voxels[oblique.organs[0].mask] == 500).all()
    assert oblique.voxels.dtype == np.float32
    assert (oblique.voxels[0, -8:] == -1000).all()


def test_what_leaves_an_oblique_series_is_not_reported(studies: list[VolumeStudy]) -> None:
    study = next(one for one in studies if one.lesions)
    host = study.lesions[0].organ
    oblique = oblique_series(moved_away(study, host, "gallbladder"))
    assert oblique.organ(host) is None
    assert oblique.lesions_in(host) == ()
    assert f"The {host} is not seen." in oblique.report
    assert "No gallbladder is seen." in oblique.report
    assert "gallbladder" in oblique.absent
    bare = oblique_series(moved_away(study, *HOSTS))
    assert bare.report.endswith("No abnormal lesion is seen.")


def test_equal_reports_go_on_until_they_differ(studies: list[VolumeStudy]) -> None:
    study = studies[0]
    twins = [replace(study, number=number) for number in (70, 71, 72)]
    first, second, third = with_distinct_reports(twins)
    assert first.report == study.report
    assert re.fullmatch(r" The stomach measures \d+ mm from top to bottom\.", second.report.removeprefix(first.report))
    assert third.report.startswith(f"{second.report} The pancreas measures")
    assert with_distinct_reports(studies) == studies


def test_twins_in_everything_are_refused(studies: list[VolumeStudy]) -> None:
    study = moved_away(studies[0])
    bare = replace(study, organs=tuple(one for one in study.organs if one.name in HOSTS), split="train")
    message = (
        f"phantom patient 71: expected a {bare.plane} CT whose report no other volume of train has, found the same "
        "findings and extents of organs as those of patient 70; choose another seed"
    )
    with pytest.raises(DataError, match=message):
        with_distinct_reports([replace(bare, number=70), replace(bare, number=71)])
