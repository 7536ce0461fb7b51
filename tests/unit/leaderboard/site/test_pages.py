"""The pages: what they say, and that nothing from outside can run or call in them."""

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

import pytest

from leaderboard.build import build
from leaderboard.site.pages import FIGURE_SPACE, interval_text, mark, strip, value_text
from leaderboard.site.places import slug, task_page
from tests.unit.leaderboard.board_samples import Write, block, number, printed, results

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'"


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


def policy(page: str) -> str:
    found = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert found is not None
    return found[1]


class TestEveryPage:
    def test_forbids_everything_but_its_own_style(self, site: Any, tmp_path: Path) -> None:
        site(results())
        pages = list((tmp_path / "site").rglob("*.html"))
        assert len(pages) > 30
        for path in pages:
            page = path.read_text()
            style = page.partition("<style>")[2].partition("</style>")[0]
            digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
            assert policy(page) == (
                f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
            )

    def test_has_no_script_no_inline_style_and_no_address_elsewhere(self, site: Any, tmp_path: Path) -> None:
        site(results())
        for path in (tmp_path / "site").rglob("*.html"):
            page = path.read_text()
            assert not re.search(r"<script|<img|<iframe|<link|\sstyle=|\son[a-z]+=|https?:|//", page), path.name

    def test_links_only_to_pages_and_places_that_exist(self, site: Any, tmp_path: Path) -> None:
        site(results(), results(data="phantom"))
        for path in (tmp_path / "site").rglob("*.html"):
            for link in re.findall(r'href="([^"]+)"', path.read_text()):
                file, _, anchor = link.partition("#")
                target = (path.parent / file) if file else path
                assert target.is_file(), f"{path.name}: {link}"
                assert not anchor or f'id="{anchor}"' in target.read_text(), f"{path.name}: {link}"

    def test_ids_occur_once_a_page(self, site: Any, tmp_path: Path) -> None:
        site(results(), results(data="phantom"))
        for path in (tmp_path / "site").rglob("*.html"):
            ids = re.findall(r'\sid="([^"]+)"', path.read_text())
            assert len(ids) == len(set(ids)), path.name

    def test_its_tables_have_captions_and_scopes(self, site: Any, tmp_path: Path) -> None:
        site(results())
        for path in (tmp_path / "site").rglob("*.html"):
            page = path.read_text()
            assert page.count("<table>") == page.count("<caption ")
            assert page.count("<th ") == page.count("<th scope=")
            assert '<a class="skip" href="#content">' in page


class TestTheBoard:
    def test_shows_a_run_with_interval_coverage_and_failures(self, site: Any) -> None:
        page = site(results("my-model"))("index.html")
        section = page.partition('id="samed2d_seg"')[2]
        for text in ("my-model", "50.0", "40.0–60.0", "100.0 %", "evaluated"):
            assert text in section

    def test_escapes_every_word_of_an_entry(self, site: Any, tmp_path: Path) -> None:
        row = number(metric=EVIL, name=EVIL, protocol=EVIL, stratum={EVIL: EVIL}, note=EVIL)
        whole = number(metric=EVIL, name=EVIL, protocol=EVIL, note=EVIL)
        run = results(EVIL, tasks={EVIL: block(row, whole, fallbacks=[EVIL])}, unsupported={"vqa_rad": EVIL})
        run["model"]["arguments"] = {EVIL: EVIL}
        site(run)
        for path in (tmp_path / "site").rglob("*.html"):
            page = path.read_text()
            assert "<script" not in page
            assert "<img" not in page
        assert "&lt;script&gt;" in (tmp_path / "site" / "index.html").read_text()

    def test_says_why_a_limited_run_and_an_oracle_are_left_out(self, site: Any) -> None:
        oracle = results("cheat") | {"model": {"id": "cheat", "arguments": {}, "oracle": True}}
        page = site(results("part", limited=True), oracle)("index.html")
        left_out = page.partition("Excluded entries")[2]
        assert "run0" in left_out
        assert "run with --limit" in left_out
        assert "an oracle enters no board" in left_out
        assert "cheat" not in page
        assert ">part<" not in page

    def test_says_once_that_there_are_no_ranks_yet(self, site: Any) -> None:
        page = site()("index.html")
        assert "they need the paired test on the same samples" in page

    def test_phantom_numbers_stand_on_their_own_page_without_published_ones(self, site: Any) -> None:
        tasks = {"mecovqa_g": block(number(protocol="medplib"))}
        read = site(results("drawn-only", data="phantom", tasks=tasks))
        assert "drawn-only" in read("phantom.html")
        assert "drawn-only" in read("tasks/mecovqa_g.phantom.html")
        assert "drawn-only" not in read("index.html") + read("tasks/mecovqa_g.html")
        for page in (read("phantom.html"), read("tasks/mecovqa_g.phantom.html")):
            assert "as run by" not in page
            assert "published</span>" not in page

    def test_published_numbers_that_contradict_others_link_to_the_reason(self, site: Any) -> None:
        read = site()
        link = re.search(r'href="checks.html#(mean-\d+)">row gives 59.94<', read("index.html"))
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

    @pytest.mark.parametrize("name", ["../../etc", "A B", "con/../x", "é", "x" * 200, ".", ""])
    def test_a_task_name_never_leaves_the_folder_of_pages(self, name: str) -> None:
        assert re.fullmatch(r"tasks/[a-z0-9_.-]+\.html", task_page(name, False))
        assert ".." not in task_page(name, False).replace(".html", "")

    def test_names_that_look_alike_have_pages_of_their_own(self) -> None:
        assert len({slug(name) for name in ("a b", "a-b", "A b", "a/b")}) == 4
