"""`check-adapter`: it passes what keeps the Protocol, and names each fault of a broken adapter with what to do."""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from harness import Answer, Box, Capabilities, ErrorInfo, Region, Request, Resources
from harness.cli import main
from harness.evaluation.adapter_check import check as module
from harness.evaluation.adapter_check.check import check_adapter
from harness.evaluation.adapter_check.faults import AdapterReport
from harness.evaluation.adapter_check.probes import outside, probes
from harness.models.given import reference_to
from harness.models.resolve import parse


class Good:
    """Answers everything that it claims; each broken adapter below changes one thing."""

    version = "1"
    takes = frozenset({"text", "image"})
    gives = frozenset({"masks"})
    max_batch = 4
    invariant = True
    execution_only: frozenset[str] = frozenset()

    def capabilities(self) -> Capabilities:
        return Capabilities(
            takes=self.takes,
            gives=self.gives,
            max_batch=self.max_batch,
            batch_invariant=self.invariant,
            execution_only=self.execution_only,
            resources=Resources(gpus=0),
        )

    def load(self, device: str) -> None:
        pass

    def predict(self, requests: Sequence[Request]) -> list[Any]:
        return [self.answer(request) for request in requests]

    def answer(self, request: Request) -> Any:
        return Answer(masks=[self.grey(request) > 100])

    def grey(self, request: Request) -> Any:
        if request.volumes:
            return request.volumes[0].volume()
        return request.images[0].image().mean(axis=2)


class Transposed(Good):
    def answer(self, request: Request) -> Answer:
        return Answer(masks=[(self.grey(request) > 100).T])


class WrongAxesOfVolumes(Good):
    takes = frozenset({"text", "image", "volume"})

    def answer(self, request: Request) -> Answer:
        return Answer(masks=[(self.grey(request) > 100).T if request.volumes else self.grey(request) > 100])


class GreyMasks(Good):
    def answer(self, request: Request) -> Answer:
        return Answer(masks=[(self.grey(request) > 100).astype(np.uint8) * 255])


class FixedSize(Good):
    def answer(self, request: Request) -> Answer:  # noqa: ARG002
        return Answer(masks=[np.ones((64, 64), dtype=bool)])


class PerMille(Good):
    gives = frozenset({"boxes"})

    def answer(self, request: Request) -> Answer:  # noqa: ARG002
        return Answer(boxes=[Box(corners=(100, 200, 500, 600))])


class Shares(Good):
    gives = frozenset({"boxes"})

    def answer(self, request: Request) -> Answer:  # noqa: ARG002
        return Answer(boxes=[Box(corners=(0.1, 0.2, 0.5, 0.6))])


class RowsFirst(Good):
    gives = frozenset({"boxes"})

    def answer(self, request: Request) -> Answer:
        height, width = request.images[0].size
        return Answer(boxes=[Box(corners=(0, 0, height, width))])


class OneTooFew(Good):
    def predict(self, requests: Sequence[Request]) -> list[Any]:
        return super().predict(requests)[: max(1, len(requests) - 1)]


class Backwards(Good):
    gives = frozenset({"text"})

    def predict(self, requests: Sequence[Request]) -> list[Any]:
        return [Answer(text=f"{request.images[0].size} {request.prompt}") for request in reversed(requests)]


class Counts(Good):
    gives = frozenset({"text"})
    calls = 0

    def answer(self, request: Request) -> Answer:  # noqa: ARG002
        type(self).calls += 1
        return Answer(text=f"call {self.calls}")


class Padded(Good):
    gives = frozenset({"text"})

    def predict(self, requests: Sequence[Request]) -> list[Any]:
        longest = max(len(request.prompt) for request in requests)
        return [Answer(text=f"padded to {longest}") for _ in requests]


class NeedsWords(Good):
    gives = frozenset({"text"})

    def answer(self, request: Request) -> Answer:
        return Answer(text=request.prompt.split()[0])


class Ascii(Good):
    gives = frozenset({"text"})

    def answer(self, request: Request) -> Answer:
        return Answer(text=str(len(request.prompt.encode("ascii"))))


class ForgetsBoxes(Good):
    takes = frozenset({"text", "image", "box", "region"})

    def answer(self, request: Request) -> Answer:
        for prompt in request.visual_prompts:
            assert isinstance(prompt, Region), "regions only"
        return super().answer(request)


class TakesNoVolume(Good):
    takes = frozenset({"text", "image", "volume"})

    def grey(self, request: Request) -> Any:
        return request.media[0].image()[..., 0]


class OneImage(Good):
    takes = frozenset({"text", "images"})
    gives = frozenset({"text"})

    def capabilities(self) -> Capabilities:
        return Capabilities(takes=self.takes, gives=self.gives, max_images=3, batch_invariant=True)

    def answer(self, request: Request) -> Answer:
        (image,) = request.images
        return Answer(text=str(image.size))


class NotANumber(Good):
    gives = frozenset({"nll"})

    def answer(self, request: Request) -> Answer:
        return Answer(nll=[float("nan") for _ in request.candidates])


class TwoOptions(Good):
    gives = frozenset({"nll"})

    def answer(self, request: Request) -> Answer:  # noqa: ARG002
        return Answer(nll=[1.0, 2.0])


class NeverAny(Good):
    gives = frozenset({"masks", "text"})

    def answer(self, request: Request) -> Answer:
        return Answer(text="yes") if "text" in request.wants else Answer()


class OnlyWords(Good):
    gives = frozenset({"masks", "text"})

    def answer(self, request: Request) -> Answer:
        return Answer(text=f"The structure is bright: {request.prompt} {request.images[0].size}")


class Paints(Good):
    def grey(self, request: Request) -> Any:
        image = request.images[0].image()
        image[0, 0] = 255
        return image.mean(axis=2)


class Plain(Good):
    def answer(self, request: Request) -> str:  # noqa: ARG002
        return "yes"


class Sleeps(Good):
    gives = frozenset({"text"})

    def answer(self, request: Request) -> Answer:
        if not request.prompt:
            time.sleep(60)
        return Answer(text="yes")


class Moody(Good):
    asked = 0

    def capabilities(self) -> Capabilities:
        type(self).asked += 1
        return Capabilities(max_batch=1 + self.asked % 2)


class OneByOne(Good):
    def predict(self, requests: Sequence[Request]) -> list[Any]:
        (request,) = requests
        return [self.answer(request)]


class ReadsTheFile(Good):
    def grey(self, request: Request) -> Any:
        media: Any = request.media[0]
        return np.asarray(Image.open(media.store.roots[0] / media.record.path).convert("L"))


class OtherLengths(Good):
    gives = frozenset({"embedding"})

    def answer(self, request: Request) -> Answer:
        return Answer(embedding=[[1.0] * (1 + len(request.candidates[0]))] * 2)


class NoOutput(Good):
    takes = frozenset({"text"})


class LoadFails(Good):
    def load(self, device: str) -> None:
        raise RuntimeError(f"no weights for {device}")


BROKEN: list[tuple[type, str, str, str]] = [
    (Transposed, "the adapter may have swapped the axes", "6 of 7 requests", "row before column"),
    (WrongAxesOfVolumes, "volume is (5, 23, 31) as (D, H, W)", "where a volume is shown", "row before column"),
    (GreyMasks, "masks[0]", "every request", "compare first: mask > 0"),
    (FixedSize, "predicted mask is (64, 64), image is (37, 53)", "6 of 7 requests", "resize masks to the image"),
    (
        PerMille,
        "boxes[0] is (100.0, 200.0, 500.0, 600.0) where 37 x 53 pixels",
        "every request",
        "they may be per mille",
    ),
    (Shares, "all boxes lie between 0 and 1, as shares of the image do", "every request", "multiply x by the width"),
    (RowsFirst, "y may stand before x: outside of the image", "every request", "give pixels of the image"),
    (OneTooFew, "predict() returned", "", "return one Answer per request, in order"),
    (Backwards, "the answers that others of the batch get alone", "", "in the order of the requests"),
    (Counts, "others when the same batch is asked a second time", "every request", "keep no state between calls"),
    (Padded, "answers are others alone than in a batch", "", "pad and sort so that"),
    (NeedsWords, "IndexError: list index out of range", "where the question is empty", "mend test_check.py:"),
    (Ascii, "UnicodeEncodeError: 'ascii' codec", "where the question is not in ASCII", "treat texts as UTF-8"),
    (ForgetsBoxes, "AssertionError: regions only", "where a box is given", "or return Answer(error=...)"),
    (TakesNoVolume, "is a volume, not an image", "where a volume is shown", "ask handles of request.volumes"),
    (OneImage, "ValueError: too many values to unpack", "where several images are shown", "mend test_check.py"),
    (NotANumber, "nll[0]: expected a finite number, found nan", "every request", "look for a division by zero"),
    (TwoOptions, "nll: expected one per candidate (3), found 2", "every request", "return one number per candidate"),
    (NeverAny, "claims that it gives masks, and no answer holds any", "all 7 requests where masks are wanted", "fill"),
    (OnlyWords, "claims that it gives masks, and no answer holds any", "all 7 requests where masks are wanted", "fill"),
    (Paints, "ValueError: assignment destination is read-only", "every request", "copy an image or volume"),
    (Plain, "predict() returned str for a request, expected Answer", "every request", "return a list of Answer"),
    (Sleeps, "predict() did not return within 0.0", "where the question is empty", "end what waits"),
    (Moody, "capabilities() returned two different results", "asked twice", "depend on the arguments"),
    (
        OneByOne,
        "too many values to unpack (expected 1) for a batch, though each",
        "a batch of 4",
        "the max_batch that works",
    ),
    (
        ReadsTheFile,
        "the crop that the model was shown is (20, 31)",
        "where the image is a crop of its file",
        "resize masks",
    ),
    (OtherLengths, "embeddings have 1, 37 numbers", "an embedding is wanted", "give vectors of one length"),
    (NoOutput, "gives masks and takes text", "capabilities()", "name an output that these inputs allow"),
    (LoadFails, "load() failed: RuntimeError: no weights for cpu", "before any request", "mend it"),
]


def report_of(model: type, *, timeout: float = 30.0) -> AdapterReport:
    return check_adapter(reference_to(model, {}), timeout=timeout, device="cpu")


def test_an_adapter_that_keeps_the_protocol_passes() -> None:
    report = report_of(Good)
    assert (report.faults, report.notes, report.asked) == ([], [], 7)


@pytest.mark.parametrize(("model", "what", "where", "do"), BROKEN, ids=[case[0].__name__ for case in BROKEN])
def test_a_broken_adapter_is_named_with_what_to_do(model: type, what: str, where: str, do: str) -> None:
    report = report_of(model, timeout=0.01 if model is Sleeps else 30.0)
    assert report.faults
    said = report.faults[0]
    assert what in said.what
    assert where in said.where
    assert do in f"{said.what} {said.do}"


def test_answers_that_may_differ_are_a_note() -> None:
    class Free(Counts):
        invariant = False

    report = report_of(Free)
    assert report.faults == []
    (note,) = report.notes
    assert note.startswith("answers are others a second time (7 of 7 requests); batch_invariant is not declared")


def test_what_is_slow_is_a_fault_what_is_unversioned_or_says_nothing_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHEAP_SECONDS", 0.0)

    class Silent:
        def capabilities(self) -> Capabilities:
            return Capabilities()

        def load(self, device: str) -> None:
            pass

        def predict(self, requests: Sequence[Request]) -> list[Answer]:
            return [Answer(text="") for _ in requests]

    report = report_of(Silent)
    (fault,) = report.faults
    assert fault.what == "__init__ and capabilities() took 0.0 s"
    assert fault.do == "import heavy packages and read weights in load()"
    assert [note.partition(";")[0] for note in report.notes] == [
        "the class has no `version`",
        "it says nothing to all 7 requests where text is wanted",
    ]


def test_an_argument_that_does_not_exist_is_named(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from harness import Answer, Capabilities\n\n\nclass Mine:\n    version = '1'\n"
        "    def __init__(self, *, batch=1): pass\n"
        "    def capabilities(self): return Capabilities(execution_only=frozenset({'bach'}))\n"
        "    def load(self, device): pass\n"
        "    def predict(self, requests): return [Answer(text='yes') for _ in requests]\n"
    )
    (fault,) = check_adapter(parse(f"{file}:Mine", {}), timeout=30.0).faults
    assert (fault.what, fault.do) == (
        "execution_only names 'bach', which is no argument of __init__",
        "name some of batch",
    )


def test_a_heavy_import_before_load_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "heavy_package.py").write_text("")
    file = tmp_path / "mine.py"
    file.write_text(
        "from harness import Answer, Capabilities\n\n\nclass Mine:\n    version = '1'\n"
        "    def capabilities(self):\n        import heavy_package\n        return Capabilities()\n"
        "    def load(self, device): pass\n"
        "    def predict(self, requests): return [Answer(text='yes') for _ in requests]\n"
    )
    monkeypatch.setattr(module, "HEAVY", ("heavy_package",))
    (fault,) = check_adapter(parse(f"{file}:Mine", {}), timeout=30.0).faults
    assert fault.what.endswith(" s, and heavy_package was imported")


def test_an_error_of_its_own_for_a_long_question_is_a_note_and_for_any_other_a_fault() -> None:
    class Short(Good):
        gives = frozenset({"text"})

        def answer(self, request: Request) -> Answer:
            if len(request.prompt) > 500:
                return Answer(error=ErrorInfo(type="TooLong", message=f"{len(request.prompt)} letters"))
            if not request.prompt.isascii():
                return Answer(error=ErrorInfo(type="Foreign", message="English only"))
            return Answer(text=f"{request.prompt} {request.images[0].size}")

    report = report_of(Short)
    (fault,) = report.faults
    assert fault.what == "Foreign: English only"
    (note,) = report.notes
    assert note.startswith(
        "it declines where the question is long (1 of 7 requests), first: text of an image of 37 x 53"
    )


def test_masks_that_only_a_dialect_allows_are_a_note(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from harness import Answer, Capabilities\n\n\nclass Mine:\n    version = '1'\n"
        "    def capabilities(self): return Capabilities()\n"
        "    def load(self, device): pass\n"
        "    def predict(self, requests): return [Answer(text='[1, 2, 3, 4]') for _ in requests]\n"
    )
    report = check_adapter(parse(f"{file}:Mine", {"reply": "json", "frame": "pixels"}), timeout=30.0)
    assert report.faults == []
    assert "no answer holds masks, which the dialect of its replies allows" in report.notes


def test_some_empty_answers_are_a_note() -> None:
    class Shy(Good):
        def answer(self, request: Request) -> Answer:
            return Answer() if request.images[0].size == (9, 12) else super().answer(request)

    report = report_of(Shy)
    assert report.faults == []
    assert report.notes == [
        "1 of 7 answers are empty where masks are wanted; a model that finds nothing says so by a mask without "
        "foreground, or in words: an empty answer scores the worst value"
    ]


@pytest.mark.parametrize("name", ["empty", "oracle", "majority", "random", "center-box", "otsu"])
def test_every_baseline_passes(name: str) -> None:
    assert check_adapter(parse(f"baseline:{name}", {}), timeout=30.0).faults == []


def test_scripted_and_predictions_pass_and_broken_lines_are_named(tmp_path: Path) -> None:
    assert check_adapter(parse("scripted", {"text": "yes"}), timeout=30.0).faults == []
    file = tmp_path / "answers.jsonl"
    file.write_text(
        '{"sample_id": "a", "text": "yes"}\n{"sample_id": "b", "masks": [{"size": [2, 2], "counts": "04"}]}\n'
    )
    report = check_adapter(parse(f"predictions:{file}", {}), timeout=30.0)
    assert (report.faults, report.asked) == ([], 2)
    file.write_text('{"sample_id": "a", "text": "yes"}\n{"sample_id": \n')
    (fault,) = check_adapter(parse(f"predictions:{file}", {}), timeout=30.0).faults
    assert fault.what.startswith("line 2: cannot be read as JSON")


def test_every_kind_that_is_claimed_is_asked(tmp_path: Path) -> None:
    everything = Capabilities(
        takes=frozenset({"text", "image", "images", "volume", "box", "point", "region"}),
        gives=frozenset({"text", "masks", "boxes", "nll", "embedding"}),
        max_images=3,
    )
    asked = probes(everything, tmp_path)
    tags = {tag for probe in asked for tag in probe.tags}
    assert {
        "the question is empty",
        "the question is not in ASCII",
        "the question is long",
        "the caption is empty",
        "there is one candidate",
        "a box is given",
        "a point is given",
        "a region is given",
        "a volume is shown",
        "several images are shown",
    } <= tags
    assert {probe.request.kind for probe in asked} == {"generate", "nll", "embed"}
    spacings = {media.record.spacing_mm for probe in asked for media in probe.request.volumes}
    assert spacings == {(5.0, 0.7, 0.9), (1.5, 0.8, 0.8)}
    wordless = probes(Capabilities(takes=frozenset({"image", "box"}), gives=frozenset({"masks"})), tmp_path)
    assert all(probe.request.prompt == "" and probe.request.visual_prompts for probe in wordless)


@pytest.mark.parametrize(
    ("corners", "size", "is_outside"),
    [
        ((0, 0, 5, 3), (3, 5), False),
        ((0, 0, 3, 5), (3, 5), True),
        ((2, 0, 1, 3), (3, 5), True),
        ((-1, 0, 1, 3), (3, 5), True),
        ((0, 0, 0, 2, 3, 4), (2, 3, 4), False),
        ((0, 0, 0, 4, 3, 2), (2, 3, 4), True),
    ],
)
def test_boxes_outside_are_found(corners: tuple[float, ...], size: tuple[int, ...], is_outside: bool) -> None:
    assert outside(Box(corners=corners), size) is is_outside


def command(*words: object) -> Any:
    return CliRunner().invoke(main, [str(word) for word in words])


def test_a_new_adapter_passes_as_it_stands_and_nothing_is_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "mine"
    written = command("new-adapter", "my-model", "--out", out)
    assert written.exit_code == 0, written.output
    assert written.stdout == f"harness check-adapter {out / 'my_model.py'}:MyModel\n"
    result = command("check-adapter", f"{out / 'my_model.py'}:MyModel")
    assert result.exit_code == 0, result.output
    assert result.stdout.endswith("asked   26 requests, three times each\npassed\n")
    before = (out / "my_model.py").read_text()
    (out / "test_my_model.py").unlink()
    refused = command("new-adapter", "my_model", "--out", out)
    assert refused.exit_code == 2
    assert "my_model.py: exists, and nothing is overwritten; choose another name, or --out FOLDER" in refused.stderr
    assert (out / "my_model.py").read_text() == before
    assert not (out / "test_my_model.py").exists()


@pytest.mark.parametrize("name", ["3d", "class", "a b", "a/b", "mödel"])
def test_a_name_that_is_no_module_is_refused(name: str, tmp_path: Path) -> None:
    refused = command("new-adapter", name, "--out", tmp_path)
    assert refused.exit_code == 2
    assert f"new-adapter {name}: expected a name with letters, digits and underscores" in refused.stderr


def test_faults_end_with_2_in_words_and_as_json(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from harness import Answer, Capabilities\n\n\nclass Mine:\n    version = '1'\n"
        "    def capabilities(self): return Capabilities()\n"
        "    def load(self, device): pass\n"
        "    def predict(self, requests): return [Answer(text=one.prompt.split()[0]) for one in requests]\n"
    )
    shown = command("check-adapter", f"{file}:Mine")
    assert shown.exit_code == 2
    assert (
        "fault   IndexError: list index out of range\n        where the question is empty (1 of 7 requests)"
        in shown.stdout
    )
    assert "        do: mend mine.py:8 (<listcomp>), or return Answer(error=...)" in shown.stdout
    assert shown.stdout.endswith("1 fault\n")
    found = json.loads(command("check-adapter", f"{file}:Mine", "--json").stdout)
    assert (found["passed"], found["requests"], len(found["faults"])) == (False, 7, 1)
    assert set(found["faults"][0]) == {"what", "where", "do"}


def test_a_process_that_ends_on_an_empty_question_is_named(tmp_path: Path) -> None:
    file = tmp_path / "model.py"
    file.write_text(
        "import json, sys\n"
        'print(json.dumps({"ready": True, "takes": ["text", "image"], "gives": ["text"], "batch_invariant": True}))\n'
        "for line in sys.stdin:\n"
        '    asked = json.loads(line)["requests"]\n'
        '    print(json.dumps({"answers": [{"id": one["id"], "text": one["prompt"].split()[0]} for one in asked]}))\n'
    )
    arguments = {"takes": "text image", "gives": "text", "batch_invariant": True}
    (fault,) = check_adapter(parse(f"process:{sys.executable} -S {file}", arguments), timeout=30.0).faults
    assert fault.what.startswith("the process ended with exit code 1; its last words: Traceback")
    assert fault.where.startswith("where the question is empty (1 of 7 requests)")
    assert fault.do.startswith("mend the program; docs/own-process.md says what it must write")
