"""The report in a real browser: it fits a phone and shows its headline."""

import re
import subprocess
from pathlib import Path

import pytest

from harness.evaluation.evaluate import evaluate
from harness.evaluation.setup import RunSpec

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
MEASURE = "<script>document.title = document.documentElement.scrollWidth + ' of ' + window.innerWidth</script>"

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a small run."""
    out = tmp_path_factory.mktemp("report") / "run"
    spec = RunSpec(tasks=("demo",), model="baseline:center-box", data_roots=("phantom",), out=out, ray="off", limit=8)
    return evaluate(spec).out / "report.html"


def _dom(chromium: str, page: Path, width: int, profile: Path) -> str:
    size = (f"--window-size={width},900", f"--user-data-dir={profile}")
    command = [chromium, *FLAGS, *size, "--dump-dom", page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def test_the_page_does_not_overflow_a_phone(chromium: str, page: Path, tmp_path: Path) -> None:
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text(encoding="utf-8"))
    assert text != page.read_text(encoding="utf-8"), "the page must carry a Content-Security-Policy"
    framed = tmp_path / "framed.html"  # headless Chromium has a smallest window width, so a frame sets the phone's
    (tmp_path / "measured.html").write_text(text.replace("</body>", f"{MEASURE}</body>"))
    framed.write_text(
        '<iframe id="phone" src="measured.html" style="width:360px;height:800px;border:0"></iframe>'
        "<script>const phone = document.getElementById('phone'); phone.onload = () => {"
        "document.title = phone.contentDocument.title; }</script>"
    )
    command_dom = _dom_with_files(chromium, framed, tmp_path / "profile")
    found = re.search(r"<title>(\d+) of (\d+)</title>", command_dom)
    assert found is not None, command_dom[:500]
    content, window = map(int, found.groups())
    assert window == 360
    assert content <= window


def _dom_with_files(chromium: str, page: Path, profile: Path) -> str:
    extra = ("--allow-file-access-from-files", f"--user-data-dir={profile}", "--virtual-time-budget=5000")
    command = [chromium, *FLAGS, *extra, "--dump-dom", page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def test_the_page_shows_the_headline(chromium: str, page: Path, tmp_path: Path) -> None:
    dom = _dom(chromium, page, 1440, tmp_path / "profile")
    assert "baseline:center-box" in dom
    assert "phantom data" in dom
    assert re.search(r"samed2d_seg_box.*?0\.\d{4}", dom, flags=re.DOTALL)


def test_the_list_of_samples_is_filtered_by_words_and_status(chromium: str, page: Path, tmp_path: Path) -> None:
    text = page.read_text(encoding="utf-8")
    # The page's own policy stays in force for its script; what types into the filter is another page around it.
    whole = re.search(r'<table id="samples-samed2d_seg_box">.*?</table>', text, flags=re.DOTALL)
    assert whole is not None
    rows = re.findall(r"<tr data-status.*?</tr>", whole[0], flags=re.DOTALL)
    wanted = re.sub(r".*--(\w+--case_\d+).*", r"\1", rows[0], flags=re.DOTALL)
    (tmp_path / "page.html").write_text(text)
    (tmp_path / "framed.html").write_text(
        '<iframe id="page" src="page.html"></iframe><script>'
        "const frame = document.getElementById('page'); frame.onload = () => {"
        "const bar = frame.contentDocument.querySelector('[data-filter=samples-samed2d_seg_box]');"
        "const find = bar.querySelector('input'), before = bar.querySelector('output').value;"
        f"find.value = '{wanted.upper()}'; find.dispatchEvent(new Event('input'));"
        "document.title = [bar.hidden, before, bar.querySelector('output').value].join('; '); }</script>"
    )
    dom = _dom_with_files(chromium, tmp_path / "framed.html", tmp_path / "profile")
    found = re.search(r"<title>(.*?)</title>", dom)
    assert found is not None, dom[:500]
    kept = sum(wanted in row for row in rows)
    assert 0 < kept < len(rows)
    assert found[1] == f"false; {len(rows)} of {len(rows)} shown; {kept} of {len(rows)} shown"
