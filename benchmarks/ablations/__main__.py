"""The paper's Tables 3 and 4 in miniature: the tiny recipe with parts left out or changed, on synthetic patients.

Every setting is trained at a quarter of the recipe's steps from several seeds, evaluated by the harness on patients
that no model was trained on, and compared with the full model. Stages that settings share are trained once. After a
kill the same command resumes; nothing that is finished is done again.

    python -m benchmarks.ablations --out DIR [--seeds 3] [--share 0.25] [--jobs 2] [--write docs/ablations.md]
    python -m benchmarks.ablations --plan [--timings DIR]
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.ablations.arms import ARMS
from benchmarks.ablations.plan import plan
from benchmarks.ablations.runs import SESSIONS, Ablations, lines, wall_seconds, work_off
from benchmarks.ablations.statistics import numbers_of
from benchmarks.ablations.table import Circumstances, page, printed_means
from benchmarks.markdown import put
from harness.errors import HarnessError, SpecError
from harness.paths import default_cache
from harness.records import Json
from leaderboard.published.printed import load_published
from reference_model.training.recipe_files import load_recipe

MARK = "ablations"
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
    parser.add_argument("--recipe", default="medplib-tiny", help="name of a recipe, or its file")
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
    if options.plan:
        print(plan(ablations, options.timings))
        return
    work_off(ablations, processes=options.jobs, tell=lambda text: print(text, file=sys.stderr, flush=True))
    found = numbers_of(ablations.out, ablations.arms, ablations.seeds)
    tables = page(
        found,
        printed_means(load_published()),
        circumstances_of(ablations, lines(ablations.out / SESSIONS), wall_seconds(ablations.out) / 60),
    )
    print(tables)
    if options.write is not None:
        text = options.write.read_text(encoding="utf-8")
        options.write.write_text(put(text, MARK, tables), encoding="utf-8")


def ablations_of(options: argparse.Namespace) -> Ablations:
    """Return the ablations that the options ask for.

    Raises:
        SpecError: There is no such recipe, or it trains on the patients of the evaluation.
    """
    recipe = load_recipe(options.recipe)
    if options.data_root in recipe.data_roots:
        raise SpecError(f"--data-root {options.data_root}: expected patients that {recipe.name} does not train on")
    return Ablations(
        recipe=recipe,
        arms=ARMS,
        # From the recipe's own seed on, so that with more seeds the finished trainings are kept.
        seeds=tuple(range(recipe.seed, recipe.seed + options.seeds)),
        share=options.share,
        data_root=options.data_root,
        limit=options.limit,
        cache=default_cache(),
        out=options.out,
    )


def circumstances_of(ablations: Ablations, sessions: Sequence[Mapping[str, Json]], minutes: float) -> Circumstances:
    """Return when, where and by which command the numbers in a folder were made."""
    # Of several sessions the last one counts: it finished the work.
    last = sessions[-1]
    cores, torch = last["hardware"]["cpus"], last["packages"]["torch"]
    # Written from what was done and not from sys.argv: --out and --write say nothing about the numbers.
    words = ["python -m benchmarks.ablations", f"--seeds {len(ablations.seeds)}", f"--share {ablations.share:g}"]
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
