import time
from dataclasses import replace
from pathlib import Path

import pytest

import harness.metrics
from harness.data import releases
from harness.data.releases.reader import Reader
from harness.errors import SpecError
from harness.imaging.windowing import Percentiles
from harness.metrics.metric import Metric, Outcome
from harness.tasks.catalog import check_file, index, task_folders
from harness.tasks.plug_ins import load_metric, load_reader
from harness.tasks.prompt_template import PROMPT_NAMES, template_faults
from harness.tasks.task_file import load_task


def row(name: str, protocol: str, *suits: str) -> Metric:
    return Metric(
        name=name,
        protocol=protocol,
        version=1,
        values=(name,),
        stats=("value",),
        line="text",
        suits=frozenset(suits),
        score=lambda _sample, _prediction: Outcome("ok", (1.0,)),
        combine=lambda stats: stats,
        worst=lambda _sample: (0.0,),
        ceiling=lambda _sample: 1.0,
    )


def reader(name: str, **more: object) -> Reader:
    plain = Reader(
        name=name,
        version=1,
        folders=(name,),
        strata=("modality", "class", "kind"),
        splits=lambda _root: ("all",),
        read=lambda _files, _request, _integrity: iter(()),
        obtain="Ask.",
    )
    return replace(plain, **more)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _tables(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = (
        row("dice", "standard", "masks"),
        row("dice", "medplib", "masks"),
        row("exact", "standard", "text", "choice"),
        row("recall", "ranked", "text"),
    )
    readers = (reader("plain"), reader("rich", subsets=("easy", "hard"), options={"level": ("category", "instance")}))
    monkeypatch.setattr(harness.metrics, "METRICS", metrics)
    monkeypatch.setattr(releases, "READERS", {reader.name: reader for reader in readers})


GOOD = """\
task: good
version: 1
title: A good task
release: {reader: plain, split: all}
gives: masks
oracle: "<SEG>"
prompt: "Outline the {class}."
metrics:
  - {metric: dice}
  - {metric: dice, protocol: medplib}
headline: {metric: dice, mean: macro, over: modality}
strata: [modality, class]
"""


def write(folder: Path, text: str = GOOD, name: str = "t.yaml") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def changed(old: str, new: str) -> str:
    assert GOOD.count(old) == 1, old
    return GOOD.replace(old, new)


def faults(path: Path) -> list[str]:
    return [line.removeprefix(f"{path.parent}/") for line in check_file(path)]


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
    ("strata: [", "repeats: 0\nstrata: [", "12: repeats: expected a whole number of at least 1, got the number 0"),
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
        ("text", "some", "expected 'all', got 'some'"),
        ("text", 0, "expected a whole number of at least 1, got the number 0"),
    ],
)
def test_a_wrong_number_of_slices_is_named(tmp_path: Path, gives: str, value: object, fault: str) -> None:
    new = f"gives: {gives}\nfallbacks: [{{volume_as_slices: {value}}}]"
    assert f"t.yaml:6: fallbacks[0].volume_as_slices: {fault}" in faults(write(tmp_path, changed("gives: masks", new)))


@pytest.mark.parametrize("value", ["10", "all"])
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


def test_templates_allow_marks_doubled_braces_and_plain_text() -> None:
    assert template_faults("<image> <box> {{x}} {question}", ("question",)) == []
    assert template_faults("", ("question",)) == []


@pytest.mark.parametrize("bad", ["{}", "{0}", "{a[0]}", "{a:>3}", "{a:{a}}", "{a!s}", "}", "{a}}", "{ a }"])
def test_templates_refuse_all_but_plain_names(bad: str) -> None:
    assert len(template_faults(bad, ("a",))) == 1


# --- include ---


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


# --- digest ---


def test_the_digest_does_not_depend_on_path_comments_order_include_or_spelt_out_defaults(tmp_path: Path) -> None:
    digest = load_task(write(tmp_path)).digest
    lines = GOOD.splitlines()
    moved = "# a comment\n" + "\n".join([*lines[:7], lines[11], lines[10], *lines[7:10]]) + "\n"
    assert load_task(write(tmp_path / "elsewhere", moved, "other.yaml")).digest == digest
    assert load_task(write(tmp_path, GOOD + "asks: generate\ncluster: image\nrepeats: 1\n")).digest == digest
    assert load_task(write(tmp_path, GOOD + "decoding: {temperature: 0.0}\n")).digest == digest
    write(tmp_path, GOOD, "base.yaml")
    assert load_task(write(tmp_path, "include: base.yaml\ntask: good\n")).digest == digest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("task: good", "task: other"),
        ("version: 1", "version: 2"),
        ("Outline the {class}.", "Outline the {class}"),
        ("split: all", "split: test"),
        ("over: modality", "over: class"),
        ("  - {metric: dice, protocol: medplib}\n", ""),
        ("strata: [modality, class]", "strata: [modality, class]\ncluster: patient"),
    ],
)
def test_the_digest_changes_with_what_the_task_says(tmp_path: Path, old: str, new: str) -> None:
    assert load_task(write(tmp_path)).digest != load_task(write(tmp_path, changed(old, new))).digest


# --- plug-ins ---

PLUG_IN = """\
from dataclasses import replace
from harness.metrics import METRICS
from harness.data.releases import READERS
ROW = replace(METRICS[0], name="mine", protocol="home")
READER = replace(READERS["plain"], name="own", strata=("modality", "class", "extra"))
NUMBER = 3
"""


@pytest.fixture
def own_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    package = tmp_path / "package"
    write(package, PLUG_IN, "medground_test_plug_in.py")
    write(tmp_path, PLUG_IN, "own.py")
    monkeypatch.syspath_prepend(package)
    return tmp_path


@pytest.mark.parametrize("reference", ["own.py:ROW", "medground_test_plug_in:ROW"])
@pytest.mark.usefixtures("own_code")
def test_a_task_may_bring_its_own_metric(tmp_path: Path, reference: str) -> None:
    text = changed("{metric: dice, protocol: medplib}", f'{{metric: "{reference}"}}')
    text = text.replace("headline: {metric: dice", f'headline: {{metric: "{reference}"')
    task = load_task(write(tmp_path, text))
    use = task.metrics[1]
    assert (use.metric, use.protocol) == ("mine", "home")
    assert use.plug_in is not None
    assert (use.plug_in.reference, len(use.plug_in.sha256)) == (reference, 64)
    assert (task.headline.metric, task.headline.protocol) == ("mine", "home")
    assert load_metric(use, task.folder).name == "mine"
    assert load_metric(task.metrics[0], task.folder).name == "dice"


def test_a_crop_cannot_stand_where_the_reply_holds_coordinates(tmp_path: Path) -> None:
    text = changed("gives: masks", "gives: boxes") + "visual_prompt: box\nfallbacks: [{box_as_crop: 0}]\n"
    (fault,) = (fault for fault in faults(write(tmp_path, text)) if "fallbacks" in fault)
    assert fault == (
        "t.yaml:14: fallbacks[0].box_as_crop: cannot stand where gives is 'boxes': coordinates in a reply would be "
        "those of the crop"
    )


def test_fallbacks_keep_their_order_and_the_digest_tells_it(tmp_path: Path) -> None:
    first, second = "{region_as_crop: 0.1}", "{region_as_overlay: fill}"
    tasks = [
        load_task(write(tmp_path, GOOD + f"visual_prompt: region\nfallbacks: [{', '.join(listed)}]\n"))
        for listed in ((first, second), (second, first), (first,))
    ]
    assert [list(task.fallbacks.items()) for task in tasks] == [
        [("region_as_crop", 0.1), ("region_as_overlay", "fill")],
        [("region_as_overlay", "fill"), ("region_as_crop", 0.1)],
        [("region_as_crop", 0.1)],
    ]
    assert len({task.digest for task in tasks}) == 3


@pytest.mark.usefixtures("own_code")
def test_the_digest_changes_with_the_code_of_a_plug_in(tmp_path: Path) -> None:
    path = write(tmp_path, changed("{metric: dice, protocol: medplib}", '{metric: "own.py:ROW"}'))
    before = load_task(path)
    write(tmp_path, PLUG_IN + "# edited\n", "own.py")
    assert load_task(path).digest != before.digest
    assert replace(load_task(path), file=Path("elsewhere")).digest == load_task(path).digest


@pytest.mark.usefixtures("own_code")
def test_a_task_may_bring_its_own_reader(tmp_path: Path) -> None:
    text = changed("reader: plain", 'reader: "own.py:READER"').replace("[modality, class]", "[modality, extra]")
    task = load_task(write(tmp_path, text))
    assert task.release.plug_in is not None
    assert load_reader(task.release, task.folder).name == "own"


def test_the_reader_of_the_table_is_loaded_by_name(tmp_path: Path) -> None:
    task = load_task(write(tmp_path))
    assert load_reader(task.release, task.folder).name == "plain"


@pytest.mark.parametrize(
    ("reference", "fault"),
    [
        ("own.py:GONE", "'own.py:GONE': own.py has no 'GONE'"),
        ("own.py:NUMBER", "'own.py:NUMBER': expected a harness.Metric, got int"),
        ("gone.py:ROW", "'gone.py:ROW': expected a Python file at {folder}/gone.py"),
        ("broken.py:ROW", "'broken.py:ROW': cannot import broken.py: ZeroDivisionError: division by zero"),
        ("no_such_package.x:ROW", "'no_such_package.x:ROW': cannot import no_such_package.x: ModuleNotFoundError: "
         "No module named 'no_such_package'"),
        ("hollow:ROW", "'hollow:ROW': hollow has no 'ROW'"),
        ("sys:path", "'sys:path': sys is not a Python file; expected a module with one"),
    ],
)  # fmt: skip
def test_a_metric_that_cannot_be_loaded_is_a_fault(own_code: Path, reference: str, fault: str) -> None:
    write(own_code, "1 / 0\n", "broken.py")
    (own_code / "package" / "hollow").mkdir()
    path = write(own_code, changed("{metric: dice, protocol: medplib}", f'{{metric: "{reference}"}}'))
    assert faults(path) == [f"t.yaml:10: metrics[1].metric: {fault.format(folder=own_code)}"]


@pytest.mark.usefixtures("own_code")
def test_a_plug_in_has_one_protocol(tmp_path: Path) -> None:
    path = write(tmp_path, changed("{metric: dice, protocol: medplib}", '{metric: "own.py:ROW", protocol: x}'))
    assert faults(path) == ["t.yaml:10: metrics[1].protocol: expected 'home', got 'x'"]


@pytest.mark.usefixtures("own_code")
def test_a_reader_that_is_none_is_a_fault(tmp_path: Path) -> None:
    path = write(tmp_path, changed("reader: plain", 'reader: "own.py:NUMBER"'))
    assert faults(path) == ["t.yaml:4: release.reader: 'own.py:NUMBER': expected a harness.Reader, got int"]


# --- the catalogue ---


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty task folder that stands in for the packaged ones."""
    root = tmp_path / "tasks"
    root.mkdir()
    monkeypatch.setattr("harness.tasks.catalog.packaged_folder", lambda: root)
    return root


def named(name: str) -> str:
    return changed("task: good", f"task: {name}")


def test_tasks_are_found_in_every_folder_by_their_names(folder: Path, tmp_path: Path) -> None:
    write(folder, named("b"), "family/b.yaml")
    write(folder, "- not a task\n", "family/_shared.yaml")
    write(tmp_path / "mine", named("a"), "deep/er/x.yaml")
    catalog = index([tmp_path / "mine"])
    assert list(catalog.entries) == ["a", "b"]
    assert catalog.entries["a"].file == tmp_path / "mine/deep/er/x.yaml"
    assert catalog.entries["a"].title == "A good task"
    assert catalog.load("a").task == "a"
    assert catalog.group("a") is None


def test_the_title_of_a_listing_is_inherited_too(folder: Path) -> None:
    write(folder, named("base"), "base.yaml")
    write(folder, "include: base.yaml\ntask: child\n", "child.yaml")
    write(folder, "include: gone.yaml\ntask: orphan\n", "orphan.yaml")
    entries = index().entries
    assert [entries[name].title for name in ("base", "child", "orphan")] == ["A good task", "A good task", ""]


def test_listing_does_not_stop_at_a_broken_body(folder: Path) -> None:
    write(folder, named("good"), "good.yaml")
    path = write(folder, "task: bad\ntitle: Bad\nrest: of: it\n", "bad.yaml")
    assert list(index().entries) == ["bad", "good"]
    with pytest.raises(SpecError, match=f"^{path}:3: cannot be read as YAML"):
        index().load("bad")


def test_a_name_that_two_files_take_is_an_error_naming_both(folder: Path) -> None:
    first, second = write(folder, GOOD, "a.yaml"), write(folder, GOOD, "b.yaml")
    with pytest.raises(SpecError, match=f"^{second}:1: task: the name 'good' is taken by {first}; choose another$"):
        index()


def test_a_file_without_a_name_is_an_error(folder: Path) -> None:
    path = write(folder, "a: 1\n", "a.yaml")
    other = write(folder, "task: 3\n", "b.yaml")
    with pytest.raises(SpecError) as caught:
        index()
    assert str(caught.value).splitlines() == [
        f"{path}:1: task: required key is missing; is this a task file?",
        f"{other}:1: task: expected text",
    ]


def test_task_folders_begin_with_the_packaged_ones_and_hold_each_once(folder: Path, tmp_path: Path) -> None:
    assert task_folders([tmp_path, folder, tmp_path / "."]) == [folder, tmp_path]


def test_a_task_path_that_is_no_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=f"^--task-path {tmp_path}/x: expected a folder$"):
        task_folders([tmp_path / "x"])


def test_names_resolve_to_tasks_once_and_groups(folder: Path) -> None:
    for name in ("a", "b", "c"):
        write(folder, named(name), f"{name}.yaml")
    write(folder, "pair: {title: Two, tasks: [c, a], combine: macro}\n", "groups.yaml")
    tasks, groups = index().resolve(["b", "pair", "a", "b"])
    assert [task.task for task in tasks] == ["b", "c", "a"]
    assert [(group.name, group.title, group.members, group.combine) for group in groups] == [
        ("pair", "Two", ("c", "a"), "macro")
    ]
    assert index().group("pair") == groups[0]


def test_all_unknown_names_and_all_faults_of_all_files_come_together(folder: Path) -> None:
    write(folder, named("alpha") + "x: 1\n", "a.yaml")
    write(folder, named("beta") + "y: 1\n", "b.yaml")
    write(folder, "couple: {title: Two, tasks: [alpha, beta]}\n", "groups.yaml")
    with pytest.raises(SpecError) as caught:
        index().resolve(["alpah", "cuple", "couple", "zzz"])
    lines = str(caught.value).splitlines()
    listing = "; `harness list tasks` names them all"
    assert lines[:3] == [
        f"no task or group is called 'alpah' (did you mean 'alpha'?){listing}",
        f"no task or group is called 'cuple' (did you mean 'couple'?){listing}",
        f"no task or group is called 'zzz'{listing}",
    ]
    assert [line.split(": ")[0] for line in lines[3:]] == [f"{folder}/a.yaml:13", f"{folder}/b.yaml:13"]


def test_loading_an_unknown_name_or_a_group_is_an_error(folder: Path) -> None:
    write(folder)
    write(folder, "some: {title: Some, tasks: [good]}\n", "groups.yaml")
    with pytest.raises(SpecError, match=r"^no task or group is called 'god' \(did you mean 'good'\?\)"):
        index().load("god")
    with pytest.raises(SpecError, match=r"^'some' is a group; expected one task, one of: good$"):
        index().load("some")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("g: {title: G}\n", "1: g.tasks: required key is missing"),
        ("g: {title: G, tasks: []}\n", "1: g.tasks: expected at least one task"),
        ("g: {tasks: [good]}\n", "1: g.title: required key is missing"),
        ("g: {title: G, tasks: [goood]}\n", "1: g.tasks: no task is called 'goood' (did you mean 'good'?)"),
        ("g: {title: G, tasks: [good], combin: none}\n", "1: g.combin: unknown key (did you mean 'combine'?)"),
        ("g: {title: G, tasks: [good], combine: micro}\n", "1: g.combine: expected one of 'none', 'macro', got 'micro' "
         "(did you mean 'macro'?)"),
        ("a: {title: G, tasks: [good]}\na: {title: G, tasks: [good]}\n", "2: a: duplicate key, first in line 1; keep "
         "one of them"),
        ("good: {title: G, tasks: [good]}\n", "1: good: a group may not have the name of a task ({folder}/t.yaml)"),
        ("g: [good]\n", "1: g: expected keys and values, got a list"),
        ("g: h: i\n", "1: cannot be read as YAML: mapping values are not allowed here"),
    ],
)  # fmt: skip
def test_a_wrong_group_is_a_located_error(folder: Path, text: str, fault: str) -> None:
    write(folder)
    path = write(folder, text, "groups.yaml")
    with pytest.raises(SpecError) as caught:
        index()
    assert str(caught.value) == f"{path}:{fault.format(folder=folder)}"


def test_a_group_name_is_taken_once(folder: Path, tmp_path: Path) -> None:
    write(folder)
    write(folder, "g: {title: G, tasks: [good]}\n", "groups.yaml")
    path = write(tmp_path / "mine", "g: {title: G, tasks: [good]}\n", "groups.yaml")
    with pytest.raises(SpecError, match=f"^{path}:1: g: another groups.yaml has a group of this name; choose another$"):
        index([tmp_path / "mine"])


def test_a_groups_file_is_checked_by_itself(folder: Path) -> None:
    assert check_file(write(folder, "g: {title: G, tasks: [x]}\n", "groups.yaml")) == []
    path = write(folder, "g: {title: G, tasks: x}\n", "groups.yaml")
    assert check_file(path) == [f"{path}:1: g.tasks: expected a list, got 'x'"]


def test_sixty_files_are_listed_quickly_whatever_stands_in_them(folder: Path) -> None:
    text = GOOD + "".join(f"# {'x' * 60}\nkey_{number}: [a, b, {{c: d}}]\n" for number in range(200))
    for number in range(60):
        write(folder, text.replace("task: good", f"task: task_{number}"), f"{number}.yaml")
    started = time.perf_counter()
    assert len(index().entries) == 60
    assert time.perf_counter() - started < 1.0  # about 0.05 s; reading them whole takes over 10 s
