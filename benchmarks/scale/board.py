"""How a board grows: many models on many tasks, what it costs to build, and how soon its pages open.

    python -m benchmarks.scale.board --models 200 --tasks 60 --out /tmp/board

makes results of as many models (no model runs), builds the board in a process of its own, and prints processor time,
memory, and the sizes of the pages. With `--browser` the largest page of each kind is opened in Chromium, too. What must
hold for 200 models on 60 tasks: 60 s of processor time, 1 GiB of memory, an overview of at most 1.5 MB, and every page
open within 2 s.
"""

import argparse
import json
import random
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from harness.exports.bundles.layout import shipped_names
from harness.exports.task_card import TaskCard, task_cards

SEED = 0
STRATA = 9  # of each of two metrics: with the wholes, 22 numbers a task, as a usual run has
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# The page says itself when it was laid out and its scripts had run.
CLOCK = """<script>addEventListener("load", () => {
  requestAnimationFrame(() => { document.title = `opened ${performance.now()}`; });
})</script>"""


def results(model: int, cards: list[TaskCard], rng: random.Random) -> dict[str, Any]:
    """Return the results.json of one made-up model: 22 numbers for each task, and one task that it cannot do."""
    skill = rng.uniform(0.2, 0.9)
    tasks = {}
    refused = rng.randrange(len(cards))
    for index, card in enumerate(cards):
        if index == refused:
            continue
        assert card.headline is not None, "tasks have headlines"
        metric, protocol, _ = card.headline
        numbers = [
            _number(rng, skill, metric=metric, name=metric, protocol=name, stratum=stratum)
            for name in (protocol, "other-rules")
            for stratum in (None, *({"modality": f"kind_{place}"} for place in range(STRATA)))
        ]
        numbers += [_number(rng, skill, metric="second", name=name, protocol=protocol) for name in ("f1", "recall")]
        tasks[card.name] = {
            "version": 1,
            "data_digest": "cd" * 32,
            "fallbacks": [],
            "coverage": 1.0,
            "answered": 1000,
            "headline": {"metric": metric, "protocol": protocol, "mean": "micro", "over": None},
            "metrics": numbers,
        }
    return {
        "schema": 1,
        "model": {"id": f"lab{model % 17}:Model{model}", "name": f"Model {model}", "params": 10**9 * (1 + model % 70)},
        "data": "real",
        "limited": False,
        "tasks": tasks,
        "groups": {},
        "unsupported": {cards[refused].name: "the task needs a model that takes volume (108 of 108 samples)"},
    }


def _number(rng: random.Random, skill: float, **of: Any) -> dict[str, Any]:
    value = min(1.0, max(0.0, rng.gauss(skill, 0.1)))
    return {
        "protocol_version": 1,
        "higher_is_better": True,
        "stratum": None,
        "mean": "micro",
        "value": value,
        "ci": [max(0.0, value - 0.03), min(1.0, value + 0.03)],
        "ci_method": "bca",
        "n": 1000,
        "clusters": 400,
        "undefined": 0,
        "failed": 0,
        "unparsed": 3,
        **of,
    }


def write_entries(folder: Path, models: int, tasks: int) -> None:
    """Write results of made-up models on tasks that the harness ships; beyond their number, on tasks of one's own."""
    rng = random.Random(SEED)
    shipped = [card for name, card in sorted(task_cards().items()) if name in shipped_names() and not card.members]
    more = [TaskCard(name=f"own_{index}", title="", headline=("dice", "standard", "micro")) for index in range(tasks)]
    cards = [*shipped, *more][:tasks]
    for model in range(models):
        (folder / f"model-{model:04d}").mkdir(parents=True)
        path = folder / f"model-{model:04d}" / "results.json"
        path.write_text(json.dumps(results(model, cards, rng)), encoding="utf-8")


def opened_after(page: Path, work: Path) -> float:
    """Return the seconds from navigation until a page was laid out, in a fresh browser."""
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    assert browser is not None, "needs Chromium"
    copy = page.with_name(f"timed-{page.name}")
    text = page.read_text(encoding="utf-8")
    # The policy would refuse the clock.
    copy.write_text(text.replace('http-equiv="Content-Security-Policy"', "").replace("</body>", f"{CLOCK}</body>"))
    try:
        flags = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--timeout=60000", "--dump-dom")
        command = [browser, *flags, f"--user-data-dir={work / 'profile'}", copy.as_uri()]
        dom = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout
        return float(dom.partition("<title>opened ")[2].partition("<")[0]) / 1000
    finally:
        copy.unlink()


def main() -> None:
    """Make entries, build the board and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=200)
    parser.add_argument("--tasks", type=int, default=60)
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    parser.add_argument("--browser", action="store_true", help="open the largest page of each kind in Chromium")
    given = parser.parse_args()
    write_entries(given.out / "entries", given.models, given.tasks)
    site = given.out / "site"
    command = ["build", "--private-tasks", "--entries", str(given.out / "entries"), "--out", str(site)]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run([sys.executable, "-m", "leaderboard.cli", *command], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"processor time {seconds:.1f} s, {time.monotonic() - start:.1f} s passed")
    print(f"memory {after.ru_maxrss / 2**20:.2f} GiB")
    files = [path for path in site.rglob("*") if path.is_file()]
    print(f"{len(files)} files, {sum(path.stat().st_size for path in files) / 1e6:.1f} MB")
    for name in ("index.html", "data.json", "data.csv"):
        print(f"{name} {(site / name).stat().st_size / 1e6:.2f} MB")
    pages = {"overview": site / "index.html"}
    for folder in ("families", "tasks", "models"):
        pages[folder] = max((site / folder).glob("*.html"), key=lambda path: path.stat().st_size)
    for kind, path in pages.items():
        opened = f", opened after {opened_after(path, given.out):.2f} s" if given.browser else ""
        print(f"largest of {kind}: {path.relative_to(site)} {path.stat().st_size / 1e6:.2f} MB{opened}")


if __name__ == "__main__":
    main()
