"""The `reference-model` command."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import click

from harness.errors import HarnessError, SpecError, place_problem
from reference_model.adapter import INSTALL, NEEDED

# Click exits with 2 on a wrong option; a shell reports 130 for a process that SIGINT ended.
EXIT_BAD_INPUT = 2
EXIT_CTRL_C = 130
# The tasks of MedPLIB's own benchmark.
MECOVQA = ("mecovqa_c", "mecovqa_r", "mecovqa_g")
CHECKPOINT = click.Path(exists=True, path_type=Path)
DEBUG = click.option("--debug", is_flag=True, help="Show the traceback of an error.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="medground", prog_name="reference-model")
def main() -> None:
    """The reference pixel-grounding model and its training stages."""


@main.command()
@click.option("--preset", required=True, help="Name of a preset, such as medplib-tiny.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@DEBUG
def info(preset: str, as_json: bool, debug: bool) -> None:
    """Print the modules, shapes and parameter counts of a preset; allocates nothing."""
    import json

    from reference_model.preset_files import load_preset

    with _errors_as_exit_codes(debug):
        config = load_preset(preset)
        from reference_model import info as describing

        described = describing.describe(config)
    click.echo(json.dumps(describing.as_json(described)) if as_json else describing.as_text(described))


@main.command()
@click.option("--recipe", "recipe_name", required=True, help="Name of a recipe, such as medplib-tiny, or its file.")
@click.option("--stage", "stages", required=True, help="Number of a stage, or all.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for models, states and logs.")
@click.option("--seed", type=click.IntRange(min=0), help="Random seed (overrides the recipe).")
@click.option("--steps", type=click.IntRange(min=1), help="Steps per stage (overrides the recipe).")
@click.option(
    "--share", type=click.FloatRange(0, 1, min_open=True), default=1.0, help="Fraction of the steps, for a quick trial."
)
@click.option("--data-root", "roots", multiple=True, help="Data root (overrides the recipe); may be repeated.")
@click.option("--start", type=click.Path(path_type=Path), help="Model that the first stage starts from.")
@click.option("--processes", type=click.IntRange(min=1), help="Number of data-parallel processes. [default: 1]")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), help="[default: cuda if there is a GPU]")
@click.option("--shard", is_flag=True, help="Spread the language model over the processes (FSDP2).")
@click.option("--save-seconds", type=click.FloatRange(min=0), default=60.0, help="Seconds between checkpoints.")
@DEBUG
def train(
    recipe_name: str,
    stages: str,
    out: Path,
    seed: int | None,
    steps: int | None,
    share: float,
    roots: tuple[str, ...],
    start: Path | None,
    processes: int | None,
    device: str | None,
    shard: bool,
    save_seconds: float,
    debug: bool,
) -> None:
    """Train one stage of a recipe, or all in turn; the same command resumes an interrupted training."""
    from dataclasses import replace
    from functools import partial

    from harness.paths import default_cache

    # Imports stand where they are used: torch takes seconds to import, and a wrong option should fail at once.
    with _errors_as_exit_codes(debug):
        launched = _launched(processes)
        from reference_model.training.recipe_files import load_recipe

        recipe = load_recipe(recipe_name)
        recipe = replace(recipe, seed=recipe.seed if seed is None else seed, data_roots=roots or recipe.data_roots)
        numbers = [stage.number for stage in recipe.stages] if stages == "all" else [_number(stages)]
        from reference_model.distributed.processes import choose_device, launch
        from reference_model.training.stages import StagedTraining, run_stages

        place = choose_device(device, processes or 1)
        make = partial(
            StagedTraining,
            recipe=recipe,
            out=out,
            cache=default_cache(),
            start=start,
            steps=steps,
            share=share,
            save_seconds=save_seconds,
            shard=shard,
        )
        if processes is not None and processes > 1:
            launch(run_stages, (make, numbers, place, processes), processes)
        else:
            run_stages(make, numbers, place, launched)
    if os.environ.get("RANK", "0") == "0":  # under a launcher every process gets here
        click.echo(str(out / f"stage-{numbers[-1]}" / "model"))


@main.command()
@click.option("--out", type=click.Path(path_type=Path), help="Folder of a training.")
@click.option("--model", help="Instead of --out: tiny, or the folder of a model with experts.")
@click.option(
    "--task", "tasks", multiple=True, help="With --model: a task to read; may be repeated. [default: mecovqa's]"
)
@click.option("--data-root", "root", default="phantom:0", show_default=True, help="With --model: where the data are.")
@click.option("--samples", type=click.IntRange(min=1), default=100, show_default=True, help="With --model: per task.")
@click.option(
    "--to",
    "file",
    type=click.Path(path_type=Path),
    help="A .png or .svg. [default: training.png in --out; routing.png]",
)
@DEBUG
def plot(
    out: Path | None, model: str | None, tasks: tuple[str, ...], root: str, samples: int, file: Path | None, debug: bool
) -> None:
    """Plot a training, or which expert a model's tokens go to.

    Of a training: its losses and the share of tokens per expert, step by step. Of a model: tokens by expert, by image
    or text, and by imaging modality, layer by layer.
    """
    from harness.paths import default_cache

    with _errors_as_exit_codes(debug):
        if (out is None) == (model is None):
            raise click.UsageError("expected either --out or --model")
        file = file or (out / "training.png" if out else Path("routing.png"))
        from reference_model.training import plots

        if out is not None:
            plots.plot(out, file)
        else:
            from reference_model.adapter import Reference
            from reference_model.inference import routing_counts, routing_plots

            plots.check_name(file)
            counts = routing_counts.count_routing(
                Reference(str(model)).folder,
                tasks=tasks or MECOVQA,
                root=root,
                cache=default_cache(),
                samples=samples,
            )
            routing_plots.plot_routing(counts, file)
    click.echo(str(file))


@main.command()
@click.option("--recipe", "recipe_name", required=True, help="Name of the recipe of the training, or its file.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the finished training.")
@click.option("--to", required=True, type=click.Path(path_type=Path), help="Folder for the exported model.")
@DEBUG
def export(recipe_name: str, out: Path, to: Path, debug: bool) -> None:
    """Write the model of a finished training in 16 bits, with its recipe and a short log."""
    with _errors_as_exit_codes(debug):
        from reference_model.checkpoints import export as exporting
        from reference_model.training.recipe_files import load_recipe, recipe_file

        exporting.export(out, load_recipe(recipe_name), recipe_file(recipe_name), to)
    click.echo(str(to))


def _launched(processes: int | None) -> int:
    """Return how many processes accelerate or torchrun has started, this one included.

    Raises:
        SpecError: A launcher has started several, and `--processes` is given as well.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count > 1 and processes is not None:
        raise SpecError(
            f"--processes {processes}: expected none where a launcher has started {count} (WORLD_SIZE); leave one out"
        )
    return count


@main.command()
@click.option("--preset", required=True, help="Name of the preset that the checkpoints are of, such as medplib-7b.")
@click.option("--llava", type=CHECKPOINT, help="LLaVA-1.5: its folder, as published or as transformers saves it.")
@click.option("--clip", type=CHECKPOINT, help="CLIP or OpenCLIP, in place of a tower in --llava or --medplib.")
@click.option("--sam-med2d", type=CHECKPOINT, help="SAM-Med2D's .pth file.")
@click.option("--sam", type=CHECKPOINT, help="SAM ViT-H for MIMO: its .pth file, or its folder of transformers.")
@click.option("--medplib", type=CHECKPOINT, help="MedPLIB, adapters merged: its folder. It needs none of the others.")
@click.option("--llm", type=CHECKPOINT, help="The language model alone: Vicuna, LLaMA-2, LLaMA-3 or Phi-3.")
@click.option("--vision", type=CHECKPOINT, help="M3D-CLIP's pretrained_ViT.bin, beside --llm.")
@click.option("--segvol", type=CHECKPOINT, help="SegVol's pytorch_model.bin, beside --llm.")
@click.option("--m3d-lamed", type=CHECKPOINT, help="M3D-LaMed, adapters merged: its folder. It needs --m3d-clip only.")
@click.option("--m3d-clip", type=CHECKPOINT, help="M3D-CLIP: its folder.")
@click.option("--projector", type=CHECKPOINT, help="A projector alone: LLaVA's beside --llava, M3D's beside --llm.")
@click.option("--tokenizer", type=CHECKPOINT, help="Tokenizer of the language model, if not in its folder.")
@click.option("--text-tokenizer", type=CHECKPOINT, help="BERT's tokenizer, if not in the folder of --m3d-clip.")
@click.option(
    "--allow-missing",
    multiple=True,
    metavar="PATTERN",
    help="Initialise tensors of these names at random; may be repeated.",
)
@click.option("--dtype", type=click.Choice(["fp32", "bf16", "fp16"]), help="[default: each tensor as it is stored]")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the model, not there yet.")
@click.option("--dry-run", is_flag=True, help="Compare names and shapes, and write nothing.")
@DEBUG
def convert(
    preset: str,
    allow_missing: tuple[str, ...],
    dtype: Literal["fp32", "bf16", "fp16"] | None,
    out: Path | None,
    dry_run: bool,
    debug: bool,
    **checkpoints: Path | None,
) -> None:
    """Convert published checkpoints on disk to a model folder.

    For MedPLIB: --llava, --clip and --sam-med2d, or --medplib alone. For MIMO: --llm, --clip and --sam. For
    HuatuoGPT-Vision: --llm and --clip, or --llava. For M3D-LaMed: --llm, --vision, --segvol and --m3d-clip, or
    --m3d-lamed and --m3d-clip.

    It prints which part comes from which checkpoint, what is left out and why, and what is drawn at random.
    """
    with _errors_as_exit_codes(debug):
        if out is None and not dry_run:
            raise click.BadParameter("expected a folder, or --dry-run", param_hint="--out")
        from reference_model.convert.conversion import prepare
        from reference_model.convert.parents import Files
        from reference_model.convert.report import as_text
        from reference_model.preset_files import load_preset

        conversion = prepare(load_preset(preset), Files(**checkpoints), allowed=allow_missing, precision=dtype)
        click.echo(as_text(conversion))
        if out is not None and not dry_run:
            with click.progressbar(length=conversion.size, label=f"writing {out}", file=sys.stderr) as bar:
                conversion.write(out, bar.update)


def _number(stages: str) -> int:
    if not stages.isdigit():
        raise click.BadParameter(f"expected the number of a stage or all, got '{stages}'", param_hint="--stage")
    return int(stages)


@contextmanager
def _errors_as_exit_codes(debug: bool) -> Iterator[None]:
    """Turn the errors a user can meet into one message and an exit code."""
    try:
        yield
    except HarnessError as error:
        if debug:
            raise
        click.echo(f"reference-model: {error}", err=True)
        sys.exit(EXIT_BAD_INPUT)
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if debug or name not in NEEDED:
            raise
        click.echo(f"reference-model: needs {name}, which is not installed; {INSTALL}", err=True)
        sys.exit(EXIT_BAD_INPUT)
    except OSError as error:
        problem = place_problem(error)
        if debug or problem is None:
            raise
        click.echo(f"reference-model: {problem}", err=True)
        sys.exit(EXIT_BAD_INPUT)
    except KeyboardInterrupt:
        click.echo("\nreference-model: stopped; the same command resumes from the last checkpoint", err=True)
        sys.exit(EXIT_CTRL_C)


if __name__ == "__main__":
    main()
