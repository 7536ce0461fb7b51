"""The page of a comparison in a real browser: it never scrolls sideways, nothing overlaps, nothing is cut."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from harness.comparison.compare import compare_runs
from harness.comparison.page import write_page
from harness.evaluation.evaluate import evaluate
from harness.evaluation.setup import RunSpec
from harness.reports.examples import ReportImages
from tests.browser.test_report import FLAGS

WIDTHS = (360, 768, 1440)
# Opens everything that can be opened, then names what reaches out of the window, what is wider than its place, and
# neighbours that share some of it.
MEASURE = """
const name = (it) => it.tagName + '.' + it.getAttribute('class');
const measure = (frame) => {
  const page = frame.contentDocument, width = page.documentElement.clientWidth, faults = [];
  page.querySelectorAll('details').forEach((it) => { it.open = true; });
  if (page.documentElement.scrollWidth > width) faults.push('page scrolls to ' + page.documentElement.scrollWidth);
  for (const it of page.querySelectorAll('main *')) {
    const box = it.getBoundingClientRect();
    if (!box.width || it.closest('svg') !== null && it.tagName !== 'svg') continue;
    if (box.left < -0.5 || box.right > width + 0.5) faults.push('outside: ' + name(it));
    if (it.clientWidth && it.scrollWidth > it.clientWidth + 1) faults.push('cut: ' + name(it));
  }
  for (const parent of page.querySelectorAll('main section, main li, main tr, main ul, main .both')) {
    const boxes = [...parent.children].map((it) => [it, it.getBoundingClientRect()]).filter(([, box]) => box.width);
    boxes.forEach(([one, a], at) => boxes.slice(at + 1).forEach(([other, b]) => {
      const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (across > 1 && down > 1) faults.push('overlap: ' + name(one) + ' and ' + name(other));
    }));
  }
  return {width, paper: frame.contentWindow.getComputedStyle(page.body).backgroundColor, faults: faults.slice(0, 5)};
};
window.onload = () => {
  document.title = JSON.stringify([...document.querySelectorAll('iframe')].map(measure));
};
"""

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of two small runs, with images."""
    folder = tmp_path_factory.mktemp("compared")
    runs = [
        evaluate(
            RunSpec(
                tasks=("samed2d_seg_box",),
                model=f"baseline:{name}",
                data_roots=("phantom",),
                out=folder / name,
                ray="off",
                limit=24,
            )
        ).out
        for name in ("center-box", "otsu")
    ]
    write_page(folder / "compare.html", compare_runs(runs, every_number=True), ReportImages(phantom=True))
    return folder / "compare.html"


@pytest.mark.parametrize(("scheme", "paper"), [("light", "rgb(255, 255, 255)"), ("dark", "rgb(18, 23, 29)")])
def test_the_page_fits_every_width(chromium: str, page: Path, tmp_path: Path, scheme: str, paper: str) -> None:
    text = page.read_text(encoding="utf-8")
    assert re.search(r"default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'", text)
    assert "<script" not in text
    (tmp_path / "page.html").write_text(text, encoding="utf-8")
    frames = "".join(
        f'<iframe src="page.html" style="width:{width}px;height:900px;border:0"></iframe>' for width in WIDTHS
    )
    # The frame's own scrollbar takes part of its width, as on a desktop; a phone's takes none.
    (tmp_path / "frames.html").write_text(f"{frames}<script>{MEASURE}</script>")
    command = [
        *(chromium, *FLAGS, "--allow-file-access-from-files", f"--user-data-dir={tmp_path / 'profile'}"),
        *(f"--blink-settings=preferredColorScheme={0 if scheme == 'dark' else 1}", "--hide-scrollbars"),
        *("--virtual-time-budget=5000", "--dump-dom", (tmp_path / "frames.html").as_uri()),
    ]
    dom = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    found = re.search(r"<title>(.*?)</title>", dom)
    assert found is not None, dom[:500]
    assert json.loads(found[1]) == [{"width": width, "paper": paper, "faults": []} for width in WIDTHS]
