"""The interface that a submitter implements, and the capabilities that a model declares."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from harness.records.answer import Answer
from harness.records.request import Request
from harness.records.values import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """The CPUs and GPUs of one copy of a model.

    Attributes:
        cpus: CPUs that it needs.
        gpus: GPUs that it needs; with a fraction of one several copies share it. None, for a model that runs on either:
            one where the machine has any, else the CPU. 0 for a model that has no use for one.
    """

    cpus: float = 1.0
    gpus: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """The inputs that a model takes and the outputs that it gives. The harness asks for it before any weight is loaded.

    A task that needs more than a model takes or gives becomes an `unsupported` cell with its reason, before the run.

    Attributes:
        takes: Any of `text`, `image`, `images` (several at once), `volume`, `point`, `box` and `region`. `prior` and
            `target` are for baselines and need `per_sample`.
        gives: Any of `text`, `nll`, `masks`, `boxes` and `embedding`.
        max_images: The most images that one request may hold.
        max_batch: The most requests that one call of `predict` may get.
        batch_invariant: Promises that an answer is the same to the byte whatever else is in the batch. Only then does
            a run end in the same bytes with any number of workers and interruptions.
        per_sample: Requests also carry `sample_id`, and `prior` or `target` if `takes` names them.
        execution_only: Names of model arguments that cannot change an answer, such as a device. They stay out of the
            model's identity and hence out of every request's key.
        weights: Files or folders whose bytes are part of the model's identity.
        resources: CPUs and GPUs of one copy of the model.
        usual_batch: Requests per batch unless `--batch-size` says otherwise; None: 16, or `max_batch` if that is less.
        sends_data_to: The host that gets the questions and images, for a model that is not on this machine; None for
            any other. Tasks whose terms forbid it are refused unless `--send-data-to` names the host.
        reply: How the model writes boxes, points and masks in its words, as in `{"dialect": "qwen3_vl", "frame":
            "per_mille"}`, perhaps with `frame_args`; the harness then reads them (docs/models.md). Empty if the words
            hold none. `--model-args reply=...,frame=...` declares it for any model and comes first.
        volume: Name of the recipe by which a volume is shown to the model as images (docs/volumes.md), whether or not
            it takes volumes; None: by the fallback of the task. `--model-args volume=...` comes first.
    """

    takes: frozenset[str] = frozenset({"text", "image"})
    gives: frozenset[str] = frozenset({"text"})
    max_images: int = 1
    max_batch: int = 1
    batch_invariant: bool = False
    per_sample: bool = False
    execution_only: frozenset[str] = frozenset()
    weights: tuple[str, ...] = ()
    resources: Resources = field(default_factory=Resources)
    usual_batch: int | None = None
    sends_data_to: str | None = None
    reply: Mapping[str, Json] = field(default_factory=dict)
    volume: str | None = None


class Adapter(Protocol):
    """The only class that a submitter writes; nothing has to be subclassed or registered.

    `__init__` receives the arguments of `--model-args` by keyword. The harness then calls `capabilities`, `load` and
    `predict`, in this order. It catches the exceptions of `predict` and halves the batch until the failing request is
    alone, so an adapter need not guard against single bad samples.

    Two methods are optional. `begin_run(folder, timeout)` comes before `load`: a folder in the run directory for files
    of the adapter's own, such as a log, which need not exist yet and is None on a node that does not see it; and the
    seconds that one sample may take. `close()` comes last, where the process lives long enough to call it. So are two
    attributes: `version`, which is part of every request's key, and `public_id`, under which results show the model
    where its reference would name folders of this machine.
    """

    def capabilities(self) -> Capabilities:
        """Return the model's inputs and outputs; this must be cheap, without weights or heavy imports."""
        ...

    def load(self, device: str) -> None:
        """Load the model onto `device` (`cpu`, `cuda:0`, ...); called once per process, before `predict`."""
        ...

    def predict(self, requests: Sequence[Request]) -> Sequence[Answer]:
        """Answer a batch of at most `max_batch` requests.

        Returns:
            One `Answer` per request, in the same order.
        """
        ...
