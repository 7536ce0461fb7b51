"""The model that a construction asks: built from its reference, checked, and not loaded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.data.construction.pipeline import Pipeline
from harness.data.roots import PHANTOM
from harness.errors import SpecError
from harness.evaluation.setup import is_named
from harness.models.resolve import ModelReference, build, capabilities_of, identity, parse
from harness.models.secrets import refuse_secrets
from harness.records import Capabilities, Json


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageModel:
    """The model that a construction asks, built and not loaded."""

    reference: ModelReference
    capabilities: Capabilities
    identity: dict[str, Json]


def build_model(
    text: str | None,
    arguments: Mapping[str, Json],
    pipeline: Pipeline,
    *,
    data: str,
    send_data_to: Sequence[str],
    cache: Path,
) -> LanguageModel | None:
    """Return the model, after checking that it can be asked and may be sent the data; None if none is named.

    Args:
        text, arguments: The reference of the model, if there is one.
        pipeline: What asks it.
        data: `real` or `phantom`.
        send_data_to: Hosts that may get the data.
        cache: Folder of remembered digests.
    Raises:
        HarnessError: It does not exist, an argument is wrong, it gives no text, or its host is not named.
    """
    if text is None:
        if pipeline.asks:
            raise SpecError(f"--llm: pipeline {pipeline.name} asks a model; expected the reference of one, found none")
        return None
    reference = parse(text, arguments)
    adapter = build(reference)
    capabilities = capabilities_of(reference, adapter)
    if "text" not in capabilities.gives:
        gives = ", ".join(sorted(capabilities.gives)) or "nothing"
        raise SpecError(f"--llm {text}: expected a model that gives text, this one gives {gives}")
    if capabilities.takes & {"target", "prior"}:
        raise SpecError(f"--llm {text}: expected a model that reads the question, this one takes the target")
    refuse_secrets(reference, capabilities.execution_only)
    host = capabilities.sends_data_to
    # Synthetic patients are nobody's; whose data the others are is not for a program to know.
    if pipeline.asks and host is not None and data != PHANTOM and not is_named(host, send_data_to):
        raise SpecError(
            f"--llm {text} sends what is known of the sources to {host}. Nothing was sent; if you have the right "
            f"to, add --send-data-to {host}"
        )
    known = identity(reference, adapter, capabilities, memory=cache / "weights")
    return LanguageModel(reference=reference, capabilities=capabilities, identity=known)
