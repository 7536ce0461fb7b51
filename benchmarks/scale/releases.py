"""Releases of any number of samples: questions with short answers, and images with many small masks."""

import json
from pathlib import Path

# As many distinct images as a machine decodes at once; the cost of reading images is measured elsewhere.
IMAGES = 8
SIDE = 32
# Structures of each image of the release of masks: every one is a sample with a mask of its own.
LABELS = 50
ORGANS = ("CHEST", "HEAD", "ABD")
QUESTION_TYPES = ("PRES", "POS", "ABN", "MODALITY", "PLANE", "SIZE", "COUNT", "ATTRIB")
WORDS = ("left upper lobe", "right kidney", "axial", "pleural effusion", "the liver", "3", "MRI", "enlarged heart")

TEXT_TASK = """\
task: scale_text
version: 1
title: Questions in words
release: {reader: vqa_rad, split: test}
gives: text
oracle: "{answer}"
prompt: "{question}\\nAnswer in a word or a short phrase."
metrics: [{metric: vqa_accuracy}, {metric: vqa_accuracy, protocol: vqa-v2}]
headline: {metric: vqa_accuracy}
strata: [answer_type, question_type]
cluster: image
"""
MASK_TASK = """\
task: scale_masks
version: 1
title: Small structures
release:
  reader: segmentation
  split: all
  options: {folder: segments, images: "images/{case}.png", masks: "masks/{case}.png", labels: LABELS}
gives: masks
oracle: "<SEG>"
prompt: "Segment the {class}."
metrics: [{metric: dice}]
headline: {metric: dice}
strata: [target_size]
cluster: image
"""


def write_text(root: Path, samples: int) -> list[str]:
    """Write a folder in the layout of VQA-RAD's re-split; a third of the answers is no yes or no.

    Returns:
        The questions.
    """
    import numpy as np
    from PIL import Image

    folder = root / "vqa_rad"
    (folder / "images").mkdir(parents=True)
    generator = np.random.default_rng(3)
    for index in range(IMAGES):
        pixels = generator.integers(0, 255, size=(SIDE, SIDE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"image{index}.png")
    questions = []
    with (folder / "testset.json").open("w") as file:
        for number in range(samples):
            closed = number % 3 != 2
            question = f"Is there a finding of kind {number} in the left upper lobe of this image?"
            record = {
                "qid": number,
                "image_name": f"image{number % IMAGES}.png",
                "image_organ": ORGANS[number % len(ORGANS)],
                "question": question,
                "answer": ("yes" if number % 2 else "no") if closed else WORDS[number % len(WORDS)],
                "answer_type": "CLOSED" if closed else "OPEN",
                "question_type": QUESTION_TYPES[number % len(QUESTION_TYPES)],
            }
            # One record at a time: a million of them do not fit beside their text.
            file.write(("[" if number == 0 else ",\n") + json.dumps(record))
            questions.append(question)
        file.write("]")
    (folder / "trainset.json").write_text("[]")
    (root / "tasks").mkdir(exist_ok=True)
    (root / "tasks" / "scale_text.yaml").write_text(TEXT_TASK)
    return questions


def write_masks(root: Path, samples: int) -> None:
    """Write `samples` structures, LABELS in each label image of 64 x 64 pixels."""
    import numpy as np
    from PIL import Image

    folder = root / "segments"
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    generator = np.random.default_rng(5)
    # Structures of 8 x 8 pixels on a grid, of which each loses some pixels, so that no two masks are alike.
    grid = np.kron(np.arange(64).reshape(8, 8) + 1, np.ones((8, 8), dtype=np.int64))
    for number in range(-(-samples // LABELS)):
        most = min(LABELS, samples - number * LABELS)
        labels = np.where((generator.random((64, 64)) < 0.8) & (grid <= most), grid, 0).astype(np.uint8)
        pixels = generator.integers(0, 60, size=(64, 64), dtype=np.uint8) + labels
        Image.fromarray(labels).save(folder / "masks" / f"{number:06d}.png")
        Image.fromarray(pixels).save(folder / "images" / f"{number:06d}.png")
    (root / "tasks").mkdir(exist_ok=True)
    names = ", ".join(f"structure {label}: {label}" for label in range(1, LABELS + 1))
    (root / "tasks" / "scale_masks.yaml").write_text(MASK_TASK.replace("LABELS", f"{{{names}}}"))
