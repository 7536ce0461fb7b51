"""Ablations of the papers in miniature: a tiny recipe with parts left out or changed, on synthetic patients.

Every setting is trained at a share of the recipe's steps from several seeds, evaluated by the harness on patients
that no model was trained on, and compared with the full model. Stages that settings share are trained once. After a
kill the same command resumes; nothing that is finished is done again.

    python -m benchmarks.ablations --out DIR [--seeds 3] [--share 0.25] [--jobs 2] [--write docs/ablations.md]
    python -m benchmarks.ablations --recipe m3d-lamed-tiny --out DIR [--arms NAME ...] [--parents RECIPE_RUN] ...
    python -m benchmarks.ablations --plan [--timings DIR]
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.ablations import m3d, medplib
from benchmarks.ablations.arms import PARENTS, Arm, Study
from benchmarks.ablations.plan import plan
from benchmarks.ablations.runs import SESSIONS, Ablations, lines, wall_seconds, work_off
from benchmarks.ablations.statistics import numbers_of
from benchmarks.ablations.table import Circumstances, page
from benchmarks.markdown import put
from harness.errors import HarnessError, SpecError, nearest
from harness.paths import default_cache
from harness.records import Json
from leaderboard.published.printed import load_published
from reference_model.checkpoints.checkpoint import load_about
from reference_model.config import ModelConfig, VolumeModelConfig
from reference_model.training.handover import finished_model
from reference_model.training.recipe import Recipe
from reference_model.training.recipe_files import load_recipe

STANDARD_RECIPE = "medplib-tiny"
# Those of `harness`; 130 is a shell's code for an end by SIGINT.
EXIT_BAD_INPUT, EXIT_CTRL_C = 2, 130


def main() -> None:
    """Train and evaluate whatever is missing, and print or write the tables."""
    parser = arguments()
    options = parser.parse_args()
    try:
        run(options)
    except HarnessError as error:
        print(f"ablations: {error}", file=sys.stderr)
        sys.exit(EXIT_BAD_INPUT)
    except KeyboardInterrupt:
        print("ablations: stopped; the same command goes on", file=sys.stderr)
        sys.exit(EXIT_CTRL_C)


def arguments() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/ablations"), help="where everything is kept")
    parser.add_argument("--recipe", default=STANDARD_RECIPE, help="name of a recipe, or its file")
    parser.add_argument("--arms", nargs="+", metavar="NAME", help="settings beside the full model; default: all")
    parser.add_argument("--parents", type=Path, help="folder with stage 0 of the recipe; default: trained per seed")
    parser.add_argument("--seeds", type=int, default=3, help="how many, from the recipe's on")
    parser.add_argument("--share", type=float, default=0.25, help="of the recipe's steps")
    parser.add_argument("--data-root", default="phantom:0", help="patients to evaluate on; never the recipe's")
    parser.add_argument("--limit", type=int, help="questions a task; default: all")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="trainings at once")
    parser.add_argument("--write", type=Path, help="put the tables between the marks of this page")
    parser.add_argument("--plan", action="store_true", help="only say what would be done, and how long it takes")
    parser.add_argument("--timings", type=Path, help="folder with logs of the recipe, to tell a step's time from")
    return parser


def run(options: argparse.Namespace) -> None:
    """Do what the command line asks for.

    Raises:
        HarnessError: An option is wrong, or a training or evaluation fails.
    """
    ablations = ablations_of(options)
    study = study_of(ablations.recipe)
    if options.plan:
        print(plan(ablations, study, options.timings))
        return
    work_off(ablations, processes=options.jobs, tell=lambda text: print(text, file=sys.stderr, flush=True))
    found, compared = (
        numbers_of(ablations.out, ablations.arms, ablations.seeds, measured=measured, full=study.full)
        for measured in (study.numbers, study.compared)
    )
    tables = page(
        study,
        found,
        compared,
        study.printed(load_published()),
        circumstances_of(ablations, lines(ablations.out / SESSIONS), wall_seconds(ablations.out) / 60),
    )
    print(tables)
    if options.write is not None:
        text = options.write.read_text(encoding="utf-8")
        options.write.write_text(put(text, study.mark, tables), encoding="utf-8")


def study_of(recipe: Recipe) -> Study:
    """Return what is compared and measured with a recipe.

    Raises:
        SpecError: It trains a model of another architecture than MedPLIB and M3D-LaMed.
    """
    for architecture, study in ((ModelConfig, medplib.STUDY), (VolumeModelConfig, m3d.STUDY)):
        if isinstance(recipe.config, architecture):
            return study
    found = recipe.config.name
    raise SpecError(f"--recipe {recipe.name}: expected a recipe of MedPLIB or M3D-LaMed, found one of {found}")


def ablations_of(options: argparse.Namespace) -> Ablations:
    """Return the ablations that the options ask for.

    Raises:
        SpecError: There is no such recipe or setting, the recipe trains on the patients of the evaluation, or stage 0
            in the folder of `--parents` is not finished or is of another model.
    """
    recipe = load_recipe(options.recipe)
    if options.data_root in recipe.data_roots:
        raise SpecError(f"--data-root {options.data_root}: expected patients that {recipe.name} does not train on")
    study = study_of(recipe)
    return Ablations(
        recipe=recipe,
        arms=chosen_arms(study, options.arms),
        tasks=study.tasks,
        parents=None if options.parents is None else parents_in(options.parents, recipe),
        # From the recipe's own seed on, so that with more seeds the finished trainings are kept.
        seeds=tuple(range(recipe.seed, recipe.seed + options.seeds)),
        share=options.share,
        data_root=options.data_root,
        limit=options.limit,
        cache=default_cache(),
        out=options.out,
    )


def chosen_arms(study: Study, names: Sequence[str] | None) -> tuple[Arm, ...]:
    """Return the named settings and the full model, in the order of the study; all without names.

    Raises:
        SpecError: There is no such setting.
    """
    known = [arm.name for arm in study.arms]
    for name in names or ():
        if name not in known:
            raise SpecError(f"--arms: expected some of {', '.join(known)}, got '{name}'{nearest(name, known)}")
    return tuple(arm for arm in study.arms if names is None or arm == study.full or arm.name in names)


def parents_in(folder: Path, recipe: Recipe) -> Path:
    """Return the finished model of stage 0 in a folder of `reference-model train`.

    Raises:
        SpecError: The stage is not finished, or its model has other numbers than the recipe's.
    """
    model = finished_model(folder, PARENTS)
    if load_about(model).config != recipe.config:
        raise SpecError(f"--parents {folder}: expected stage 0 of {recipe.name}, found a model with other numbers")
    return model


def circumstances_of(ablations: Ablations, sessions: Sequence[Mapping[str, Json]], minutes: float) -> Circumstances:
    """Return when, where and by which command the numbers in a folder were made."""
    # Of several sessions the last one counts: it finished the work.
    last = sessions[-1]
    cores, torch = last["hardware"]["cpus"], last["packages"]["torch"]
    # Written from what was done and not from sys.argv: --out and --write say nothing about the numbers.
    words = ["python -m benchmarks.ablations"]
    words += [] if ablations.recipe.name == STANDARD_RECIPE else [f"--recipe {ablations.recipe.name}"]
    words += [f"--seeds {len(ablations.seeds)}", f"--share {ablations.share:g}"]
    if len(ablations.arms) < len(study_of(ablations.recipe).arms):
        words.append("--arms " + " ".join(arm.name for arm in ablations.arms))
    words += [] if ablations.parents is None else ["--parents RECIPE_RUN"]
    words += [f"--jobs {last['jobs']}", f"--data-root {ablations.data_root}"]
    words += [] if ablations.limit is None else [f"--limit {ablations.limit}"]
    return Circumstances(
        date=last["started"].partition("T")[0],
        command=" ".join(words),
        machine=f"{cores} cores, Python {last['python']}, torch {torch}",
        minutes=minutes,
        recipe=ablations.recipe.name,
        seeds=ablations.seeds,
    )


if __name__ == "__main__":
    main()
