"""Model references: from `baseline:otsu`, `my_model.py:MyModel` or `package.module:Class` to a built adapter."""

import importlib
import inspect
import re
import sys
from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace
from math import inf
from os import PathLike
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError, ModelError, SpecError, in_own_process, nearest, words_of
from harness.models.plug_ins import plug_ins
from harness.records import Adapter, Capabilities, Json, Resources
from harness.records.codec import sha256_text
from harness.records.file_digests import WeightsDigests
from harness.tasks.volume_recipes import ARGUMENT, RECIPES, recipe_argument, with_recipe
from harness.text.dialects import typed_answers

if TYPE_CHECKING:
    from harness.text.dialects.reply_reader import ReplyReader

# Targets are text, so that listing the models imports none of them.
BUILT_IN: Mapping[str, tuple[str, str]] = {
    "baseline": ("harness.models.baselines:build", "majority, random, empty, oracle, center-box or otsu"),
    "scripted": ("harness.models.scripted:Scripted", "one fixed reply (text=...) or replies by sample id (file=...)"),
    "predictions": (
        "harness.models.submitted.predictions_file:Predictions",
        "predictions submitted as JSONL, or a folder of masks",
    ),
    "hf": (
        "harness.models.huggingface.adapter:HuggingFace",
        "a model of the Hugging Face hub, of a folder or GGUF",
    ),
    "openai": ("harness.models.endpoint.adapter:OpenAI", "a model behind an OpenAI-compatible endpoint, or a server"),
    "process": ("harness.models.process:Process", "a program of your own that reads and writes lines of JSON"),
    "lm-eval": ("harness.models.lm_eval_model:LmEval", "a model class of lm-eval, such as hf or vllm"),
    "sam": ("harness.models.segmenters.sam:Sam", "SAM, MedSAM, SAM 2 or SAM 3, prompted by boxes and points"),
    "grounded": (
        "harness.models.segmenters.grounded:Grounded",
        "the boxes of a text model, outlined by a segmenter: grounded:TEXT_MODEL+SEGMENTER",
    ),
    "judge": ("harness.evaluation.judging.rule_judge:RuleJudge", "judge:rules, the rules of `harness judge` offline"),
}
# Argument in place of what is unknown of a model that was given from Python: no two evaluations share it.
ONLY_THIS = "only_this_evaluation"
METHODS = ("capabilities", "load", "predict")
TAKES = frozenset({"text", "image", "images", "volume", "point", "box", "region", "prior", "target"})
GIVES = frozenset({"text", "nll", "masks", "boxes", "embedding"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReference:
    """A model as the command line names it, ready to be built in any process.

    Attributes:
        text: The reference as given.
        target: `module:attribute`, or `file:attribute` when `source` is set.
        argument: The text behind the name of a named model (`otsu` of `baseline:otsu`).
        arguments: The values of `--model-args`.
        source: The text of the adapter's file, shipped with the reference so every worker runs the same bytes.
        given, given_sha256: The class or the object of a model that was given from Python (`harness.models.given`), and
            the sha256 of the file that defines it; None if there is no such file.
    """

    text: str
    target: str
    argument: str | None = None
    arguments: Mapping[str, Json] = field(default_factory=dict)
    source: str | None = None
    given: Any = None
    given_sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One of the models that an adapter is made of; those in its `model_parts` are part of its identity.

    Attributes:
        reference: The part's own.
        adapter: Built from it.
        capabilities: Its own, checked.
    """

    reference: ModelReference
    adapter: Adapter
    capabilities: Capabilities

    @classmethod
    def of(cls, text: str, arguments: Mapping[str, Json]) -> "Part":
        """Return the part that a reference and its arguments name, built and not loaded."""
        reference = parse(text, arguments)
        adapter = build(reference)
        return cls(reference=reference, adapter=adapter, capabilities=capabilities_of(reference, adapter))


def parse(text: str, arguments: Mapping[str, Json]) -> ModelReference:
    """Return the reference for `NAME`, `NAME:ARGUMENT`, `path/file.py:Class` or `package.module:Class`.

    Raises:
        SpecError: Nothing has that name, or the file does not exist.
    """
    name, _, rest = text.partition(":")
    # Built-in names come first, so that no installed package can pass for a baseline.
    if name in BUILT_IN:
        return ModelReference(text=text, target=BUILT_IN[name][0], argument=rest or None, arguments=arguments)
    if match := re.fullmatch(r"(.+\.py)(?::(\w+))?", text):
        return _file_reference(text, Path(match[1]), match[2], arguments)
    offered = {one.name: one for one in plug_ins(BUILT_IN)}
    if name in offered:
        if fault := offered[name].fault:
            raise SpecError(f"--model {text}: {fault}")
        return ModelReference(text=text, target=offered[name].target, argument=rest or None, arguments=arguments)
    if re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", text):
        return ModelReference(text=text, target=text, arguments=arguments)
    known = [*BUILT_IN, *offered]
    raise SpecError(
        f"--model {text}: expected one of {', '.join(known)} (`harness list models`), path/file.py:Class or "
        f"package.module:Class{nearest(name, known)}"
    )


def _file_reference(text: str, path: Path, name: str | None, arguments: Mapping[str, Json]) -> ModelReference:
    if not path.is_file():
        raise SpecError(f"--model {text}: no file {path}; expected path/to/file.py:ClassName")
    if name is None:
        raise SpecError(f"--model {text}: expected the class behind the file, as in {text}:ClassName")
    try:
        source = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SpecError(f"--model {text}: {path} is not UTF-8 text: {error}") from error
    return ModelReference(text=text, target=f"{path.resolve()}:{name}", arguments=arguments, source=source)


@in_own_process()
def build(reference: ModelReference) -> Adapter:
    """Return the adapter with its arguments, nothing loaded.

    Raises:
        SpecError: The module, class or an argument does not exist.
        ModelError: The class does not follow the Protocol, or its module or constructor fails.
    """
    factory = find_factory(reference)
    positional = [] if reference.argument is None else [reference.argument]
    built = reference.given is not None and not inspect.isclass(reference.given)
    # What tells one evaluation of a class from another is no argument of it.
    others = {
        ONLY_THIS,
        *typed_answers.reply_arguments(factory, reference.arguments),
        *recipe_argument(factory, reference.arguments),
    }
    arguments = {name: value for name, value in reference.arguments.items() if name not in others}
    try:
        if not built:
            _check_arguments(replace(reference, arguments=arguments), factory, positional)
        adapter = reference.given if built else factory(*positional, **arguments)
    except (HarnessError, KeyboardInterrupt):
        raise
    except BaseException as error:  # also SystemExit: an exit code of the model's would pass for the command's
        raise ModelError(f"--model {reference.text}: building it failed: {words_of(error)}") from error
    missing = [f"{name}()" for name in METHODS if not callable(getattr(adapter, name, None))]
    if missing:
        raise ModelError(
            f"--model {reference.text}: {type(adapter).__name__} has no {', '.join(missing)}; an adapter needs "
            f"{', '.join(f'{name}()' for name in METHODS)}, see docs/add-a-model.md"
        )
    return adapter  # type: ignore[no-any-return]


def _check_arguments(reference: ModelReference, factory: Any, positional: list[str]) -> None:
    """Raise a SpecError unless `factory` can be called with the reference's arguments."""
    try:
        signature = inspect.signature(factory)
    except ValueError:  # some classes written in C have no signature
        return
    try:
        signature.bind(*positional, **reference.arguments)
    except TypeError as error:
        names = [name for name, item in signature.parameters.items() if item.kind is not item.VAR_KEYWORD]
        unknown = [name for name in reference.arguments if name not in names]
        hint = nearest(unknown[0], names) if unknown else ""
        raise SpecError(
            f"--model {reference.text}: {error}{hint}; it accepts {', '.join(names) or 'no arguments'}"
        ) from error


def find_factory(reference: ModelReference) -> Any:
    """Return the class or function that the reference names, not called yet.

    Raises:
        SpecError: The module, class or function does not exist.
        ModelError: Importing the module fails.
    """
    if reference.given is not None:
        return reference.given if inspect.isclass(reference.given) else type(reference.given)
    place, _, attribute = reference.target.rpartition(":")
    module = _module(reference, place)
    found = getattr(module, attribute, None)
    if not callable(found):
        classes = {name: value for name, value in vars(module).items() if inspect.isclass(value)}
        own = {name: value for name, value in classes.items() if value.__module__ == module.__name__}
        here = [name for name, value in own.items() if not value.__name__.startswith("_")]
        has = f"it has {', '.join(here)}" if here else "it has no class"
        where = reference.text.rpartition(":")[0] if reference.source is not None else place
        raise SpecError(
            f"--model {reference.text}: {where} has no class '{attribute}'{nearest(attribute, here)}; {has}"
        )
    return found


def _module(reference: ModelReference, place: str) -> ModuleType:
    try:
        if reference.source is not None:
            return _module_from_source(Path(place), reference.source)
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        raise SpecError(
            f"--model {reference.text}: importing it failed: {error}{nearest(place, [*BUILT_IN])}"
        ) from error
    except (HarnessError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise ModelError(f"--model {reference.text}: importing it failed: {words_of(error)}") from error


def _module_from_source(path: Path, source: str) -> ModuleType:
    """Run the shipped source as a module of its own; it can import the files beside it if they are on this machine."""
    # Named by the digest of its text: an edited adapter is another module, and every worker names it alike.
    name = f"medground_adapter_{sha256_text(source)[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    module = ModuleType(name)
    module.__file__ = str(path)
    if path.parent.is_dir() and str(path.parent) not in sys.path:
        # Last in the search path: a file beside the adapter must not hide an installed package.
        sys.path.append(str(path.parent))
    sys.modules[name] = module
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)
    except BaseException:  # also Ctrl-C: half a module must not be found by the next import
        del sys.modules[name]
        raise
    return module


@in_own_process()
def capabilities_of(reference: ModelReference, adapter: Adapter) -> Capabilities:
    """Return the adapter's capabilities after checking them, with what its replies hold in a declared dialect.

    Raises:
        ModelError: `capabilities()` fails, returns no `Capabilities`, or declares something the harness does not know.
        SpecError: The dialect or the frame of its replies, or the recipe for volumes, does not exist.
    """
    try:
        declared = adapter.capabilities()
    except (HarnessError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise ModelError(f"--model {reference.text}: capabilities() failed: {words_of(error)}") from error
    if (fault := _capabilities_fault(declared)) is not None:
        raise ModelError(f"--model {reference.text}: capabilities(){fault}")
    recipe = recipe_argument(find_factory(reference), reference.arguments) if ARGUMENT in reference.arguments else {}
    declared = with_recipe(reference.text, declared, recipe)
    return typed_answers.with_reader(declared, reply_reader(reference, declared))


def reply_reader(reference: ModelReference, capabilities: Capabilities) -> "ReplyReader | None":
    """Return the reader of a model's replies, as `--model-args` or the adapter declares it; None if neither does.

    Raises:
        SpecError: The dialect, the frame or an argument does not exist.
    """
    arguments: Mapping[str, Json] = {}
    if typed_answers.ARGUMENTS[0] in reference.arguments:
        arguments = typed_answers.reply_arguments(find_factory(reference), reference.arguments)
    return typed_answers.reader_of(reference.text, arguments, capabilities)


def _capabilities_fault(declared: object) -> str | None:
    """Return the fault of the result of `capabilities()`; None if it has none."""
    if not isinstance(declared, Capabilities):
        return f" returned {type(declared).__name__}, expected Capabilities"
    for name, known in (("takes", TAKES), ("gives", GIVES)):
        given = getattr(declared, name)
        if not isinstance(given, Set):
            return f".{name}: expected a set of words, found {given!r}"
        unknown = sorted(map(str, given - known))
        if unknown:
            return f".{name}: expected some of {', '.join(sorted(known))}, found '{unknown[0]}'" + nearest(
                unknown[0], sorted(known)
            )
    # Both belong to one sample, so requests that carry them must be keyed by sample.
    if declared.takes & {"prior", "target"} and not declared.per_sample:
        return ".takes: prior and target need per_sample=True"
    for name in ("max_batch", "max_images"):
        most = getattr(declared, name)
        if type(most) is not int or most < 1:
            return f".{name}: expected a whole number of at least 1, found {most!r}"
    usual: object = declared.usual_batch
    if usual is not None and (type(usual) is not int or not 1 <= usual <= declared.max_batch):
        return f".usual_batch: expected a whole number from 1 to max_batch ({declared.max_batch}), found {usual!r}"
    host: object = declared.sends_data_to
    if host is not None and (not isinstance(host, str) or not host.strip()):
        return f".sends_data_to: expected the name of a host, or None, found {host!r}"
    resources: object = declared.resources  # submitted code fills this in: the annotation may not hold
    if not isinstance(resources, Resources):
        return f".resources: expected Resources, found {resources!r}"
    for name in ("cpus", "gpus"):
        number = getattr(resources, name)
        if not (name == "gpus" and number is None) and (fault := resource_fault(number, whole=name == "gpus")):
            return f".resources.{name}: {fault}, found {number!r}"
    reply: object = declared.reply
    if not isinstance(reply, Mapping):
        return f".reply: expected a mapping with dialect and frame, found {reply!r:.80}"
    for name in ("execution_only", "weights"):
        words = getattr(declared, name)
        if isinstance(words, str) or not all(isinstance(word, str | PathLike) for word in words):
            return f".{name}: expected a {'set of argument names' if name == 'execution_only' else 'tuple of paths'}"
    return None


def resource_fault(number: object, *, whole: bool) -> str | None:
    """Return what was expected of a number of CPUs or GPUs; None if it is one.

    Args:
        number: The number.
        whole: Above 1 it must be whole, as that of GPUs.
    """
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number < inf:
        return "expected a number of at least 0"
    if whole and number > 1 and number != int(number):
        return "expected a whole number, or a fraction of one GPU"
    return None


def identity(
    reference: ModelReference, adapter: Adapter, capabilities: Capabilities, *, memory: Path | None = None
) -> dict[str, Json]:
    """Return everything that decides a model's answers: part of every request key and of `run.json`.

    Execution-only arguments are left out. A file counts by its bytes, not by its path: an argument that names a file
    of `weights` is replaced by the file's digest.

    Args:
        reference: The model as the command line names it.
        adapter: The adapter built from it.
        capabilities: The adapter's, checked.
        memory: Folder in which digests of weights are remembered; None digests them anew.
    Raises:
        SpecError: The model names weights that do not exist.
    """
    # A file by its bytes: the same weights in another place give the same keys, and edited ones new keys.
    digests = WeightsDigests(memory)
    weights = {Path(weight).resolve(): digests.of(Path(weight)) for weight in capabilities.weights}
    reader = reply_reader(reference, capabilities)
    parts = [
        identity(part.reference, part.adapter, part.capabilities, memory=memory)
        for part in getattr(adapter, "model_parts", ())
    ]
    # Of a model made of others by their public names, since a reference may hold the places of files.
    joined = f"{reference.text.partition(':')[0]}:{'+'.join(str(part['id']) for part in parts)}" if parts else None
    return {
        "id": getattr(adapter, "public_id", None) or joined or _public_name(reference, weights),
        "version": str(getattr(adapter, "version", "0")),
        "source_sha256": reference.given_sha256 if reference.source is None else sha256_text(reference.source),
        "arguments": {
            name: _without_path(value, weights)
            for name, value in typed_answers.public_arguments(reference.arguments).items()
            if name not in capabilities.execution_only
        },
        "weights": list(weights.values()),
        # Only where it is declared: all other models keep the keys of their requests.
        **({} if reader is None else {"reply": reader.identity()}),
        **({} if capabilities.volume is None else {"volume": RECIPES[capabilities.volume].id}),
        **({"parts": list[Json](parts)} if parts else {}),
    }


def _public_name(reference: ModelReference, weights: Mapping[Path, str]) -> str:
    """Return the reference without a path: the stem of an adapter's file, and nothing of a file of weights."""
    place, _, attribute = reference.target.rpartition(":")
    if reference.source is not None:
        return f"{Path(place).stem}:{attribute}"
    names_file = reference.argument is not None and Path(reference.argument).resolve() in weights
    return reference.text.partition(":")[0] if names_file else reference.text


def _without_path(value: Json, weights: Mapping[Path, str]) -> Json:
    if isinstance(value, list):
        return [_without_path(item, weights) for item in value]
    if not isinstance(value, str):
        return value
    if (sha256 := weights.get(Path(value).resolve())) is not None:
        return {"sha256": sha256}
    kind, at, path = value.partition("@")  # `json_schema@answer.json`
    sha256 = weights.get(Path(path).resolve()) if at else None
    return value if sha256 is None else {"kind": kind, "sha256": sha256}
