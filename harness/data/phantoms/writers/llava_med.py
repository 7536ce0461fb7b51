"""Synthetic patients as LLaVA-Med's alignment pairs, in the layout and with the misspelt key of its release."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from harness.data.phantoms.patients.images import TURNS, Study
from harness.data.phantoms.writers.mecovqa import report
from harness.data.phantoms.writers.medical_vqa import draw_modalities, encoded
from harness.data.phantoms.writers.samed2d import write_json
from harness.data.releases.samed2d.mecovqa_record import TURNS_MISSPELT
from harness.data.releases.vqa import llava_med
from harness.records import Json

# Modality code -> key of `domain` that is true; the release is about these, and about gross specimens.
DOMAINS: Mapping[str, str] = {code: key for key, code in llava_med.MODALITIES.items() if code != "gross"}

WORDINGS = (
    "<image>\nWhat does this figure show?",
    "Put the content of this image into a few words.\n<image>",
    "<image>\nSay briefly what can be seen here.",
)


def write_llava_med(root: Path, seed: int) -> None:
    """Write `llava_med/` below `root`: an instruction and a description of every image, all for training.

    The same seed gives the same bytes.
    """
    first = int(np.random.default_rng([seed, 15]).integers(len(WORDINGS)))
    records = []
    for image, found in draw_modalities(seed, tuple(DOMAINS), range(len(TURNS))):
        path = root / llava_med.FOLDER / "images" / _figure(found)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(image.pixels))
        records.append(_record(found, WORDINGS[(first + found.number) % len(WORDINGS)]))
    write_json(root / llava_med.FOLDER / "alignment" / "llava_med_alignment_500k.json", records)


def _figure(found: Study) -> str:
    return f"90{found.number:06}_F{found.number % 4 + 1}.jpg"


def _record(found: Study, question: str) -> dict[str, Json]:
    figure = _figure(found)
    return {
        "id": figure.removesuffix(".jpg"),
        "image": figure,
        "domain": {key: DOMAINS.get(found.modality_phantom.code) == key for key in llava_med.MODALITIES},
        TURNS_MISSPELT: [{"from": "human", "value": question}, {"from": "gpt", "value": report(found)}],
    }
