"""A real language model constructs from ten images by each pipeline; what it makes is judged by the checks."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.data.construction.checks.checklist import DUPLICATE, ITEM_CHECKS, REPLY_CHECKS
from harness.evaluation.constructing.construct import ConstructSpec, construct
from tests.support.smollm2 import NEEDS_SMOLLM2, served_smollm2

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000), NEEDS_SMOLLM2]
IMAGES = 10
# Reasons of the pipelines' own steps.
FILTERS = {"few_medical_terms", "small_image", "not_medical", "repeated_caption"}
M3D = {
    *("unreadable_reply", "missing_question", "four_options", "reads_as_missing", "of_the_report", "no_verdict"),
    *("found_wrong", "empty_region", "one_mask_mark", "names_its_term", "fits_two_terms"),
}
OTHER = {*FILTERS, *M3D, "mentions_the_reference", "no_knowledge"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The reference of SmolLM2, and the address of its server."""
    with served_smollm2(tmp_path_factory.mktemp("smollm2")) as found:
        yield found


@pytest.mark.parametrize("pipeline", ["mecovqa", "mimoseg", "pubmedvision", "m3d-vqa", "m3d-refseg", "term-dictionary"])
def test_what_a_real_model_makes_is_judged_by_the_checks(
    pipeline: str, model: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none")
    reference, base_url = model
    made = construct(
        ConstructSpec(
            pipeline=pipeline,
            out=tmp_path / "out",
            llm=reference,
            llm_args={"base_url": base_url, "max_new_tokens": 48, "images": "leave_out"},
            data_roots=("phantom:5",),
            limit=IMAGES,
        )
    )
    assert made.asked > 0
    assert made.defects == ()
    reasons = {reason for step in made.funnel["steps"] for reason in step["rejected"]}
    assert reasons <= {*ITEM_CHECKS, *REPLY_CHECKS, DUPLICATE, *OTHER}
    assert reasons  # 135 million parameters do not write faultless JSON in 48 tokens
    lines = [json.loads(line) for line in (tmp_path / "out" / "pedigree.jsonl").read_text().splitlines()]
    assert len(lines) == made.funnel["release"]["items"]
