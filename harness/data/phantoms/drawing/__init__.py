"""The ten modalities, in the order in which patients take turns."""

from harness.data.phantoms.drawing.modality import ModalityPhantom
from harness.data.phantoms.drawing.photographs import DERMOSCOPY, ENDOSCOPY, FUNDUS, MICROSCOPY
from harness.data.phantoms.drawing.radiology import CT, MR, PET, XRAY
from harness.data.phantoms.drawing.ultrasound_oct import OCT, ULTRASOUND

# A modality's place decides which patients are its own and seeds them: to insert one would redraw all patients.
MODALITY_PHANTOMS: tuple[ModalityPhantom, ...] = (
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
