"""Numbers for the Hugging Face hub, as huggingface_hub reads them."""

import pytest
from ruamel.yaml import YAML

from harness.errors import SpecError
from harness.exports.reports import hugging_face
from harness.exports.reports.hugging_face import eval_results, model_card
from tests.support.exported_runs import ExportedCase

hub = pytest.importorskip("huggingface_hub")


def test_the_hub_reads_an_entry_for_each_number(word_case: ExportedCase) -> None:
    text, notes = eval_results(word_case.run, datasets={"lobes": "us/lobes"}, task_paths=word_case.task_paths)
    assert notes == ["not held by this format: scores of samples and of strata (1)"]
    entries = hub.parse_eval_result_entries(YAML(typ="safe").load(text))
    wanted = [row for row in word_case.rows if row["stratum"] is None]
    assert [entry.value for entry in entries] == [row["value"] for row in wanted]
    assert {entry.dataset_id for entry in entries} == {"us/lobes"}
    # The headline is the task's own number on the hub.
    assert [entry.task_id for entry in entries if "/" not in entry.task_id] == ["lobes"]
    assert entries[0].task_id == "lobes"
    assert f"n {wanted[0]['n']}; failed 4; coverage 1.0; ci_95_low {wanted[0]['ci'][0]}" in entries[0].notes
    assert "protocol_version" in entries[0].notes
    # What the library writes is what it has read.
    assert hub.eval_result_entries_to_yaml(entries)[0]["dataset"] == {"id": "us/lobes", "task_id": "lobes"}


def test_a_dataset_that_was_not_named_is_noted(word_case: ExportedCase) -> None:
    text, notes = eval_results(word_case.run, task_paths=word_case.task_paths)
    assert notes[0] == "--dataset lobes=ORG/NAME names its dataset on the hub"
    assert YAML(typ="safe").load(text)[0]["dataset"]["id"] == "lobes"
    with pytest.raises(
        SpecError, match=r"--dataset lobe=...: expected a task of the run \(lobes\), found 'lobe' \(did"
    ):
        eval_results(word_case.run, datasets={"lobe": "a/b"}, task_paths=word_case.task_paths)


def test_the_reader_of_model_cards_finds_the_numbers(image_case: ExportedCase) -> None:
    text, _ = model_card(image_case.run, task_paths=image_case.task_paths)
    card = hub.ModelCard(text)
    wanted = [row for row in image_case.rows if row["stratum"] is None and row["value"] is not None]
    found = card.data.eval_results
    assert [result.metric_value for result in found] == [row["value"] for row in wanted]
    assert card.data.model_name == "model of ours"
    first, row = found[0], wanted[0]
    assert (first.task_type, first.dataset_type, first.metric_type) == ("image-segmentation", "organs2d", row["metric"])
    assert first.dataset_args["version"] == 3
    assert (first.metric_args["n"], first.metric_args["coverage"]) == (row["n"], 1.0)
    assert first.metric_args["weights"] in text
    interval = "[{:.4f}, {:.4f}]".format(*row["ci"])
    assert f"| {row['value']:.4f} | {interval.replace('[', chr(92) + '[').replace(']', chr(92) + ']')} |" in text


def test_what_a_submitter_wrote_is_text_in_the_card(word_case: ExportedCase) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            hugging_face.FinishedRun,
            "model",
            {
                "id": "x",
                "version": "1",
                "weights": [],
                "name": "<b>| [a](http://x)",
                "params": 7000,
                "licence": "Our licence",
                "url": "https://example.org",
            },
        )
        text, _ = model_card(word_case.run, task_paths=word_case.task_paths)
        results, _ = eval_results(word_case.run, task_paths=word_case.task_paths)
    head, body = text.split("---\n")[1:]
    assert YAML(typ="safe").load(head)["license_name"] == "Our licence"
    assert "&lt;b>\\| \\[a\\](http://x)" in body
    assert "- Parameters: 7,000" in body
    assert YAML(typ="safe").load(results)[0]["source"]["url"] == "https://example.org"
