"""Readers of published datasets, each in the layout its authors ship: one constant table."""

from collections.abc import Mapping

from harness.data.releases.folders.dicom import READER as DICOM_SEG
from harness.data.releases.folders.images import READER as SEGMENTATION
from harness.data.releases.folders.nifti import READER as NIFTI_SEG
from harness.data.releases.m3d.cap import READER as M3D_CAP
from harness.data.releases.m3d.refseg import READER as M3D_REFSEG
from harness.data.releases.m3d.seg import READER as M3D_SEG
from harness.data.releases.m3d.vqa import READER as M3D_VQA
from harness.data.releases.mimoseg.reader import READER as MIMOSEG
from harness.data.releases.question_tables.reader import READER as VQA_TABLE
from harness.data.releases.reader import Reader
from harness.data.releases.samed2d.mecovqa import READER as MECOVQA
from harness.data.releases.samed2d.reader import READER as SAMED2D
from harness.data.releases.vqa.llava_med import READER as LLAVA_MED
from harness.data.releases.vqa.mmmu import READER as MMMU
from harness.data.releases.vqa.omnimedvqa import READER as OMNIMEDVQA
from harness.data.releases.vqa.pathvqa import READER as PATHVQA
from harness.data.releases.vqa.pmc_vqa import READER as PMC_VQA
from harness.data.releases.vqa.slake import READER as SLAKE
from harness.data.releases.vqa.vqa_med import READER_2019 as VQA_MED_2019
from harness.data.releases.vqa.vqa_med import READER_2021 as VQA_MED_2021
from harness.data.releases.vqa.vqa_rad import READER as VQA_RAD

READERS: Mapping[str, Reader] = {
    reader.name: reader
    for reader in (
        DICOM_SEG,
        LLAVA_MED,
        M3D_CAP,
        M3D_REFSEG,
        M3D_SEG,
        M3D_VQA,
        MECOVQA,
        MIMOSEG,
        MMMU,
        NIFTI_SEG,
        OMNIMEDVQA,
        PATHVQA,
        PMC_VQA,
        SAMED2D,
        SEGMENTATION,
        SLAKE,
        VQA_MED_2019,
        VQA_MED_2021,
        VQA_RAD,
        VQA_TABLE,
    )
}
