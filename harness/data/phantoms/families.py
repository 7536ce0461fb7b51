"""Families of phantom releases: the releases of one family are written together, below a data root of their own."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.data.phantoms.defects.planting import PATIENTS_NEEDED, Planted, check_names, plant
from harness.data.phantoms.figures import write_pubmed_figures
from harness.data.phantoms.patients.images import draw_patients
from harness.data.phantoms.writers.folders import write_dicom_folder, write_image_folder, write_nifti_folder
from harness.data.phantoms.writers.llava_med import write_llava_med
from harness.data.phantoms.writers.m3d_refseg import write_m3d_volumes
from harness.data.phantoms.writers.m3d_vqa import write_m3d_family
from harness.data.phantoms.writers.mecovqa import write_mecovqa
from harness.data.phantoms.writers.medical_vqa import write_pathvqa, write_pmc_vqa, write_slake
from harness.data.phantoms.writers.mimoseg import write_mimoseg
from harness.data.phantoms.writers.mmmu import write_mmmu
from harness.data.phantoms.writers.omnimedvqa import write_omnimedvqa
from harness.data.phantoms.writers.samed2d import write_samed2d_images
from harness.data.phantoms.writers.vqa_med import write_vqa_med_2019, write_vqa_med_2021
from harness.data.phantoms.writers.vqa_rad import write_vqa_rad
from harness.errors import SpecError

# Eight patients per modality, which fills one round of `patients.images.TURNS`.
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
    """Write `SAMed2Dv1/`, `vqa_rad/` and `MeCoVQA/` below `root`; the same arguments give the same images and words.

    Args:
        root: The data root; made if it is missing.
        seed: Random seed, at least 0; another seed gives other patients.
        patients: Number of patients; each modality has every tenth, half of them for training and three in eight for
            testing.
        slices: Images per patient.
        defects: Names from `defects.planting.DEFECTS`; each is planted into the test part of every release that has it.
        workers: Processes that draw; the files are the same whatever their number.
    Returns:
        The planted defects and their places; empty without `defects`.
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
    """Releases that are written together.

    Attributes:
        name: Part of the name of their data root.
        readers: Names of the readers that read them.
        write: Takes (data root, seed) and writes the releases below the root; the same seed gives the same bytes.
    """

    name: str
    readers: tuple[str, ...]
    write: Callable[[Path, int], None]


# Each family is drawn on its first use, so that a task waits only for the releases that it reads. Names are parts of
# folder names in caches: another name would draw the family again.
FAMILIES: tuple[PhantomFamily, ...] = (
    PhantomFamily("pictures", ("samed2d", "vqa_rad", "mecovqa"), _write_image_releases),
    PhantomFamily("omnimedvqa", ("omnimedvqa",), write_omnimedvqa),
    PhantomFamily("slake", ("slake",), write_slake),
    PhantomFamily("pathvqa", ("pathvqa",), write_pathvqa),
    PhantomFamily("pmc_vqa", ("pmc_vqa",), write_pmc_vqa),
    PhantomFamily("vqa_med_2019", ("vqa_med_2019",), write_vqa_med_2019),
    PhantomFamily("vqa_med_2021", ("vqa_med_2021",), write_vqa_med_2021),
    PhantomFamily("llava_med", ("llava_med",), write_llava_med),
    PhantomFamily("mmmu", ("mmmu",), write_mmmu),
    PhantomFamily("m3d_cap", ("m3d_cap", "m3d_vqa"), write_m3d_family),
    PhantomFamily("m3d_seg", ("m3d_seg", "m3d_refseg"), write_m3d_volumes),
    PhantomFamily("pubmed_figures", ("pubmed_figures",), write_pubmed_figures),
    PhantomFamily("mimoseg", ("mimoseg",), write_mimoseg),
    PhantomFamily("segmentation", ("segmentation",), write_image_folder),
    PhantomFamily("nifti_seg", ("nifti_seg",), write_nifti_folder),
    PhantomFamily("dicom_seg", ("dicom_seg",), write_dicom_folder),
)


def family_of(reader: str) -> PhantomFamily:
    """Return the family of the reader of this name; the first family if no family has it."""
    return next((family for family in FAMILIES if reader in family.readers), FAMILIES[0])
