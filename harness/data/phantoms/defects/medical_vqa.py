"""The defects of SLAKE, PathVQA, PMC-VQA and MMMU, planted on purpose into phantom releases."""

import csv
import json
from collections.abc import Callable, Mapping
from pathlib import Path

from harness.data.phantoms.defects.planting import check_names, tear
from harness.data.phantoms.writers.medical_vqa import write_csv, write_hub
from harness.data.phantoms.writers.samed2d import write_json
from harness.data.releases.vqa import mmmu, pathvqa, pmc_vqa, slake
from harness.records import Json

Record = dict[str, Json]
Change = Callable[[Record], None]
# (data root, number of the defect) -> its place.
Plant = Callable[[Path, int], str]

SLAKE_TEST = slake.FILES["test"][0]
SLAKE_TRAIN = slake.FILES["train"][0]
PATH_TEST = f"{pathvqa.HUB_FOLDER}/test-00000-of-00001.parquet"
PATH_TRAIN = f"{pathvqa.HUB_FOLDER}/train-00000-of-00001.parquet"
PMC_TEST = pmc_vqa.FILES["v1", "test_clean"]
PMC_TRAIN = pmc_vqa.FILES["v1", "train"]
PMC_V2_TEST = pmc_vqa.FILES["v2", "test"]
MMMU_TEST = f"{mmmu.FOLDER}/Pharmacy/test-00000-of-00001.parquet"


def plant_slake(root: Path, defects: frozenset[str]) -> dict[str, str]:
    """Plant defects into the test part of `slake/` below `root`, each into records of its own.

    Args:
        root: A data root that `write_slake` has filled.
        defects: Keys of `SLAKE_DEFECTS`.
    Returns:
        Defect -> its place: a file below the data root, or `file[record]`.
    Raises:
        SpecError: There is no such defect.
    """
    return _plant(SLAKE_DEFECTS, root, defects)


def plant_pathvqa(root: Path, defects: frozenset[str]) -> dict[str, str]:
    """As `plant_slake` for `pathvqa/`, in the hub's layout."""
    return _plant(PATHVQA_DEFECTS, root, defects)


def plant_pmc_vqa(root: Path, defects: frozenset[str]) -> dict[str, str]:
    """As `plant_slake` for `pmc_vqa/`: the part checked by hand, the header of version 2."""
    return _plant(PMC_VQA_DEFECTS, root, defects)


def plant_mmmu(root: Path, defects: frozenset[str]) -> dict[str, str]:
    """As `plant_slake` for `mmmu/`: the test questions of one subject, and the key."""
    return _plant(MMMU_DEFECTS, root, defects)


def _plant(table: Mapping[str, Plant], root: Path, defects: frozenset[str]) -> dict[str, str]:
    check_names(defects, table)
    # Every defect has a record by its place in the table, so that one never moves another.
    return {name: put(root, place) for place, (name, put) in enumerate(table.items()) if name in defects}


def _change_json(root: Path, path: str, at: int, change: Change) -> str:
    records = json.loads((root / path).read_text(encoding="utf-8"))
    change(records[at])
    write_json(root / path, records)
    return f"{path}[{at}]"


def _change_parquet(root: Path, path: str, at: int, images: tuple[str, ...], change: Change) -> str:
    from pyarrow import parquet

    rows = parquet.read_table(root / path).to_pylist()
    # Read back, an image is a struct; `write_hub` takes its bytes.
    plain = [
        {name: value["bytes"] if name in images and value is not None else value for name, value in row.items()}
        for row in rows
    ]
    change(plain[at])
    write_hub(root / path, plain, images=images)
    return f"{path}[{at}]"


def _change_csv(root: Path, path: str, at: int, change: Change) -> str:
    with (root / path).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    change(rows[at])
    write_csv(root / path, rows)
    return f"{path}[{at}]"


def _setting(**values: Json) -> Change:
    def change(record: Record) -> None:
        record.update(values)

    return change


def _slake_change(kind: str, **values: Json) -> Plant:
    """Return a planter that changes an English question, `open` or closed with `alternatives` or `yes/no`."""

    def put(root: Path, place: int) -> str:
        records = json.loads((root / SLAKE_TEST).read_text(encoding="utf-8"))
        # The kind is read from type and question, since an earlier defect may have spoilt the answer.
        own = []
        for at, record in enumerate(records):
            closed = "alternatives" if " or " in record["question"] else "yes/no"
            if record["q_lang"] == "en" and kind == ("open" if record["answer_type"] == "OPEN" else closed):
                own.append(at)
        return _change_json(root, SLAKE_TEST, own[place], _setting(**values))

    return put


def _slake_image(root: Path, place: int) -> str:
    records = json.loads((root / SLAKE_TEST).read_text(encoding="utf-8"))
    return f"{slake.IMAGES}/{list(dict.fromkeys(one['img_name'] for one in records))[place]}"


def _slake_remove(root: Path, place: int) -> str:
    path = _slake_image(root, place)
    (root / path).unlink()
    return path


def _slake_tear(root: Path, place: int) -> str:
    path = _slake_image(root, place)
    tear(root / path)
    return path


def _slake_repeat(root: Path, place: int) -> str:
    path = _slake_image(root, place)
    _change_json(root, SLAKE_TRAIN, 0, _setting(img_name=path.removeprefix(f"{slake.IMAGES}/")))
    return path


def _path_change(**values: Json) -> Plant:
    return lambda root, place: _change_parquet(root, PATH_TEST, place, ("image",), _setting(**values))


def _path_repeat(root: Path, place: int) -> str:
    from pyarrow import parquet

    image = parquet.read_table(root / PATH_TEST).to_pylist()[place]["image"]["bytes"]
    _change_parquet(root, PATH_TRAIN, 0, ("image",), _setting(image=image))
    return f"{PATH_TEST}[{place}]"


def _pmc_change(**values: Json) -> Plant:
    return lambda root, place: _change_csv(root, PMC_TEST, place, _setting(**values))


def _pmc_rename(root: Path, place: int) -> str:
    name = "PMC1_Fig1_1.jpg"
    _change_csv(root, PMC_TEST, place, _setting(Figure_path=name))
    return f"{pmc_vqa.FOLDER}/images/{name}"


def _pmc_repeat(root: Path, place: int) -> str:
    with (root / PMC_TEST).open(encoding="utf-8", newline="") as file:
        figure = list(csv.DictReader(file))[place]["Figure_path"]
    _change_csv(root, PMC_TRAIN, 0, _setting(Figure_path=figure))
    return f"{pmc_vqa.FOLDER}/images/{figure}"


def _pmc_misspell(root: Path, place: int) -> str:
    del place
    path = root / PMC_V2_TEST
    header, _, rest = path.read_text(encoding="utf-8").partition("\n")
    path.write_text(f"{header.replace(',Answer,', ',Anwser,')}\n{rest}", encoding="utf-8")
    return PMC_V2_TEST


def _mmmu_change(**values: Json) -> Plant:
    return lambda root, place: _change_parquet(root, MMMU_TEST, place, mmmu.IMAGES, _setting(**values))


def _mmmu_key(value: Json) -> Plant:
    """Return a planter that changes one answer of the key; None takes the answer out."""

    def put(root: Path, place: int) -> str:
        key = json.loads((root / mmmu.KEY_FILE).read_text(encoding="utf-8"))
        name = f"test_Pharmacy_{place + 1}"
        if value is None:
            del key[name]
        else:
            key[name]["ground_truth"] = value
        write_json(root / mmmu.KEY_FILE, key)
        return f"{MMMU_TEST}[{place}]"

    return put


SLAKE_DEFECTS: Mapping[str, Plant] = {
    "missing_file": _slake_remove,
    "unreadable_file": _slake_tear,
    "train_test_overlap": _slake_repeat,
    "non_text_answer": _slake_change("open", answer=3),
    "no_answer": _slake_change("yes/no", answer=None),
    "unnamed_answer": _slake_change("alternatives", answer="Neither"),
    "no_alternatives": _slake_change("yes/no", answer="Diffuse", question="How would you describe it?"),
}
PATHVQA_DEFECTS: Mapping[str, Plant] = {
    "unreadable_file": _path_change(image=b"no image"),
    "no_image": _path_change(image=None),
    "no_answer": _path_change(answer=""),
    "train_test_overlap": _path_repeat,
}
PMC_VQA_DEFECTS: Mapping[str, Plant] = {
    "missing_file": _pmc_rename,
    "label_without_option": _pmc_change(Answer_label="E"),
    "label_mismatch": _pmc_change(Answer="another thing"),
    "empty_option": _pmc_change(**{"Choice B": " B: "}),
    "no_answer": _pmc_change(Answer="", Answer_label=""),
    "train_test_overlap": _pmc_repeat,
    "misspelt_header": _pmc_misspell,
}
MMMU_DEFECTS: Mapping[str, Plant] = {
    "unreadable_options": _mmmu_change(options="['one', __import__('os')]"),
    "endless_options": _mmmu_change(options=f"[{'1,' * mmmu.MOST_CHARACTERS}]"),
    "no_image": _mmmu_change(question="Compare <image 1> with <image 3>."),
    "unreadable_file": _mmmu_change(image_1=b"no image"),
    "letter_without_option": _mmmu_key("H"),
    "no_answer": _mmmu_key(None),
}
