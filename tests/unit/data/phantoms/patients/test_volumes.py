"""Patients with a CT: what was dealt to them is what is seen, and the report says the same."""

import re

import numpy as np
import pytest

from harness.data.phantoms.patients.volumes import ORGANS, PLANES, VolumeStudy, draw_volumes


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
