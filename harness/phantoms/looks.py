"""The ten looks, in the order in which patients take turns."""

from harness.phantoms.cameras import DERMOSCOPY, ENDOSCOPY, FUNDUS, MICROSCOPY
from harness.phantoms.look import Look
from harness.phantoms.radiology import CT, MR, PET, XRAY
from harness.phantoms.waves import OCT, ULTRASOUND

LOOKS: tuple[Look, ...] = (
    CT,
    ULTRASOUND,
    DERMOSCOPY,
    MR,
    XRAY,
    FUNDUS,
    ENDOSCOPY,
    OCT,
    MICROSCOPY,
    PET,
)
