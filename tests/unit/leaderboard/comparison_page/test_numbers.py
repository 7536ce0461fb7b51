"""What the page computes in JavaScript, run by node on the files of a board, equals what `harness compare` computes."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom, norm

from harness.comparison.every_pair import every_pair
from harness.comparison.paired import PairedDifference, paired_difference, paired_sums
from harness.comparison.pairing import PairedScores, pair_scores
from harness.comparison.permutation import holm
from harness.comparison.scored_run import read_columns
from leaderboard.comparison_page.data import ComparedData, score_files
from leaderboard.entry_file import read_entries
from tests.unit.leaderboard.board_samples import block, number, results
from tests.unit.leaderboard.sample_scores import write_scores

NUMBERS = Path(__file__).parents[4] / "leaderboard" / "comparison_page" / "templates" / "numbers.js"
# Reads {scripts, ask: [[files of a, files of b, options]], holm, tails, binomials} and writes the answers.
RUN = """
const vm = require("node:vm"), fs = require("node:fs");
const given = JSON.parse(fs.readFileSync(0, "utf8")), files = new Map();
const context = vm.createContext({atob, medgroundCompare: (name, content) => files.set(name, content)});
vm.runInContext(given.numbers + "; this.ComparedScores = ComparedScores", context);
given.scripts.forEach((script) => vm.runInContext(script, context));
const {pair, difference, holm, moved, twoSided, binomial} = context.ComparedScores;
console.log(JSON.stringify({
  found: given.ask.map(([a, b, options]) => {
    const paired = pair(...[...a, ...b].map((name) => files.get(name)));
    return {...difference(paired, options), onlyA: paired.onlyA, onlyB: paired.onlyB,
            up: moved(paired, 1).map((row) => paired.ids[row]), failedA: [...paired.failedA].filter(Boolean).length};
  }),
  holm: holm(given.holm), tails: given.tails.map(twoSided), binomials: given.binomials.map((it) => binomial(...it)),
}));
"""


@pytest.fixture(scope="session")
def in_node() -> Callable[..., Any]:
    """Return a function that runs the script in node."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node (Debian package nodejs): the page's arithmetic is compared with Python's")

    def run(scripts: list[str], ask: list[Any], **more: Any) -> Any:
        given = {"numbers": NUMBERS.read_text(), "scripts": scripts, "ask": ask}
        given |= {"holm": [], "tails": [], "binomials": [], **more}
        command = [node, "-e", RUN]
        done = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True, check=True, timeout=120)
        return json.loads(done.stdout)

    return run


def assert_equal(
    found: dict[str, Any], wanted: PairedDifference, paired: PairedScores, closed: tuple[float, str]
) -> None:
    """Compare every field that both have; an interval and a p value only where both are closed forms."""
    alike = ("n", "clusters", "wins", "ties", "losses", "unpaired")
    assert {name: found[name] for name in alike} == {name: getattr(wanted, name) for name in alike}
    for mine, theirs in (("valueA", "value_a"), ("valueB", "value_b"), ("difference", "difference")):
        assert found[mine] == pytest.approx(getattr(wanted, theirs), abs=1e-9), mine
    assert (found["nA"], found["nB"]) == (wanted.n_a, wanted.n_b)
    assert (found["onlyA"], found["onlyB"]) == (paired.only_a, paired.only_b)
    assert (found["error"] is None) == (wanted.standard_error is None) == (found["interval"] is None)
    if wanted.standard_error is not None:
        assert found["error"] == pytest.approx(wanted.standard_error, rel=1e-7)
        half = norm.ppf(0.975) * wanted.standard_error  # the `delta` interval of harness.scoring.intervals
        assert found["interval"] == pytest.approx([found["difference"] - half, found["difference"] + half], abs=1e-7)
    assert (found["p"], found["method"]) == (pytest.approx(closed[0], abs=1e-9), closed[1])
    if wanted.p_method in ("mcnemar", "permutation-exact"):
        assert (found["p"], found["method"]) == (pytest.approx(wanted.p, abs=1e-9), wanted.p_method)


CASES: dict[str, dict[str, Any]] = {
    "answers": {"rows": 60, "per_patient": 1, "binary": True},
    "answers of patients": {"rows": 80, "per_patient": 4, "binary": True},
    "dice": {"rows": 90, "per_patient": 3},
    "few patients": {"rows": 24, "per_patient": 2},
    "too few patients": {"rows": 8, "per_patient": 2},
    "undefined": {"rows": 90, "per_patient": 3, "undefined": True},
    "macro": {"rows": 90, "per_patient": 3, "over": "modality"},
    "macro across strata": {"rows": 90, "per_patient": 3, "over": "side"},
    "macro, few patients": {"rows": 24, "per_patient": 2, "over": "side"},
    "other samples": {"rows": 60, "per_patient": 2, "less": 7},
    "lower is better": {"rows": 40, "per_patient": 1, "better": False},
}


def test_numbers_equal_those_of_harness_compare(tmp_path: Path, in_node: Callable[..., Any]) -> None:
    generator = np.random.default_rng(0)
    paths: dict[str, list[Path]] = {}
    tasks: dict[str, dict[str, Any]] = {}
    for at, case in enumerate(CASES.values()):
        rows = case["rows"]
        better, over = case.get("better", True), case.get("over")
        mean = "macro" if over else "micro"
        whole = number(mean=mean, higher_is_better=better)
        head = {"metric": "dice", "protocol": "standard", "mean": mean, "over": over}
        strata = [
            {"modality": "ct" if row < rows // 2 else "mr", "side": "left" if row % 2 else "right"}
            for row in range(rows)
        ]
        tasks[f"t{at}"] = block(whole, number(stratum={"modality": "ct"}, higher_is_better=better), headline=head)
        patients = [f"p{row // case['per_patient']:03d}" for row in range(rows)]
        base = generator.random(rows)
        for name, shift in (("a", 0.0), ("b", 0.05)):
            scores = np.clip(base + shift + generator.normal(0, 0.2, rows), 0, 1)
            values: list[float | None] = (
                (scores > 0.5).astype(float).tolist() if case.get("binary") else scores.tolist()
            )
            if case.get("undefined"):
                values = [None if generator.random() < 0.2 else value for value in values]
            kept = slice(
                case.get("less", 0) if name == "b" else 0, rows - (3 if case.get("less") and name == "a" else 0)
            )
            paths.setdefault(f"t{at}", []).append(
                write_scores(tmp_path / "runs" / name, values[kept], task=f"t{at}", clusters=patients[kept],
                             ids=[f"set/{row:03d}" for row in range(rows)][kept], strata=strata[kept], failed=(2,))
            )  # fmt: skip
    for name in ("a", "b"):
        (tmp_path / "runs" / name / "results.json").write_text(json.dumps(results(name, tasks=tasks)))
    data = ComparedData()
    scripts = [text for _, text in score_files(read_entries(tmp_path / "runs"), data)]
    (_, of_a), (_, of_b) = data.models
    abouts = list(data.headlines)
    ask, wanted = [], []
    for (place, *a), (_, *b) in zip(of_a, of_b, strict=True):
        about = abouts[place]
        paired = pair_scores(*(read_columns(path, 1, None) for path in paths[about.place]))
        for stratum, mean in ((None, "macro" if about.over else "micro"), (("modality", "ct"), "micro")):
            options = {"higherIsBetter": about.higher_is_better, "over": about.over if mean == "macro" else None}
            ask.append([a, b, {**options, "stratum": stratum}])
            number_of: dict[str, Any] = {"name": 0, "mean": mean, "over": about.over}
            found = paired_difference(
                paired,
                None,
                task=about.place,
                higher_is_better=about.higher_is_better,
                stratum=stratum,
                draws=9,
                **number_of,
            )
            sums = paired_sums(paired, None, paired.rows_of(stratum), **number_of)
            single = mean == "micro" and len(paired.rows_of(stratum)) == len(sums.a)
            both = every_pair(
                np.stack([sums.a, sums.b]), sums.estimator, sign=1.0 if about.higher_is_better else -1.0, single=single
            )
            wanted.append((found, paired, (float(both.p[0]), str(both.method[0]))))
    answer = in_node(scripts, ask)
    methods = set()
    for mine, theirs in zip(answer["found"], wanted, strict=True):
        assert_equal(mine, *theirs)
        methods.add(mine["method"])
    assert methods == {"mcnemar", "permutation-exact", "sign-flip-normal"}
    first, second = (read_columns(path, 1, None).values[:, 0] for path in paths["t2"])
    more = np.flatnonzero(second > first)
    order = sorted(more, key=lambda row: first[row] - second[row])
    assert answer["found"][4]["up"] == [f"set/{row:03d}" for row in order]
    assert answer["found"][4]["failedA"] == 1


def test_holm_and_the_tails_equal_scipys(in_node: Callable[..., Any]) -> None:
    p = [0.04, None, 0.01, 0.01, 0.3, 0.0001, 1.0]
    tails = [0.0, 1e-9, 0.3, 1.96, 4.2, 4.3, 9.0, -2.5, 30.0]
    tosses = [(0, 1), (3, 12), (6, 12), (40, 100), (700, 1500), (0, 2000), (5, 5)]
    answer = in_node([], [], holm=p, tails=tails, binomials=tosses)
    assert answer["holm"] == pytest.approx(holm(p))
    assert answer["tails"] == pytest.approx([2 * norm.sf(abs(z)) for z in tails], rel=1e-9)
    assert answer["binomials"] == pytest.approx([binom.cdf(count, of, 0.5) for count, of in tosses], rel=1e-9)
