"""Tiny data of one's own, in the layouts that docs/your-own-data.md and docs/your-own-questions.md name."""

import base64
import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIZE = (24, 32)


def disc(number: int) -> NDArray[np.bool_]:
    """Return a disc at a place of its own, (H, W)."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    found: NDArray[np.bool_] = (y - 10 - number) ** 2 + (x - 14) ** 2 < 30
    return found


def save(path: Path, pixels: NDArray[Any]) -> None:
    """Write pixels as an image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def write_images_and_masks(folder: Path) -> None:
    """Write `images/p01_a.png` with `masks/p01_a.png`, discs of white on black."""
    for number, name in enumerate(("p01_a", "p01_b", "p02_a")):
        save(folder / "images" / f"{name}.png", np.where(disc(number), 220, 40))
        save(folder / "masks" / f"{name}.png", disc(number) * 255)


def volume(path: Path, voxels: NDArray[Any]) -> None:
    """Write (D, H, W) voxels of 1 mm as NIfTI."""
    import nibabel

    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.nifti1.Nifti1Image(voxels.transpose(2, 1, 0).astype(np.int16), np.eye(4))
    image.header.set_xyzt_units("mm")
    nibabel.loadsave.save(image, path)


def block(number: int) -> NDArray[np.int16]:
    """Return labels 1 and 2 in a volume (D, H, W)."""
    labels = np.zeros((6, 8, 10), dtype=np.int16)
    labels[1:4, 2:6, 2 + number : 6 + number] = 1
    labels[4:5, 2:4, 2:4] = 2
    return labels


def write_nnunet(folder: Path) -> None:
    """Write nnU-Net's folders with two cases to test."""
    dataset = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "liver": 1, "tumour": 2}, "numTraining": 0}
    for number, name in enumerate(("case_001", "case_002")):
        volume(folder / "imagesTs" / f"{name}_0000.nii.gz", block(number) * 100)
        volume(folder / "labelsTs" / f"{name}.nii.gz", block(number))
    (folder / "dataset.json").write_text(json.dumps(dataset | {"file_ending": ".nii.gz"}))


def write_bids(folder: Path) -> None:
    """Write a BIDS dataset of two subjects with segmentations among its derivatives."""
    for number, subject in enumerate(("sub-01", "sub-02")):
        volume(folder / subject / "anat" / f"{subject}_T1w.nii.gz", block(number) * 100)
        below = folder / "derivatives" / "manual"
        volume(below / subject / "anat" / f"{subject}_dseg.nii.gz", block(number))
        (below / "dseg.tsv").write_text("index\tname\n0\tbackground\n1\tventricle\n2\tlesion\n")
    (folder / "dataset_description.json").write_text('{"Name": "brains", "BIDSVersion": "1.9.0"}')


def write_dicom(folder: Path) -> None:
    """Write a folder for each of two patients, with a CT series and a DICOM SEG."""
    from harness.data.phantoms.writers.dicom import DrawnSeries, write_segmentation, write_slice

    for number, patient in enumerate(("p01", "p02")):
        series = DrawnSeries(name=patient)
        positions = [(0.0, 0.0, float(place)) for place in range(6)]
        for place, position in enumerate(positions):
            grey = block(number)[place].astype(np.float64) * 100
            write_slice(folder / patient / "ct" / f"{place}.dcm", series, place + 1, position, grey)
        segments = {"liver": block(number) == 1}
        write_segmentation(folder / patient / "seg" / "seg.dcm", series, segments, positions)


QUESTIONS: Sequence[Mapping[str, str]] = (
    {"bild": "0.png", "patient": "p1", "frage": "Is there a mass?", "antwort": "yes", "organ": "lung"},
    {"bild": "1.png", "patient": "p1", "frage": "Which side, if any?", "antwort": "left", "organ": "lung"},
    {"bild": "2.png", "patient": "p2", "frage": "Is it normal?", "antwort": "No", "organ": "liver"},
    {"bild": "2.png", "patient": "p2", "frage": "What is shown?", "antwort": "None", "organ": "liver"},
)


def picture(number: int) -> bytes:
    """Return a PNG file with noise of its own, longer than any reference."""
    pixels = np.random.default_rng(number).integers(0, 255, (8, 10, 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def write_pictures(folder: Path) -> None:
    """Write `0.png`, `1.png` and `2.png`."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(3):
        (folder / f"{number}.png").write_bytes(picture(number))


def write_csv(folder: Path) -> None:
    """Write `questions.csv` as Excel in German does, with `images/`."""
    write_pictures(folder / "images")
    with (folder / "questions.csv").open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, list(QUESTIONS[0]), delimiter=";")
        writer.writeheader()
        writer.writerows(QUESTIONS)


def write_chat(folder: Path) -> None:
    """Write `chat.json` in LLaVA's format, with `images/`."""
    write_pictures(folder / "images")
    records = [
        {
            "id": f"q{number}",
            "image": row["bild"],
            "conversations": [
                {"from": "human", "value": f"<image>\n{row['frage']}"},
                {"from": "gpt", "value": row["antwort"]},
            ],
        }
        for number, row in enumerate(QUESTIONS)
    ]
    (folder / "chat.json").write_text(json.dumps(records))


def write_vlmevalkit(folder: Path) -> None:
    """Write `benchmark.tsv` in VLMEvalKit's format, whose third image is that of the first row."""
    folder.mkdir(parents=True, exist_ok=True)
    images = [base64.b64encode(picture(0)).decode(), base64.b64encode(picture(1)).decode(), "0"]
    with (folder / "benchmark.tsv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t")
        writer.writerow(("index", "image", "question", "answer", "A", "B", "C", "category"))
        for number, image in enumerate(images):
            writer.writerow((number, image, "Which organ?", "BAC"[number], "lung", "liver", "heart", "organ"))


LAYOUTS: Mapping[str, Callable[[Path], None]] = {
    "polyps": write_images_and_masks,
    "Dataset042_Liver": write_nnunet,
    "brains": write_bids,
    "export": write_dicom,
    "quiz": write_csv,
    "chat": write_chat,
    "benchmark": write_vlmevalkit,
}
