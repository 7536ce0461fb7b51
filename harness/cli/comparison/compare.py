"""`harness compare`: what changed between runs on the same samples, and whether it is more than chance."""

from pathlib import Path

import click

from harness.cli.options import (
    ALL,
    AS_JSON,
    DATA_ROOT,
    QUIET,
    TASK_PATH,
    errors_as_exit_codes,
    progress,
    say,
    terminal_width,
    write_json,
)


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN_A RUN_B [RUN_C ...]")
@click.option(
    "--common-samples",
    is_flag=True,
    help="Compare the samples that both have although data digest or task version differ.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("compare.html"),
    show_default=True,
    help="The page to write.",
)
@click.option("--changed", type=click.Path(path_type=Path), help="Write every sample whose value changed as CSV.")
@DATA_ROOT
@TASK_PATH
@click.option("--with-images", is_flag=True, help="Show images whatever the terms of the data; for internal use only.")
@ALL
@QUIET
@AS_JSON
@click.pass_obj
def compare(
    debug: bool,
    runs: tuple[Path, ...],
    common_samples: bool,
    out: Path,
    changed: Path | None,
    data_roots: tuple[str, ...],
    task_paths: tuple[Path, ...],
    with_images: bool,
    every_number: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Compare runs with the first one, sample by sample.

    The difference of every headline and of its strata has a 95 % interval, a p value, and one adjusted for the number
    of tests. Exit code 0 whatever is found; `harness gate` is the command for CI.
    """
    from harness.comparison.compare import CHANGED_COLUMNS, changed_samples, compare_runs
    from harness.comparison.compared_text import text, to_json
    from harness.comparison.page import write_page
    from harness.evaluation.outputs import find_report_images
    from harness.evaluation.setup import Observer
    from harness.paths import default_cache

    with errors_as_exit_codes(debug), progress(quiet=quiet) as bar:
        found = compare_runs(runs, common_samples=common_samples, every_number=every_number)
        images = find_report_images(
            runs[0],
            data_roots,
            with_images=with_images,
            task_paths=task_paths,
            cache=default_cache(),
            watch=Observer(notice=bar.notice),
        )
        write_page(out, found, images, task_paths)
        if changed is not None:
            import pandas as pd

            from harness.exports.sample_scores import as_csv
            from harness.records.atomic_files import write_atomically

            rows = list(changed_samples(runs, common_samples=common_samples))
            write_atomically(changed, as_csv(pd.DataFrame(rows, columns=CHANGED_COLUMNS)))
    if as_json:
        write_json(to_json(found))
    else:
        click.echo(text(found, every_stratum=every_number, width=terminal_width()))
    say(f"page     {out}" + ("" if changed is None else f"\nchanged  {changed}"))
