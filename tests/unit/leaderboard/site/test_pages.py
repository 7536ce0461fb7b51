"""The pages: what they say, and that nothing from outside can run or call in them."""

import json
import os
import re
from html.parser import HTMLParser
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from leaderboard.build import build
from leaderboard.site.drawings import ladder, sparkline, strip
from leaderboard.site.places import model_page, slug, task_page
from leaderboard.site.rows import parameters
from leaderboard.site.shell import digest_of
from leaderboard.site.words import (
    FIGURE_SPACE,
    direction,
    interval_text,
    mark,
    metric_words,
    protocol_anchor,
    unit_words,
    value_text,
)
from tests.unit.leaderboard.board_samples import Write, block, number, printed, results

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'"


class Elements(HTMLParser):
    """Collects the elements of a page, each with its attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.fixture
def site(write: Write, tmp_path: Path) -> Any:
    """Build the board over some runs and return a reader of its pages."""

    def call(*runs: dict[str, Any]) -> Any:
        folder = tmp_path / "runs"
        folder.mkdir(exist_ok=True)
        for index, run in enumerate(runs):
            write(run, f"run{index}")
        build([folder], tmp_path / "site")
        return lambda page: (tmp_path / "site" / page).read_text()

    return call


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a board with hostile words, phantoms, strata and the published numbers."""
    runs, out = tmp_path_factory.mktemp("runs"), tmp_path_factory.mktemp("board") / "site"
    row = number(metric=EVIL, name=EVIL, protocol=EVIL, stratum={EVIL: EVIL}, note=EVIL)
    whole = number(metric=EVIL, name=EVIL, protocol=EVIL, note=EVIL)
    hostile = results(EVIL, tasks={EVIL: block(row, whole, fallbacks=[EVIL])}, unsupported={"vqa_rad": EVIL})
    hostile["model"]["arguments"] = {EVIL: EVIL}
    strata = [number(stratum={"modality": code}, value=value) for code, value in (("ct", 0.3), ("mr", 0.7))]
    tasks = {"samed2d_seg": block(number(), number(protocol="medplib", value=0.6), *strata)}
    for index, run in enumerate((results(tasks=tasks), hostile, results(data="phantom"), results("-", limited=True))):
        (runs / str(index)).mkdir()
        (runs / str(index) / "results.json").write_text(json.dumps(run))
    build([runs], out, private=True)
    return out


class TestEveryPage:
    def test_forbids_everything_but_its_own_style_and_scripts(self, board: Path) -> None:
        pages = list(board.rglob("*.html"))
        assert len(pages) > 100
        for path in pages:
            page = path.read_text()
            policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
            assert policy is not None
            (style,) = re.findall(r"<style>(.*?)</style>", page, flags=re.DOTALL)
            scripts = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
            allowed = f"; script-src {' '.join(digest_of(source) for source in scripts)}" if scripts else ""
            assert policy[1] == (
                f"default-src 'none'; style-src {digest_of(style)}{allowed}; base-uri 'none'; form-action 'none'"
            ), path.name
            assert page.count("<script") == len(scripts)

    def test_has_no_inline_style_or_handler_and_requests_nothing(self, board: Path) -> None:
        for path in board.rglob("*.html"):
            parser = Elements()
            parser.feed(path.read_text())
            for tag, attributes in parser.found:
                assert tag not in ("img", "iframe", "link", "object", "embed", "base", "form"), path.name
                assert not [name for name in attributes if name in ("style", "src") or name.startswith("on")], path.name
                # An address elsewhere is a link that tells the other side nothing.
                if (attributes.get("href") or "").startswith("http"):
                    assert attributes["rel"] == "noopener noreferrer nofollow"

    def test_escapes_every_word_of_an_entry(self, board: Path) -> None:
        assert "&lt;script&gt;" in (board / "index.html").read_text()
        assert any("&lt;script&gt;" in path.read_text() for path in (board / "tasks").iterdir())
        assert any("&lt;script&gt;" in path.read_text() for path in (board / "models").iterdir())
        for path in board.rglob("*.html"):
            assert "<script>alert" not in path.read_text()

    def test_links_only_to_pages_and_places_that_exist(self, board: Path) -> None:
        texts = {path: path.read_text() for path in board.rglob("*.html")}
        ids = {path: set(re.findall(r'\sid="([^"]+)"', text)) for path, text in texts.items()}
        for path, text in texts.items():
            for link in set(re.findall(r'href="([^"]+)"', text)):
                if link.startswith("http"):
                    continue
                file, _, anchor = link.partition("#")
                target = Path(os.path.normpath(path.parent / file)) if file else path
                assert target.is_file(), f"{path.name}: {link}"
                assert not anchor or anchor in ids[target], f"{path.name}: {link}"

    def test_ids_occur_once_a_page(self, board: Path) -> None:
        for path in board.rglob("*.html"):
            ids = re.findall(r'\sid="([^"]+)"', path.read_text())
            assert len(ids) == len(set(ids)), path.name

    def test_its_tables_have_captions_and_scopes(self, board: Path) -> None:
        for path in board.rglob("*.html"):
            page = path.read_text()
            assert page.count("<table") == page.count("<caption ")
            assert page.count("<th ") == page.count("<th scope=")
            assert '<a class="skip" href="#content">' in page

    def test_says_with_which_version_it_was_built_and_how_to_cite_it(self, board: Path) -> None:
        for path in board.rglob("*.html"):
            page = path.read_text()
            assert f"Built with MedGround {metadata.version('medground')}." in page
            assert 'methods.html#cite">How to cite</a>' in page

    def test_a_number_has_an_address_of_its_own(self, board: Path) -> None:
        page = (board / "tasks" / "samed2d_seg.html").read_text()
        row = re.search(r'<tr id="([0-9a-f]{8})"', page)
        assert row is not None
        assert re.search(rf'<td class="n" id="{row[1]}-[0-9a-f]{{6}}">50\.0', page)
        assert f"samed2d_seg.html#{row[1]}" in (board / "models" / "mymodel.html").read_text()

    def test_the_ladder_shows_the_same_predictions_under_each_protocol(self, board: Path) -> None:
        ladder = (board / "tasks" / "samed2d_seg.html").read_text().partition('id="ladder"')[2].partition("</table>")[0]
        assert ladder.count("<circle") == 2
        assert re.search(r'<td class="n">50\.0</td><td class="n">60\.0</td>', ladder)

    def test_strata_are_shaded_and_a_model_is_told_its_strongest(self, board: Path) -> None:
        strata = (board / "tasks" / "samed2d_seg.html").read_text().partition('id="strata"')[2]
        assert re.findall(r'data-heat="(\d)"', strata)[:2] == ["0", "5"]
        model = (board / "models" / "mymodel.html").read_text().partition('id="strata"')[2]
        assert re.findall(r'<td class="n">([+-]\d+\.\d)</td>', model) == ["+20.0", "-20.0"]


class TestTheBoard:
    def test_shows_a_run_with_interval_coverage_and_failures(self, site: Any) -> None:
        page = site(results("my-model"))("tasks/samed2d_seg.html")
        row = page.partition("<tbody>")[2].partition("</tbody>")[0]
        for text in ("my-model", "50.0", "40.0–60.0", "100.0 %", "evaluated"):
            assert text in row

    def test_says_why_a_limited_run_and_an_oracle_are_left_out(self, site: Any) -> None:
        oracle = results("cheat") | {"model": {"id": "cheat", "arguments": {}, "oracle": True}}
        page = site(results("part", limited=True), oracle)("index.html")
        left_out = page.partition("Excluded entries")[2]
        assert "run0" in left_out
        assert "run with --limit" in left_out
        assert "an oracle enters no board" in left_out
        assert "cheat" not in page
        assert ">part<" not in page

    def test_the_overview_has_one_number_a_family_and_counts_the_others(self, site: Any) -> None:
        page = site()("index.html")
        row = page.partition('href="models/mimo.html"')[2].partition("</tr>")[0]
        assert re.search(r'66\.5<span class="by">\+9<span class="hidden"> more tasks', row)

    def test_what_a_model_cannot_do_is_an_x_with_the_reason(self, site: Any) -> None:
        refused = results("cannot", tasks={}, unsupported={"samed2d_seg": "gives no masks"})
        read = site(results(), refused)
        for page in ("index.html", "tasks/samed2d_seg.html"):
            assert '<abbr title="gives no masks">x</abbr><span class="hidden"> unsupported: gives no masks' in read(
                page
            )
        assert "gives no masks" in read("models/cannot.html")

    def test_a_task_page_says_what_is_asked_and_what_is_wrong_with_the_data(self, site: Any) -> None:
        tasks = {"vqa_rad": block(number(metric="vqa_accuracy", name="vqa_accuracy"))}
        page = site(results(tasks=tasks))("tasks/vqa_rad.html")
        for text in ("Answer in a word or a short phrase.", "CC0", "may be shown", "missing values are the text NULL"):
            assert text in page

    def test_a_model_page_shows_what_its_run_says(self, write: Write, tmp_path: Path) -> None:
        folder = write(results(), "mine")
        session = {"command": ["harness", "run", "--out", "/home/me/x y"], "started": "2026-01-02T03:04:05Z"}
        (folder / "mine" / "sessions.jsonl").write_text(json.dumps(session) + "\n")
        build([folder], tmp_path / "site")
        page = (tmp_path / "site" / "models" / "mymodel.html").read_text()
        assert "harness run --out &#39;…/x y&#39;" in page
        assert "2026-01-02" in page
        assert "/home/me" not in page

    def test_phantom_numbers_are_on_pages_of_their_own_without_published_ones(self, site: Any) -> None:
        tasks = {"mecovqa_g": block(number(protocol="medplib"))}
        read = site(results("synthetic-only", data="phantom", tasks=tasks))
        own = ("phantom.html", "tasks/mecovqa_g.phantom.html", "models/syntheticonly.phantom.html")
        for page in (*own, "families/medplib.phantom.html", "tasks/phantom.html", "models/phantom.html"):
            assert "as run by" not in read(page)
            assert "published</span>" not in read(page)
        assert all("synthetic-only" in read(page) for page in own)
        real = ("index.html", "tasks/mecovqa_g.html", "models/index.html", "families/medplib.html")
        assert all("synthetic-only" not in read(page) for page in real)

    def test_published_numbers_that_contradict_others_link_to_the_reason(self, site: Any) -> None:
        read = site()
        link = re.search(r'href="../checks.html#(mean-\d+)">row gives 59.94<', read("tasks/omnimedvqa_medplib7.html"))
        assert link is not None
        row = read("checks.html").partition(f'id="{link[1]}"')[2].partition("</tr>")[0]
        assert "MedPLIB" in row
        assert "60.60" in row

    def test_cells_without_a_place_are_listed_with_their_reason(self, site: Any) -> None:
        page = site()("unplaced.html")
        assert "Of 1,016 printed numbers, 71 are on no table" in page
        assert "A difference of two accuracies that the paper does not print." in page


class TestWords:
    def test_values_of_a_column_align_at_the_point(self) -> None:
        assert value_text(printed("m", 0.5, digits=1), 2) == f"50.0{FIGURE_SPACE}"
        assert value_text(printed("m", 0.5, digits=0), 1) == f"50{FIGURE_SPACE}{FIGURE_SPACE}"
        assert value_text(printed("m", None), 2) == "–"

    def test_points_are_not_turned_into_percent(self) -> None:
        cell = printed("m", 8.49, unit="points", digits=2, interval=(8.0, 9.0))
        assert (value_text(cell, 2), interval_text(cell)) == ("8.49", "8.00–9.00")

    def test_a_strip_stays_within_its_frame(self) -> None:
        assert 'x="0.00"' in strip(printed("m", 0.0, interval=(-0.1, 0.2)))
        assert strip(printed("m", 8.0, unit="points")) == ""
        assert strip(None) == ""

    def test_footnotes_count_on_after_z(self) -> None:
        assert [mark(index) for index in (0, 25, 26, 27)] == ["a", "z", "aa", "ab"]

    def test_bars_by_stratum_leave_gaps_and_need_two_values(self) -> None:
        assert sparkline([printed("m", 0.5)]) == ""
        drawn = sparkline([printed("m", 0.5), printed("m", None), printed("m", 1.0)])
        assert 'd="M0 14v-7h4v14zM10 14v-14h4v14z"' in drawn

    def test_equal_values_of_a_ladder_are_above_each_other(self) -> None:
        drawn = ladder([printed("m", 0.5), printed("m", 0.5), printed("m", 8.0, unit="points")])
        assert re.findall(r'cx="(\d+)" cy="(\d+)"', drawn) == [("53", "13"), ("53", "8")]
        assert ladder([]) == ""

    def test_metrics_have_words(self) -> None:
        pairs = (
            ("dice", "dice"),
            ("token_prf", "recall"),
            ("bleu", "bleu4"),
            ("my_own", "my_own"),
            ("rouge", "rougeL"),
        )
        words = ["Dice", "Token overlap, recall", "BLEU-4", "my own", "ROUGE-L"]
        assert [metric_words(*pair) for pair in pairs] == words

    def test_lower_is_better_where_the_metric_or_the_entry_says_so(self) -> None:
        assert direction("hd95", "standard", True) == direction("own", "own", False) == "lower is better"
        assert direction("dice", "standard", True) == ""

    def test_a_protocol_of_ones_own_leads_to_the_words_on_protocols(self) -> None:
        assert protocol_anchor("own", "mine") == "protocols"
        assert protocol_anchor("dice", "standard") == "metric-dice-standard"

    def test_every_column_says_its_unit(self) -> None:
        found = [
            unit_words(*of) for of in (("share", "dice"), ("points", "hd95"), ("points", "own"), ("points", "judge"))
        ]
        assert found == ["%", "mm", "0 to 100", "0 to 100"]

    @pytest.mark.parametrize(
        ("detail", "size"),
        [("7B", 7e9), ("12B/7B", 12e9), ("74M/24M", 74e6), ("0.35B parameters", 3.5e8), ("size=7B", None)],
    )
    def test_a_reader_filters_by_the_size_that_details_name(self, detail: str, size: float | None) -> None:
        assert parameters(printed("m", details=("fine-tuned", detail)).row) == size

    def test_models_share_a_page_if_their_names_are_the_same_in_letters_and_digits(self) -> None:
        assert model_page("Med-LLM 7B") == model_page("medllm-7b") == "models/medllm7b.html"
        assert model_page("***") != model_page("+++")

    @pytest.mark.parametrize("name", ["../../etc", "A B", "con/../x", "é", "x" * 200, ".", ""])
    def test_a_task_name_never_leaves_the_folder_of_pages(self, name: str) -> None:
        assert re.fullmatch(r"tasks/[a-z0-9_.-]+\.html", task_page(name, False))
        assert ".." not in task_page(name, False).replace(".html", "")

    def test_names_that_look_alike_have_pages_of_their_own(self) -> None:
        assert len({slug(name) for name in ("a b", "a-b", "A b", "a/b")}) == 4
