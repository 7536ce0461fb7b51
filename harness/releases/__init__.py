"""Readers of published datasets, each in the layout its authors ship: one constant table."""

from collections.abc import Mapping

from harness.releases.dicom_seg import READER as DICOM_SEG
from harness.releases.m3d_cap import READER as M3D_CAP
from harness.releases.m3d_refseg import READER as M3D_REFSEG
from harness.releases.m3d_seg import READER as M3D_SEG
from harness.releases.m3d_vqa import READER as M3D_VQA
from harness.releases.mecovqa import READER as MECOVQA
from harness.releases.mimoseg import READER as MIMOSEG
from harness.releases.mmmu import READER as MMMU
from harness.releases.nifti_seg import READER as NIFTI_SEG
from harness.releases.omnimedvqa import READER as OMNIMEDVQA
from harness.releases.pathvqa import READER as PATHVQA
from harness.releases.pmc_vqa import READER as PMC_VQA
from harness.releases.reader import Reader
from harness.releases.samed2d import READER as SAMED2D
from harness.releases.segmentation import READER as SEGMENTATION
from harness.releases.slake import READER as SLAKE
from harness.releases.vqa_rad import READER as VQA_RAD

READERS: Mapping[str, Reader] = {
    reader.name: reader
    for reader in (
        DICOM_SEG,
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
        VQA_RAD,
    )
}
