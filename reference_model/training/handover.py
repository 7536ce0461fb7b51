"""Builds the starting model of a stage from finished stages: experts from dense parts, adapters, frozen parameters."""

from pathlib import Path

import peft
import torch
from peft.tuners.lora import Linear as LoraLinear
from torch import nn

from harness.errors import SpecError
from reference_model.checkpoints.checkpoint import About, load_about, load_model
from reference_model.config import ModelConfig
from reference_model.modeling.build import AnyModel
from reference_model.modeling.model import PixelGroundingModel
from reference_model.modeling.moe import MoeFeedForward, upcycle
from reference_model.training.recipe import Lora, Start, fits

MODEL = "model"


def stage_folder(out: Path, number: int) -> Path:
    """Return the folder that a stage writes into."""
    return out / f"stage-{number}"


def finished_model(out: Path, number: int) -> Path:
    """Return the folder of a stage's finished model.

    Raises:
        SpecError: The stage is not finished.
    """
    folder = stage_folder(out, number) / MODEL
    if not folder.is_dir():
        raise SpecError(f"{folder}: expected the model of stage {number}; run --stage {number} on the same --out first")
    return folder


def sources(out: Path, start: Start) -> dict[str, Path]:
    """Return the folders of the finished models that a stage starts from, by the part taken from each.

    Raises:
        SpecError: One of the stages is not finished.
    """
    found: dict[str, Path] = {}
    if start.base is not None:
        found["base"] = finished_model(out, start.base)
    for index, number in enumerate(start.experts):
        found[f"expert {index}"] = finished_model(out, number)
    for name, number in start.parts.items():
        found[name] = finished_model(out, number)
    return found


def hand_over(base: Path, out: Path, start: Start) -> tuple[AnyModel, About]:
    """Return the starting model of a stage, and the description of its base.

    Args:
        base: The folder of the model that the stage starts from.
        out: The folder of the training, with the folders of earlier stages.
        start: The stages and parts that the stage starts from.

    Raises:
        SpecError: A stage is not finished, its experts do not fit, or the model has no such part.
    """
    model, about = load_model(base)
    if start.experts:
        if not isinstance(model, PixelGroundingModel) or not isinstance(about.config, ModelConfig):
            raise SpecError(f"start.experts: expected a model with experts, found {about.config.name}, which has none")
        _add_experts(model, about.config, [finished_model(out, number) for number in start.experts])
    modules = dict(model.named_modules())
    for name, source in start.copies.items():
        for one in (name, source):
            if one not in modules:
                raise SpecError(f"start.copies: expected modules of {about.config.name}, got '{one}'")
        shapes = [{key: value.shape for key, value in modules[one].state_dict().items()} for one in (name, source)]
        if shapes[0] != shapes[1]:
            raise SpecError(f"start.copies: expected a module with the weights of '{name}', got '{source}'")
        modules[name].load_state_dict(modules[source].state_dict())
    for name, number in start.parts.items():
        if name not in dict(model.named_children()):
            known = ", ".join(child for child, _ in model.named_children())
            raise SpecError(f"start.parts: expected one of {known}, got '{name}'")
        other, _ = load_model(finished_model(out, number))
        model.get_submodule(name).load_state_dict(other.get_submodule(name).state_dict())
    return model, about


def _add_experts(model: PixelGroundingModel, config: ModelConfig, folders: list[Path]) -> None:
    """Replace the dense feed-forward parts by experts; routers are initialised with torch's generator."""
    if len(folders) != config.moe.experts:
        raise SpecError(f"start.experts: expected {config.moe.experts} stages, one an expert, got {len(folders)}")
    for folder in folders:
        if load_about(folder).experts:
            raise SpecError(f"start.experts: expected a model without experts to make one of, found one with: {folder}")
    # In the order of the recipe: as in MedPLIB, expert 0 comes from stage III and expert 1 from stage II.
    givers = [load_model(folder)[0] for folder in folders]
    for index, layer in enumerate(model.language.layers):
        denses = [giver.language.layers[index].get_submodule("mlp") for giver in givers]
        layer.mlp = upcycle(denses, width=config.language.width, config=config.moe)


def choose_trained(model: AnyModel, trains: tuple[str, ...], lora: Lora | None) -> dict[str, nn.Parameter]:
    """Freeze a model except for what a stage trains; return these parameters, adapters included, by name.

    Args:
        model: The model, changed in place.
        trains: Names or patterns of modules and parameters.
        lora: The adapters to add; None: no adapters.

    Raises:
        SpecError: A pattern matches no parameter, or the name of an adapted layer matches no layer.
    """
    # Matched before adapters are added: these wrap layers and rename their parameters.
    chosen: list[nn.Parameter] = []
    for pattern in trains:
        fitting = [value for name, value in model.named_parameters() if fits(name, pattern)]
        if not fitting:
            raise SpecError(f"trains: '{pattern}' fits no module or parameter of the model")
        chosen += fitting
    if lora is not None:
        _add_lora(model, lora)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)
    for parameter in chosen:
        parameter.requires_grad_(True)
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def merge_lora(model: nn.Module) -> None:
    """Merge every adapter into its layer and remove it; the outputs of the model do not change."""
    for name, module in list(model.named_modules()):
        if isinstance(module, LoraLinear):
            module.merge()
            parent, _, attribute = name.rpartition(".")
            setattr(model.get_submodule(parent), attribute, module.get_base_layer())


def _add_lora(model: AnyModel, lora: Lora) -> None:
    """Add adapters whose output starts at zero; the experts of a layer start with equal adapters."""
    leaves = {name.rpartition(".")[2] for name, _ in model.language.named_modules()}
    for target in lora.targets:
        if target not in leaves:
            raise SpecError(f"lora.targets: '{target}' fits no layer of the language model")
    settings = peft.LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=list(lora.targets)
    )
    peft.inject_adapter_in_model(settings, model.language)
    # As in MedPLIB, which adds the adapters to the dense part before copying it into the experts.
    layers = [module for module in model.modules() if isinstance(module, MoeFeedForward)]
    with torch.no_grad():
        for layer in layers:
            first, *others = (_adapters(expert) for expert in layer.experts)
            for adapters in others:
                for name, parameter in adapters.items():
                    parameter.copy_(first[name])


def _adapters(module: nn.Module) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in module.named_parameters() if "lora_" in name}
