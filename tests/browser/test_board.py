"""The board in a real browser: it fits a phone, asks nobody, and works from the file system."""

import html
import json
import re
import subprocess
from pathlib import Path

import pytest

from leaderboard.build import build

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--allow-file-access-from-files",
    "--virtual-time-budget=5000",
)
PAGES = (
    "index.html",
    "phantom.html",
    "checks.html",
    "unplaced.html",
    "methods.html",
    "data.html",
    "families/huatuogpt-vision.html",
    "models/index.html",
    "models/medplib.html",
    "tasks/index.html",
    "tasks/vqa_rad_yes_no.html",
    "tasks/m3d_open_vqa.html",
)
MEASURE = """
<script>
const table = document.querySelector("td.n");
const link = document.querySelector("a.skip");
link.focus();
document.title = JSON.stringify({
  width: window.innerWidth,
  content: document.documentElement.scrollWidth,
  styled: getComputedStyle(document.body).marginTop === "0px",
  figures: table ? getComputedStyle(table).fontVariantNumeric : "tabular-nums",
  skip: link.getBoundingClientRect().left >= 0,
});
</script>
"""

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The board with the published numbers only."""
    out = tmp_path_factory.mktemp("board") / "site"
    build([], out)
    return out


def _dom(chromium: str, page: Path, profile: Path) -> str:
    command = [chromium, *FLAGS, f"--user-data-dir={profile}", "--dump-dom", page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def test_every_page_fits_a_phone(chromium: str, site: Path, tmp_path: Path) -> None:
    names = [f"{index}.html" for index in range(len(PAGES))]
    for page, name in zip(PAGES, names, strict=True):
        text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", (site / page).read_text())
        (tmp_path / name).write_text(text.replace("</body>", f"{MEASURE}</body>"))
    # headless Chromium has a smallest window width, so frames set the phone's
    frames = "".join(f'<iframe src="{name}" style="width:360px;height:800px;border:0"></iframe>' for name in names)
    collect = "[...document.querySelectorAll('iframe')].map(frame => JSON.parse(frame.contentDocument.title))"
    script = f"<script>onload = () => {{ document.title = JSON.stringify({collect}); }}</script>"
    (tmp_path / "phones.html").write_text(frames + script)
    found = re.search(r"<title>(.*)</title>", _dom(chromium, tmp_path / "phones.html", tmp_path / "profile"))
    assert found is not None
    for page, measured in zip(PAGES, json.loads(found[1]), strict=True):
        assert measured["width"] == 360, page
        assert measured["content"] <= 360, page
        assert measured["styled"], page
        assert "tabular-nums" in measured["figures"], page
        assert measured["skip"], page


def test_the_page_is_styled_under_its_own_policy(chromium: str, site: Path, tmp_path: Path) -> None:
    shot = tmp_path / "board.png"
    size = ("--window-size=1440,900", f"--user-data-dir={tmp_path / 'profile'}", f"--screenshot={shot}")
    page = (site / "index.html").as_uri()
    result = subprocess.run([chromium, *FLAGS, *size, page], capture_output=True, text=True, check=True, timeout=120)
    assert "Content Security Policy" not in result.stderr
    from PIL import Image

    with Image.open(shot) as image:
        bar = image.convert("RGB").getpixel((5, 20))
    assert bar != (255, 255, 255), "the head of the page has the tint of our style sheet"


def test_the_board_shows_published_numbers(chromium: str, site: Path, tmp_path: Path) -> None:
    dom = _dom(chromium, site / "tasks" / "mecovqa_g.html", tmp_path / "profile")
    rows = dom.partition('id="numbers-table"')[2].partition("</table>")[0]
    assert re.search(r"DMMI.*?84\.66.*?MedPLIB.*?68\.11", rows, flags=re.DOTALL)


SORTED = """
<script>
const table = document.querySelector("#numbers-table");
const shown = () => [...table.tBodies[0].rows].filter((row) => !row.hidden);
const names = () => shown().map((row) => row.querySelector(".model").textContent);
const lefts = () => [...table.rows[0].cells].map((cell) => Math.round(cell.getBoundingClientRect().left));
const head = table.querySelector("th[data-column]");
const before = { names: names(), lefts: lefts() };
head.querySelector("button").click();
const turned = names();
const order = head.getAttribute("aria-sort");
const search = document.querySelector("[data-search]");
search.value = "lvit";
search.dispatchEvent(new Event("input", { bubbles: true }));
document.title = JSON.stringify({
  before, turned, order, found: names(), lefts: lefts(), count: document.querySelector("[data-count]").textContent,
});
</script>
"""


def test_sorting_and_searching_move_no_column(chromium: str, site: Path, tmp_path: Path) -> None:
    text = (site / "tasks" / "mecovqa_g.html").read_text()
    page = tmp_path / "sorted.html"
    page.write_text(re.sub(r'http-equiv="Content-Security-Policy"', "", text).replace("</body>", f"{SORTED}</body>"))
    title = re.search(r"<title>(.*)</title>", _dom(chromium, page, tmp_path / "profile"))
    assert title is not None
    found = json.loads(html.unescape(title[1]))
    assert found["order"] == "ascending"
    assert found["turned"] == found["before"]["names"][::-1]
    assert found["found"] == ["LViT"]
    assert found["lefts"] == found["before"]["lefts"]
    assert found["count"] == f"{len(found['found'])} of {len(found['turned'])} rows"
