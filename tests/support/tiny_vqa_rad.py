"""A folder in the layout of VQA-RAD's re-split, with as many questions as a test wants."""

import json
from pathlib import Path

from PIL import Image

PICTURES = 4


def write_release(root: Path, samples: int) -> Path:
    """Write test questions 0, 1, ... on PICTURES pictures below `root`, and return it."""
    images = root / "vqa_rad" / "images"
    images.mkdir(parents=True)
    for index in range(PICTURES):
        Image.new("RGB", (8, 8), (index, 0, 0)).save(images / f"{index}.png")
    records = [
        {
            "qid": number,
            "image_name": f"{number % PICTURES}.png",
            "image_organ": "CHEST",
            "question": f"Is finding {number} there?",
            "answer": "yes" if number % 3 else "no",
            "answer_type": "CLOSED",
            "question_type": "PRES",
        }
        for number in range(samples)
    ]
    (root / "vqa_rad" / "testset.json").write_text(json.dumps(records))
    (root / "vqa_rad" / "trainset.json").write_text("[]")
    return root
