"""The `reference-model` command."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from harness.errors import HarnessError

EXIT_BAD_INPUT = 2
EXIT_CTRL_C = 130
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
    """Print the modules, shapes and parameter counts of a preset; no weights are made."""
    import json

    from reference_model.config import load_preset

    with _errors_as_exit_codes(debug):
        config = load_preset(preset)
    from reference_model import info as describing

    described = describing.describe(config)
    click.echo(json.dumps(describing.as_json(described)) if as_json else describing.as_text(described))


@main.command()
@click.option("--recipe", "recipe_name", required=True, help="Name of a recipe, such as medplib-tiny, or its file.")
@click.option("--stage", "stages", required=True, help="Number of a stage, or all.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for models, states and logs.")
@click.option("--seed", type=click.IntRange(min=0), help="Of all that is drawn, in place of the recipe's.")
@click.option("--steps", type=click.IntRange(min=1), help="Of every stage, in place of the recipe's.")
@click.option("--share", type=click.FloatRange(0, 1, min_open=True), default=1.0, help="Of the steps, to be quick.")
@click.option("--data-root", "roots", multiple=True, help="In place of the recipe's; may be repeated.")
@click.option("--start", type=click.Path(path_type=Path), help="Model that a first stage goes on with.")
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
    debug: bool,
) -> None:
    """Train one stage of a recipe, or all in turn; the same command goes on with what was cut short."""
    from dataclasses import replace

    from harness.cache_folder import default_cache

    with _errors_as_exit_codes(debug):
        from reference_model.recipe_files import load_recipe

        recipe = load_recipe(recipe_name)
        recipe = replace(recipe, seed=recipe.seed if seed is None else seed, data_roots=roots or recipe.data_roots)
        numbers = [stage.number for stage in recipe.stages] if stages == "all" else [_number(stages)]
        from reference_model.runs import Run
        from reference_model.training_bar import TrainingBar

        with TrainingBar() as bar:
            run = Run(
                recipe=recipe,
                out=out,
                cache=default_cache(),
                start=start,
                steps=steps,
                share=share,
                notice=bar.notice,
                watcher=bar,
            )
            run.stages(numbers)
    click.echo(str(out / f"stage-{numbers[-1]}" / "model"))


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
    except KeyboardInterrupt:
        click.echo("\nreference-model: stopped; the same command goes on from the last state", err=True)
        sys.exit(EXIT_CTRL_C)


if __name__ == "__main__":
    main()
