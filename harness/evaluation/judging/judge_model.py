"""A judge as a model: built from its reference, checked, and named by the options of a judge in all messages."""

import contextlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError, ModelError, SpecError, words_of
from harness.evaluation.judging.rubrics import Rubric
from harness.evaluation.judging.rule_judge import RULED_FORMS, RuleJudge
from harness.evaluation.outputs import find_report_images
from harness.evaluation.setup import Observer, refuse_sending
from harness.metrics.answers.judge_replies import REPLY_FORMS
from harness.models.resolve import ModelReference, build, capabilities_of, identity, parse
from harness.models.secrets import masked, refuse_secrets, secrets_of
from harness.records import Capabilities, Json
from harness.records.atomic_files import write_atomically
from harness.records.codec import digest
from harness.tasks.spec import TaskSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeModel:
    """One judge, built and not loaded.

    Attributes:
        reference, capabilities, identity: As of any model.
    """

    reference: ModelReference
    capabilities: Capabilities
    identity: dict[str, Json]


def build_judge(
    text: str,
    arguments: Mapping[str, Json],
    rubric: Rubric,
    tasks: Sequence[TaskSpec],
    *,
    send_data_to: Sequence[str],
    cache: Path,
) -> JudgeModel:
    """Return a judge, after checking that it can be asked and may be sent the answers.

    Args:
        text, arguments: The reference of the model.
        rubric: What it is asked.
        tasks: The tasks whose answers it gets.
        send_data_to: Hosts that may get the data of tasks whose terms do not allow it to everyone.
        cache: Folder of schemas and remembered digests.

    Raises:
        HarnessError: It does not exist, an argument is wrong, it gives no text, or the terms of a task forbid it.
    """
    with named_as_judge(arguments):
        reference = parse(text, with_schema(text, arguments, rubric, cache))
        adapter = build(reference)
        capabilities = capabilities_of(reference, adapter)
        if "text" not in capabilities.gives:
            gives = ", ".join(sorted(capabilities.gives)) or "nothing"
            raise SpecError(f"--judge {text}: expected a model that gives text, this one gives {gives}")
        if rubric.shows == "images" and not capabilities.takes & {"image", "images"}:
            raise SpecError(f"--judge {text}: rubric {rubric.name} shows images, and this model takes none")
        if isinstance(adapter, RuleJudge) and rubric.reply not in RULED_FORMS:
            raise SpecError(
                f"--judge {text}: rules give a verdict or a winner, and rubric {rubric.name} asks for another reply; "
                "use --rubric correctness, or ask a model"
            )
        if capabilities.takes & {"target", "prior"}:
            raise SpecError(f"--judge {text}: expected a model that reads the question, this one takes the target")
        refuse_secrets(reference, capabilities.execution_only)
        try:
            refuse_sending(tasks, capabilities.sends_data_to, send_data_to)
        except SpecError as error:
            words = str(error).replace("--model sends questions and images", "--judge sends questions and answers")
            raise SpecError(words) from None
        known = identity(reference, adapter, capabilities, memory=cache / "weights")
    return JudgeModel(reference=reference, capabilities=capabilities, identity=known)


def image_roots(
    rubric: Rubric, run: Path, data_roots: Sequence[str], task_paths: Sequence[Path], cache: Path, watch: Observer
) -> tuple[Path, ...]:
    """Return the folders of the images that a rubric shows; none for a rubric of words.

    Raises:
        SpecError: It shows images, and no data root is given.
        DataError: A release is not below the data roots.
    """
    if rubric.shows != "images":
        return ()
    if not data_roots:
        raise SpecError(f"--rubric {rubric.name}: shows images; expected --data-root, since a run does not hold them")
    found = find_report_images(run, data_roots, with_images=False, task_paths=task_paths, cache=cache, watch=watch)
    return tuple(path.resolve() for path in found.roots)


def with_schema(text: str, arguments: Mapping[str, Json], rubric: Rubric, cache: Path) -> dict[str, Json]:
    """Return the arguments with the rubric's schema for an endpoint that can be held to it.

    OpenAI itself always can; of any other server `response_format=json_schema` says so.
    """
    given = dict(arguments)
    if text.partition(":")[0] != "openai":
        return given
    is_openai = not {"base_url", "serve", "response_format"} & given.keys()
    if not is_openai and given.get("response_format") != "json_schema":
        return given
    given.pop("response_format", None)
    schema = REPLY_FORMS[rubric.reply].schema
    if schema is None:
        return given
    content = json.dumps(schema, indent=1) + "\n"
    # Named by its content: two versions of a rubric's schema never stand for each other.
    path = cache / "judge-schemas" / f"{digest(dict(schema))[:16]}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file() or path.read_text(encoding="utf-8") != content:
        write_atomically(path, content)
    return {**given, "response_format": f"json_schema@{path}"}


@contextlib.contextmanager
def named_as_judge(arguments: Mapping[str, Json], option: str = "--judge") -> Iterator[None]:
    """Let messages about a model name the options of a judge, or of another role, and mask its secrets.

    Raises:
        HarnessError: As it came; or in place of a SystemExit in the code of the judge.
    """
    try:
        yield
    except HarnessError as error:
        words = masked(str(error), secrets_of(arguments))
        words = re.sub(r"--model(-args)?(?=[\s:,])", rf"{option}\1", words)
        if words != str(error):
            error.args = (words,)
            raise error from None
        raise
    except SystemExit as error:
        raise ModelError(f"the code of the judge ends the command: {words_of(error)}") from error
