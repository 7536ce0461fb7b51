"""Every kind of page in a real browser: accessible, valid, whole at every width, quiet, and names are only text."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.devtools import Tab, browser_tab
from tests.browser.hostile_board import Pages, make_pages

WIDTHS = (360, 768, 1440)
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
MODULES = Path(__file__).parent / "node_modules"
# Gives axe's findings as text: rule, first element, what to do.
AXE = f"""
axe.run(document, {{runOnly: {json.dumps(RULES)}}}).then((found) => found.violations.map((it) => [
  `${{it.id}} (${{it.impact}}), ${{it.nodes.length}} times`, it.nodes[0].html.slice(0, 200),
  it.nodes[0].failureSummary.slice(0, 300)].join("; ")))
"""
MEASURES = (Path(__file__).parent / "measures.js").read_text(encoding="utf-8")

# The first test builds everything, which takes minutes on a busy machine.
pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Pages:
    """The board, the report and the comparison."""
    return make_pages(tmp_path_factory.mktemp("hostile"))


@pytest.fixture(scope="module")
def kinds(pages: Pages) -> dict[str, Path]:
    """One page of every kind."""
    board = pages.board
    names = ("index", "phantom", "tasks/index", "models/index", "compare", "methods", "data", "checks", "unplaced")
    found = {name: board / f"{name}.html" for name in names}
    found |= {
        "published task": board / "tasks" / "mecovqa_g.html",
        "task": board / "tasks" / "mecovqa_g.phantom.html",
        "task with hostile answers": board / "tasks" / "vqa_rad.phantom.html",
        "model": next(board.glob("models/centre*.html")),
        "samples": board / "samples" / "answers" / "vqa_rad" / "index.html",
        "samples of images": board / "samples" / "otsu" / "mecovqa_g" / "index.html",
        "samples of volumes": board / "samples" / "otsu" / "m3d_semantic_segmentation" / "index.html",
        "family": next(path for path in sorted(board.glob("families/*.html"))),
        "report": pages.report,
        "comparison of runs": pages.compared,
    }
    missing = [name for name, path in found.items() if not path.is_file()]
    assert not missing, missing
    return found


@pytest.fixture(scope="module")
def tab(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    """A tab of one browser for all tests."""
    with browser_tab(chromium, tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def modules() -> Path:
    """The folder of the tools that `make setup` installs with npm."""
    if not (MODULES / "axe-core").is_dir():
        pytest.skip("needs the tools of tests/browser/package.json (`make setup` installs them where npm is)")
    return MODULES


def test_axe_finds_nothing(tab: Tab, kinds: dict[str, Path], modules: Path) -> None:
    axe = (modules / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
    found: dict[str, list[str]] = {}
    for name, path in kinds.items():
        tab.resize(1440, "light")
        _open(tab, name, path)
        tab.value(f"{axe}; undefined")
        for width, scheme in ((1440, "light"), (1440, "dark"), (360, "light")):
            tab.resize(width, scheme)
            if faults := tab.value(AXE):
                found[f"{name}, {width} px, {scheme}"] = faults
    assert found == {}


def test_pages_are_whole_at_every_width_light_and_dark(tab: Tab, kinds: dict[str, Path]) -> None:
    found, papers = {}, set()
    for name, path in kinds.items():
        tab.resize(1440, "light")
        _open(tab, name, path)
        for width in WIDTHS:
            for scheme in ("light", "dark"):
                tab.resize(width, scheme)
                papers.add((scheme, tab.value("getComputedStyle(document.body).backgroundColor")))
                if faults := tab.value(f"{MEASURES}; layoutFaults()"):
                    found[f"{name}, {width} px, {scheme}"] = faults
    assert found == {}
    light, dark = ({paper for of, paper in papers if of == scheme} for scheme in ("light", "dark"))
    assert not light & dark


def test_sorting_shifts_no_layout(tab: Tab, kinds: dict[str, Path]) -> None:
    sorted_pages = 0
    for name, path in kinds.items():
        for width in (360, 1440):
            tab.resize(width, "light")
            _open(tab, name, path)
            answer = tab.value(f"{MEASURES}; sortingFaults()")
            assert answer["faults"] == [], (name, width)
            sorted_pages += answer["buttons"] > 0
    assert sorted_pages > 2


def test_no_page_asks_the_network_or_breaks_its_policy(tab: Tab, kinds: dict[str, Path]) -> None:
    tab.requested.clear()
    tab.messages.clear()
    for name, path in kinds.items():
        _open(tab, name, path)
        policy = tab.value("document.querySelector('meta[http-equiv=Content-Security-Policy]').content")
        assert policy.startswith("default-src 'none'"), name
        assert "unsafe-eval" not in policy, name
        assert "script-src 'unsafe-inline'" not in policy, name
    assert tab.messages == []
    assert {address.partition(":")[0] for address in tab.requested} <= {"file", "data", "about", "blob"}


def test_texts_from_outside_are_text(tab: Tab, kinds: dict[str, Path]) -> None:
    for name, path in kinds.items():
        _open(tab, name, path)
        assert tab.value("document.title") != "taken", name
        assert tab.value("document.querySelector('img[onerror], b b') === null"), name
    _open(tab, "samples", kinds["samples"])
    words = tab.value("document.body.textContent")
    assert "=cmd|' /C calc'!A0 </script><script>document.title" in words
    _open(tab, "model", kinds["model"])
    assert "=cmd|' /C calc'!A0 </script>" in tab.value("document.querySelector('h1').textContent")


def test_the_comparison_follows_its_address_and_the_reader(tab: Tab, pages: Pages) -> None:
    tab.resize(1440, "light")
    tab.open(pages.board / "compare.html", "a=otsu&b=center-box")
    state = tab.wait_for("document.querySelector('#compared tbody') && document.getElementById('state').textContent")
    assert state.startswith("2 tasks in common")
    first = "document.querySelector('#compared tbody tr').innerText"
    before = tab.value(first)
    tab.value("document.getElementById('swap').click()")
    after = tab.wait_for(f"location.hash === '#a=center-box&b=otsu' && {first} !== {json.dumps(before)} && {first}")
    assert after.split()[-1] == before.split()[-1], "the same patients"
    tab.value("document.querySelector('#compared details').open = true")
    moved = tab.wait_for("document.querySelector('#compared .moved')?.innerText")
    assert "A is better" in moved


def _open(tab: Tab, name: str, path: Path) -> None:
    """Open a page; the comparison is whole when its scores are read."""
    tab.open(path)
    if name == "compare":
        tab.wait_for("document.querySelector('#compared tbody') !== null")


def test_the_markup_is_valid(kinds: dict[str, Path], modules: Path) -> None:
    node = shutil.which("node")
    assert node is not None, "the tools were installed with npm"
    command = [node, str(modules / "html-validate" / "bin" / "html-validate.mjs"), "--formatter", "json"]
    config = ["--preset", "standard"]
    done = subprocess.run(
        [*command, *config, *map(str, kinds.values())], capture_output=True, text=True, timeout=300, check=False
    )
    names = {str(path): name for name, path in kinds.items()}
    found = {
        names[report["filePath"]]: [f"{it['line']}: {it['message']} ({it['ruleId']})" for it in report["messages"][:4]]
        for report in json.loads(done.stdout)
    }
    assert found == {}, found
