"""One task file -> TaskSpec: everything that is wrong is named, with its place."""

from pathlib import Path

import pytest

from harness.errors import SpecError
from harness.imaging.windowing import Percentiles
from harness.tasks.catalog import check_file
from harness.tasks.prompt_template import PROMPT_NAMES
from harness.tasks.task_file import load_task
from tests.unit.tasks.task_cases import GOOD, changed, faults, write

pytestmark = pytest.mark.usefixtures("small_tables")


def test_a_good_task_is_read_with_its_defaults(tmp_path: Path) -> None:
    path = write(tmp_path)
    assert check_file(path) == []
    task = load_task(path)
    assert (task.task, task.dataset, task.version, task.asks, task.gives) == ("good", "good", 1, "generate", "masks")
    assert (task.release.reader, task.release.split, task.release.subset) == ("plain", "all", None)
    assert task.decoding == {"max_new_tokens": 1024, "temperature": 0.0}
    assert [(use.metric, use.protocol, use.line) for use in task.metrics] == [
        ("dice", "standard", 9),
        ("dice", "medplib", 10),
    ]
    assert (task.headline.metric, task.headline.protocol, task.headline.over) == ("dice", "standard", "modality")
    assert (task.terms.redistribute, task.terms.external_api, task.cluster) == (False, False, "image")
    assert (task.repeats, task.fallbacks, task.window, task.folder) == (1, {}, None, tmp_path)


def test_every_key_is_carried_into_the_record(tmp_path: Path) -> None:
    text = (
        changed("{reader: plain, split: all}", "{reader: rich, split: x, subset: hard, "
                "where: {modality: [ct, mr], kind: a}, options: {level: instance}}")
        + "dataset: shared\npaper: {name: P, venue: V, url: U, rows: [r1, r2]}\ngrammar: mimo\n"
        + "terms: {redistribute: true, external_api: true}\nvisual_prompt: region\n"
        + "fallbacks: [{region_as_box_text: unit}]\nrepeats: 3\ncluster: patient\nwindow: [-100, 300.5]\n"
        + "decoding: {max_new_tokens: 8, min_new_tokens: 0, temperature: 1, top_p: 0.9, top_k: 5, num_beams: 2, "
        + "repetition_penalty: 1.2}\n"
    )  # fmt: skip
    task = load_task(write(tmp_path, text))
    assert task.release.where == {"modality": ("ct", "mr"), "kind": ("a",)}
    assert (task.release.subset, task.release.options) == ("hard", {"level": "instance"})
    assert (task.dataset, task.paper.rows, task.grammar) == ("shared", ("r1", "r2"), "mimo")
    assert (task.terms.redistribute, task.visual_prompt, task.fallbacks) == (
        True,
        "region",
        {"region_as_box_text": "unit"},
    )
    assert (task.repeats, task.cluster, task.window) == (3, "patient", (-100.0, 300.5))
    assert task.decoding["top_p"] == 0.9
    assert isinstance(task.decoding["temperature"], float)


@pytest.mark.parametrize(
    ("window", "found"),
    [("min_max", Percentiles((0.0, 100.0))), ("{percentiles: [0.5, 99]}", Percentiles((0.5, 99.0)))],
)
def test_a_window_may_be_found_from_each_image(tmp_path: Path, window: str, found: Percentiles) -> None:
    task = load_task(write(tmp_path, changed("strata: [", f"window: {window}\nstrata: [")))
    assert task.window == found
    assert task.digest != load_task(write(tmp_path, changed("strata: [", "window: [0, 100]\nstrata: ["))).digest


def test_an_nll_task_has_a_continuation(tmp_path: Path) -> None:
    text = (
        GOOD.replace("gives: masks", 'asks: nll\ngives: choice\ncontinuation: " {option}."')
        .replace('oracle: "<SEG>"\n', "")
        .replace("dice, protocol: medplib", "exact")
        .replace("  - {metric: dice}\n", "")
        .replace("metric: dice,", "metric: exact,")
    )
    task = load_task(write(tmp_path, text))
    assert (task.asks, task.continuation, task.oracle) == ("nll", " {option}.", "")


def test_five_planted_faults_are_named_at_once(tmp_path: Path) -> None:
    text = """\
task: bad
version: one
title: Bad
release: {reader: plain, split: all}
gives: masks
oracle: "<SEG>"
promt: "Outline it."
prompt: "Outline the {class}."
title: Worse
metrics:
  - {metric: dise}
  - {metric: exact}
  - {metric: dice}
headline: {metric: dice}
"""
    assert faults(write(tmp_path, text)) == [
        "t.yaml:2: version: expected a whole number of at least 1, got 'one'",
        "t.yaml:7: promt: unknown key (did you mean 'prompt'?)",
        "t.yaml:9: title: duplicate key, first in line 3; keep one of them",
        "t.yaml:11: metrics[0].metric: expected one of 'dice', 'exact', 'recall', got 'dise' (did you mean 'dice'?)",
        "t.yaml:12: metrics[1].metric: 'exact' does not suit gives: masks; it compares words, so it scores 'choice', "
        "'text'; for 'masks' there is dice",
    ]


NAMES = f"known here: {', '.join(PROMPT_NAMES)}"
WRONG = [
    ("task: good", "task: a b", "1: task: expected letters, digits, '_', '-' and '.', got 'a b'"),
    ("task: good", "task: 7", "1: task: expected text, got the number 7 (put it in quotes)"),
    ("task: good", "task:", "1: task: expected text, got nothing"),
    ("task: good", "task: [a]", "1: task: expected text, got a list"),
    ("task: good", "task: {a: b}", "1: task: expected text, got keys and values"),
    ("version: 1\n", "", "1: version: required key is missing"),
    ("version: 1", "version: true", "2: version: expected a whole number of at least 1, got true"),
    ("version: 1", "version: 1.5", "2: version: expected a whole number of at least 1, got the number 1.5"),
    ("version: 1", "version: 0", "2: version: expected a whole number of at least 1, got the number 0"),
    ("version: 1", "version: 1\ndataset: a/b", "3: dataset: expected letters, digits, '_', '-' and '.', got 'a/b'"),
    ("version: 1", "version: 1\npaper: {titel: x}", "3: paper.titel: unknown key; known here: name, venue, url, rows"),
    ("version: 1", "version: 1\npaper: Big", "3: paper: expected keys and values, got 'Big'"),
    ("release: {reader: plain, split: all}\n", "", "1: release: required key is missing"),
    ("{reader: plain, split: all}", "plain", "4: release: expected keys and values, got 'plain'"),
    ("reader: plain", "reader: plian", "4: release.reader: expected one of 'plain', 'rich', got 'plian' "
     "(did you mean 'plain'?)"),
    ("reader: plain, ", "", "4: release.reader: required key is missing"),
    ("split: all", "subset: x", "4: release.subset: reader 'plain' has no subsets"),
    ("reader: plain", "reader: rich", "4: release.subset: required key is missing"),
    ("reader: plain", "reader: rich, subset: hrad", "4: release.subset: expected one of 'easy', 'hard', got 'hrad' "
     "(did you mean 'hard'?)"),
    ("split: all", "options: {levle: x}", "4: release.options.levle: unknown key; known here: "),
    ("reader: plain", "reader: rich, subset: hard, options: {level: cat}",
     "4: release.options.level: expected one of 'category', 'instance', got 'cat'"),
    ("split: all", "where: {modality: 3}",
     "4: release.where.modality: expected text, got the number 3 (put it in quotes)"),
    ("gives: masks", "gives: mask", "5: gives: expected one of 'text', 'choice', 'masks', 'grounded_text', 'boxes', "
     "'retrieval', got 'mask' (did you mean 'masks'?)"),
    ("gives: masks", "gives: [masks]", "5: gives: expected one of 'text', 'choice', 'masks', 'grounded_text', "
     "'boxes', 'retrieval', got a list"),
    ("gives: masks", "gives: masks\nasks: nll\ncontinuation: x", "5: gives: expected 'choice' where asks is 'nll', "
     "got 'masks'"),
    ("gives: masks", "gives: masks\ncontinuation: x", "6: continuation: only stands where asks is 'nll', which here "
     "is 'generate'"),
    ("gives: masks", "gives: masks\nasks: talk", "6: asks: expected one of 'generate', 'nll', 'embed', got 'talk'"),
    ('oracle: "<SEG>"\n', "", "1: oracle: required key is missing"),
    ('oracle: "<SEG>"', 'oracle: "{answr}"', "6: oracle: unknown placeholder '{answr}' (did you mean 'answer'?)"),
    ("{class}", "{clas}", "7: prompt: unknown placeholder '{clas}' (did you mean 'class'?)"),
    ("{class}", "{xyz}", f"7: prompt: unknown placeholder '{{xyz}}'; {NAMES}"),
    ("{class}", "{class.mro}", "7: prompt: placeholder '{class.mro}' is not a plain name (no attribute, index, "
     f"format or conversion); {NAMES}"),
    ("{class}", "{class!r}", "7: prompt: placeholder '{class}' is not a plain name (no attribute, index, format or "
     f"conversion); {NAMES}"),
    ("{class}", "{class", "7: prompt: unbalanced braces; write {name} for a placeholder, {{ and }} for braces "
     "themselves"),
    ("strata: [", "cluster: people\nstrata: [", "12: cluster: expected one of 'patient', 'study', 'image', "
     "got 'people'"),
    ("strata: [", "grammar: mimi\nstrata: [", "12: grammar: expected one of 'none', 'mimo', 'glamm', "
     "'mimo_or_glamm', got 'mimi' (did you mean 'mimo'?)"),
    ("strata: [", "fallbacks: [{text_left_out: where_pointed}]\nstrata: [", "12: fallbacks[0].text_left_out: needs "
     "something shown; here visual_prompt is 'none'"),
    ("strata: [", "terms: {redistribute: yes}\nstrata: [", "12: terms.redistribute: expected true or false, "
     "got 'yes'"),
    ("strata: [", "visual_prompt: bx\nstrata: [", "12: visual_prompt: expected one of 'none', 'box', 'points', "
     "'region', 'from_sample', got 'bx' (did you mean 'box'?)"),
    ("strata: [", "repeats: 0\nstrata: [", "12: repeats: expected a whole number from 1 to 1,000, got the number 0"),
    ("strata: [", "repeats: 1001\nstrata: [", "12: repeats: expected a whole number from 1 to 1,000, got the number "
     "1001"),
    ("strata: [", "decoding: {temprature: 0}\nstrata: [", "12: decoding.temprature: unknown key (did you mean "
     "'temperature'?)"),
    ("strata: [", "decoding: {temperature: hot}\nstrata: [", "12: decoding.temperature: expected a number from 0 to "
     "10, got 'hot'"),
    ("strata: [", "decoding: {top_p: 2}\nstrata: [", "12: decoding.top_p: expected a number from 0 to 1, got the "
     "number 2"),
    ("strata: [", "fallbacks: {box_as_text: unit}\nstrata: [", "12: fallbacks: expected a list, got keys and values"),
    ("strata: [", "fallbacks: [{box_as_txt: unit}]\nstrata: [", "12: fallbacks[0].box_as_txt: unknown key (did you "
     "mean 'box_as_text'?)"),
    ("strata: [", "fallbacks: [{box_as_text: unit}]\nstrata: [", "12: fallbacks[0].box_as_text: stands in for 'box'; "
     "here visual_prompt is 'none'"),
    ("strata: [", "fallbacks: [{box_as_text: pixels}]\nvisual_prompt: box\nstrata: [", "12: fallbacks[0].box_as_text: "
     "expected one of 'original', 'unit', 'per_mille', got 'pixels'"),
    ("strata: [", "fallbacks: [{box_as_text: unit}, {box_as_text: unit}]\nvisual_prompt: box\nstrata: [",
     "12: fallbacks[1].box_as_text: stands in the list twice"),
    ("strata: [", "fallbacks: [{region_as_overlay: dot}]\nvisual_prompt: region\nstrata: [",
     "12: fallbacks[0].region_as_overlay: expected one of 'outline', 'fill', got 'dot'"),
    ("strata: [", "fallbacks: [{box_as_crop: 11}]\nvisual_prompt: box\nstrata: [",
     "12: fallbacks[0].box_as_crop: expected a number from 0 to 10, got the number 11"),
    ("strata: [", "fallbacks: [{region_as_crop: wide}]\nvisual_prompt: region\nstrata: [",
     "12: fallbacks[0].region_as_crop: expected a number from 0 to 10, got 'wide'"),
    ("strata: [", "fallbacks: [{point_as_overlay: dot}]\nvisual_prompt: box\nstrata: [",
     "12: fallbacks[0].point_as_overlay: stands in for 'points'; here visual_prompt is 'box'"),
    ("strata: [", "fallbacks: [{volume_as_slices: 10}]\nstrata: [", "12: fallbacks[0].volume_as_slices: expected 'all' "
     "where gives is 'masks', got the number 10; masks need each slice"),
    ("strata: [", "fallbacks: [{}]\nstrata: [", "12: fallbacks[0]: expected one key, got 0; one entry each"),
    ("strata: [", "window: [1]\nstrata: [", "12: window: expected a list of 2 numbers, got a list"),
    ("strata: [", "window: [a, 2]\nstrata: [", "12: window: expected a list of 2 numbers, got a list"),
    ("strata: [", "window: [2, 1]\nstrata: [", "12: window: expected low before high, got [2, 1]"),
    ("strata: [", "window: minmax\nstrata: [", "12: window: expected 'min_max', got 'minmax' "
     "(did you mean 'min_max'?)"),
    ("strata: [", "window: {percentiles: [1, 99], low: 2}\nstrata: [", "12: window.low: unknown key; known here: "
     "percentiles"),
    ("strata: [", "window: {percentiles: [9, 9]}\nstrata: [", "12: window.percentiles: expected low before high, "
     "got [9, 9]"),
    ("strata: [", "window: {percentiles: [1, 199]}\nstrata: [", "12: window: percentiles: expected numbers from 0 to "
     "100, got [1, 199]"),
    ("[modality, class]", "[modality, modality]", "12: strata[1]: 'modality' stands in the list twice"),
    ("[modality, class]", "[modality, clas]", "12: strata: reader 'plain' does not tell 'clas' (did you mean "
     "'class'?), only modality, class, kind"),
    ("[modality, class]", "modality", "12: strata: expected a list, got 'modality'"),
    ("{metric: dice}", "{metric: dice, protcol: medplib}", "9: metrics[0].protcol: unknown key (did you mean "
     "'protocol'?)"),
    ("protocol: medplib", "protocol: medlib", "10: metrics[1].protocol: expected one of 'standard', 'medplib' for "
     "metric 'dice', got 'medlib' (did you mean 'medplib'?)"),
    ("{metric: dice, protocol: medplib}", "{metric: recall, protocol: standard}",
     "10: metrics[1].protocol: expected 'ranked' for metric 'recall', got 'standard'"),
    (", protocol: medplib", "", "10: metrics[1].metric: 'dice' with protocol 'standard' stands in the list twice"),
    ("  - {metric: dice}\n", "  - dice\n", "9: metrics[0]: expected keys and values, got 'dice'"),
    ("  - {metric: dice}\n", "  - {protocol: medplib}\n", "9: metrics[0].metric: required key is missing"),
    ("headline: {metric: dice, mean: macro, over: modality}\n", "", "1: headline: required key is missing"),
    ("dice, mean: macro, over: modality", "iou", "11: headline.metric: 'iou standard' is not among the task's metrics: "
     "dice standard, dice medplib"),
    ("dice, mean: macro, over: modality", "dice, protocol: x", "11: headline.metric: 'dice x' is not among the task's "
     "metrics: dice standard, dice medplib"),
    ("mean: macro", "mean: macroo", "11: headline.mean: expected one of 'micro', 'macro', 'pooled', got 'macroo' (did "
     "you mean 'macro'?)"),
    ("mean: macro, ", "", "11: headline.over: only stands where mean is 'macro', which here is 'micro'; write the mean "
     "you want"),
    (", over: modality", "", "11: headline.over: required with mean: macro; name one of the task's strata"),
    ("over: modality", "over: modalty", "11: headline.over: 'modalty' is not among the task's strata: modality, class "
     "(did you mean 'modality'?)"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "fault"), WRONG, ids=[fault.replace(" ", "_")[:60] for _, _, fault in WRONG])
def test_a_wrong_file_is_one_fault_that_says_where_and_what(tmp_path: Path, old: str, new: str, fault: str) -> None:
    assert faults(write(tmp_path, changed(old, new))) == [f"t.yaml:{fault}"]


@pytest.mark.parametrize(
    ("gives", "value", "fault"),
    [
        ("boxes", 10, "cannot stand where gives is 'boxes': answers to slices do not add up to one of a volume"),
        ("text", "axial-11", "expected one of 'all', 'axial-10', "),
        ("text", "axial-11", "(did you mean 'axial-10'?)"),
        ("text", 0, "expected a whole number of at least 1, got the number 0"),
        (
            "masks",
            "axial-10",
            "expected 'all' or one of axial-all, coronal-all, sagittal-all where gives is 'masks', got 'axial-10'",
        ),
    ],
)
def test_a_wrong_number_of_slices_is_named(tmp_path: Path, gives: str, value: object, fault: str) -> None:
    new = f"gives: {gives}\nfallbacks: [{{volume_as_slices: {value}}}]"
    found = faults(write(tmp_path, changed("gives: masks", new)))
    assert any(line.startswith("t.yaml:6: fallbacks[0].volume_as_slices: ") and fault in line for line in found)


@pytest.mark.parametrize("value", ["10", "all", "montage-16"])
def test_slices_may_stand_in_any_task_of_volumes(tmp_path: Path, value: str) -> None:
    new = f"gives: text\nfallbacks: [{{volume_as_slices: {value}}}]"
    found = faults(write(tmp_path, changed("gives: masks", new)))
    assert [line for line in found if "volume_as_slices" in line] == []


def test_a_caption_is_named_only_where_it_is_embedded(tmp_path: Path) -> None:
    fault = "t.yaml:7: prompt: unknown placeholder '{caption}'"
    assert any(line.startswith(fault) for line in faults(write(tmp_path, changed("{class}", "{caption}"))))
    embedded = changed("{class}", "{caption}").replace("gives: masks", "gives: retrieval\nasks: embed")
    assert not any("placeholder '{caption}'" in line for line in faults(write(tmp_path, embedded)))


def test_words_are_left_out_only_where_masks_alone_are_asked_for(tmp_path: Path) -> None:
    new = "gives: text\nvisual_prompt: box\nfallbacks: [{text_left_out: where_pointed}]"
    assert faults(write(tmp_path, changed("gives: masks", new)))[0] == (
        "t.yaml:7: fallbacks[0].text_left_out: without words a model can only be asked for masks; here gives is 'text'"
    )


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "metrics:\n  - {metric: dice}\n  - {metric: dice, protocol: medplib}\n",
            "",
            ["t.yaml:1: metrics: expected at least one metric"],
        ),
        (
            "metrics:\n  - {metric: dice}\n  - {metric: dice, protocol: medplib}\n",
            "metrics: []\n",
            ["t.yaml:8: metrics: expected at least one metric"],
        ),
        (
            "[modality, class]",
            "[modality, a-b]",
            [
                "t.yaml:12: strata: expected names of letters, digits and '_', got 'a-b'",
                "t.yaml:12: strata: reader 'plain' does not tell 'a-b', only modality, class, kind",
            ],
        ),
        (
            "over: modality}\nstrata: [modality, class]",
            "over: modality}",
            ["t.yaml:11: headline.over: 'modality' is not among the task's strata: none"],
        ),
        (
            "task: good",
            "task: &a good",
            ["t.yaml:1: '&a' is an anchor, which is not read; write the value out where it is meant"],
        ),
    ],
)
def test_other_wrong_files(tmp_path: Path, old: str, new: str, expected: list[str]) -> None:
    assert faults(write(tmp_path, changed(old, new))) == expected


def test_a_file_that_is_a_list_is_one_fault(tmp_path: Path) -> None:
    assert faults(write(tmp_path, "- a\n")) == ["t.yaml:1: expected 'key: value' lines at the top level"]


def test_load_task_raises_all_faults_in_one_error(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD + "a: 1\nb: 2\n")
    with pytest.raises(SpecError, match=r"t\.yaml:13: a: unknown key.*\n.*t\.yaml:14: b: unknown key"):
        load_task(path)


def test_include_inherits_and_the_own_keys_win(tmp_path: Path) -> None:
    write(tmp_path, GOOD + "dataset: shared\n", "base.yaml")
    task = load_task(write(tmp_path, 'include: base.yaml\ntask: child\nprompt: "Find it."\n'))
    assert (task.task, task.title, task.prompt, task.dataset) == ("child", "A good task", "Find it.", "shared")


def test_the_name_of_a_task_is_not_inherited(tmp_path: Path) -> None:
    write(tmp_path, GOOD, "base.yaml")
    assert faults(write(tmp_path, "include: base.yaml\n")) == ["t.yaml:1: task: required key is missing"]


def test_a_fault_in_an_included_file_is_named_there(tmp_path: Path) -> None:
    write(tmp_path, changed("version: 1", "version: x"), "base.yaml")
    assert faults(write(tmp_path, "include: base.yaml\ntask: child\n")) == [
        "base.yaml:2: version: expected a whole number of at least 1, got 'x'"
    ]


def test_an_included_file_may_not_include(tmp_path: Path) -> None:
    write(tmp_path, GOOD, "root.yaml")
    write(tmp_path, GOOD + "include: root.yaml\n", "base.yaml")
    assert faults(write(tmp_path, "include: base.yaml\ntask: child\n")) == [
        "base.yaml:13: include: included by t.yaml, so it may not include another file"
    ]


@pytest.mark.parametrize("name", ["../outside.yaml", "/etc/hosts", "link.yaml"])
def test_include_stays_below_the_folder_of_the_task(tmp_path: Path, name: str) -> None:
    write(tmp_path, GOOD, "outside.yaml")
    path = write(tmp_path / "family", GOOD + f"include: {name}\n")
    (path.parent / "link.yaml").symlink_to(tmp_path / "outside.yaml")
    assert faults(path) == [f"t.yaml:13: include: '{name}' lies outside the task's folder; include only files below it"]


def test_an_include_that_no_path_can_be_is_refused(tmp_path: Path) -> None:
    assert len(faults(write(tmp_path, GOOD + 'include: "a\\0b"\n'))) == 1


def test_a_missing_include_is_a_fault(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD + "include: gone.yaml\n")
    assert faults(path) == [f"t.yaml:13: include: there is no file 'gone.yaml' below {tmp_path}"]


def test_an_include_that_is_no_mapping_or_no_text_is_a_fault(tmp_path: Path) -> None:
    write(tmp_path, "- a\n", "base.yaml")
    assert faults(write(tmp_path, GOOD + "include: base.yaml\n")) == [
        "base.yaml:1: expected 'key: value' lines at the top level"
    ]
    assert faults(write(tmp_path, GOOD + "include: [a, b]\n")) == ["t.yaml:13: include: expected text, got a list"]


def test_a_crop_cannot_stand_where_the_reply_holds_coordinates(tmp_path: Path) -> None:
    text = changed("gives: masks", "gives: boxes") + "visual_prompt: box\nfallbacks: [{box_as_crop: 0}]\n"
    (fault,) = (fault for fault in faults(write(tmp_path, text)) if "fallbacks" in fault)
    assert fault == (
        "t.yaml:14: fallbacks[0].box_as_crop: cannot stand where gives is 'boxes': coordinates in a reply would be "
        "those of the crop"
    )
