"""All releases of the same drawn patients below one data root."""

from pathlib import Path

from harness.errors import SpecError
from harness.phantoms.defects import PATIENTS_NEEDED, Planted, check_names, plant
from harness.phantoms.mecovqa import write_mecovqa
from harness.phantoms.patients import draw_patients
from harness.phantoms.samed2d import write_pictures
from harness.phantoms.vqa_rad import write_vqa_rad

PATIENTS = 80
SLICES = 2


def write_releases(
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
    studies = write_pictures(root, draw_patients(seed=seed, patients=patients, slices=slices, workers=workers))
    write_vqa_rad(root, studies, seed=seed)
    write_mecovqa(root, studies, seed=seed)
    return plant(root, defects)
