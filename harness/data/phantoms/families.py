"""Releases of drawn patients: families that are drawn together, each below a data root of its own."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.data.phantoms.defects.planting import PATIENTS_NEEDED, Planted, check_names, plant
from harness.data.phantoms.patients.images import draw_patients
from harness.data.phantoms.writers.folders import write_dicom_folder, write_image_folder, write_nifti_folder
from harness.data.phantoms.writers.m3d_refseg import write_m3d_volumes
from harness.data.phantoms.writers.m3d_vqa import write_m3d_family
from harness.data.phantoms.writers.mecovqa import write_mecovqa
from harness.data.phantoms.writers.medical_vqa import write_pathvqa, write_pmc_vqa, write_slake
from harness.data.phantoms.writers.mimoseg import write_mimoseg
from harness.data.phantoms.writers.mmmu import write_mmmu
from harness.data.phantoms.writers.omnimedvqa import write_omnimedvqa
from harness.data.phantoms.writers.samed2d import write_samed2d_images
from harness.data.phantoms.writers.vqa_rad import write_vqa_rad
from harness.errors import SpecError

PATIENTS = 80
SLICES = 2


def write_phantoms(
    root: Path,
    *,
    seed: int,
    patients: int = PATIENTS,
    slices: int = SLICES,
    defects: frozenset[str] = frozenset(),
    workers: int = 1,
) -> tuple[Planted, ...]:
    """Write `SAMed2Dv1/`, `vqa_rad/` and `MeCoVQA/` below `root`; the same arguments give the same pictures and words.

    Args:
        root: Made where it is missing.
        seed: Draws another set of patients.
        patients: Number of patients; a look sees every tenth, and of its patients half train and three in eight test.
        slices: Pictures per patient.
        defects: Names of `defects.DEFECTS`; each is planted into the test part, wherever the real release has it.
        workers: Processes that draw; what is written is the same whatever their number.
    Returns:
        What was planted, and where.
    Raises:
        SpecError: There is no such defect, or there are too few patients to plant it.
    """
    check_names(defects)
    if defects and (patients < PATIENTS_NEEDED or slices < 2):
        raise SpecError(
            f"defects: expected at least {PATIENTS_NEEDED} patients of 2 slices to plant them in, "
            f"found {patients} of {slices}"
        )
    studies = write_samed2d_images(root, draw_patients(seed=seed, patients=patients, slices=slices, workers=workers))
    write_vqa_rad(root, studies, seed=seed)
    write_mecovqa(root, studies, seed=seed)
    return plant(root, defects)


def _write_image_releases(root: Path, seed: int) -> None:
    write_phantoms(root, seed=seed)


@dataclass(frozen=True, slots=True)
class PhantomFamily:
    """Releases that are drawn together.

    Attributes:
        name: Part of the name of their data root.
        readers: Which read them.
        write: (data root, seed) -> the releases below it; the same patients and words for the same seed.
    """

    name: str
    readers: tuple[str, ...]
    write: Callable[[Path, int], None]


FAMILIES: tuple[PhantomFamily, ...] = (
    PhantomFamily("pictures", ("samed2d", "vqa_rad", "mecovqa"), _write_image_releases),
    PhantomFamily("omnimedvqa", ("omnimedvqa",), write_omnimedvqa),
    PhantomFamily("slake", ("slake",), write_slake),
    PhantomFamily("pathvqa", ("pathvqa",), write_pathvqa),
    PhantomFamily("pmc_vqa", ("pmc_vqa",), write_pmc_vqa),
    PhantomFamily("mmmu", ("mmmu",), write_mmmu),
    PhantomFamily("m3d_cap", ("m3d_cap", "m3d_vqa"), write_m3d_family),
    PhantomFamily("m3d_seg", ("m3d_seg", "m3d_refseg"), write_m3d_volumes),
    PhantomFamily("mimoseg", ("mimoseg",), write_mimoseg),
    PhantomFamily("segmentation", ("segmentation",), write_image_folder),
    PhantomFamily("nifti_seg", ("nifti_seg",), write_nifti_folder),
    PhantomFamily("dicom_seg", ("dicom_seg",), write_dicom_folder),
)


def family_of(reader: str) -> PhantomFamily:
    """Return the family that a reader reads; the first for a reader that none is drawn for."""
    return next((family for family in FAMILIES if reader in family.readers), FAMILIES[0])
