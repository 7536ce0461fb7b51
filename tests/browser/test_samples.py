"""Pages of samples in a real browser: masks toggle, slices follow slider, wheel and keys, the filter works."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.records import Box, Media, Sample, Target
from harness.reports.viewer import drawing
from harness.reports.viewer.niivue import Scene, niivue_source
from harness.reports.viewer.pages import IndexEntry, SamplePage, niivue_context, render_page, source
from harness.reports.viewer.pixels import jpeg_uri
from harness.reports.viewer.records import Piece, Shape, ShownImage, ViewedSample, Words
from tests.browser.devtools import Tab, browser_tab

HOSTILE = "<script>document.title = 'taken'</script><img src=x onerror=\"document.title='taken'\">\u202e" + "y" * 300

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def _sample(status: str) -> ViewedSample:
    """A sample of an image with a target and a predicted mask, and hostile words."""
    image = np.full((40, 60, 3), 90, dtype=np.uint8)
    said = Words(pieces=(Piece(HOSTILE),))
    return ViewedSample(
        sample_id=HOSTILE, repeat=None, value=0.5, status=status, prompt=said, target=said, answer=said, error=HOSTILE,
        images=(ShownImage(size=(40, 60), uri=jpeg_uri(image)),), planes=(),
        shapes=(
            Shape(kind="target", colour=None, name="a", area=100, path="M5 5h10v10h-10z"),
            Shape(kind="prediction", colour=None, name="a", area=100, path="M8 8h10v10h-10z"),
        ),
        unshown="", description="Target 100 pixels", scores=(), facts=(("class", HOSTILE),),
    )  # fmt: skip


def _volume() -> ViewedSample:
    """A sample of a volume of ten slices, whose target is a box in axial slices 4 to 6."""
    target = Target(boxes=(Box(corners=(4.0, 2.0, 2.0, 7.0, 6.0, 6.0)),))
    sample = Sample(id="v", media=(Media(path="v", sha256=None, kind="volume", size=(10, 8, 8)),), target=target)
    planes, shapes = drawing.volume_shapes(sample, (10, 8, 8), [], None, {}, None, ())
    return replace(_sample("ok"), images=(), planes=planes, shapes=shapes)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of a volume, two images that were answered, and one that failed."""
    samples = (_volume(), _sample("ok"), _sample("ok"), _sample("model_error"))
    index = tuple(IndexEntry(title=one.title, value=one.value, status=one.status, page=1) for one in samples)
    shown = SamplePage(
        title=HOSTILE, summary="All.", number=1, of=1, first=1, samples=samples, index=index, value_name="dice"
    )
    path = tmp_path_factory.mktemp("samples") / "index.html"
    path.write_text(
        render_page("page.html", title=HOSTILE, style="viewer.css", scripts=(source("viewer.js"),), shown=shown)
    )
    return path


@pytest.fixture(scope="module")
def tab(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    """A tab of one browser for all tests."""
    with browser_tab(chromium, tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def test_controls_work_and_hostile_words_are_text(tab: Tab, page: Path) -> None:
    tab.resize(1440, "light")
    tab.open(page)
    assert tab.value("document.title").startswith("<script>")
    # Masks and the image are switched by boxes and by keys.
    hidden = "getComputedStyle(document.querySelector('#s2 path.target')).visibility"
    assert tab.value(hidden) == "visible"
    tab.value("document.getElementById('show-target').click()")
    assert tab.value(hidden) == "hidden"
    key = "document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {key: '%s', bubbles: true}))"
    tab.value("document.getElementById('s2').focus()")
    tab.value(key % "t")
    assert tab.value(hidden) == "visible"
    # The next and the previous sample.
    tab.value(key % "j")
    assert tab.value("document.activeElement.id") == "s3"
    tab.value(key % "k")
    assert tab.value("document.activeElement.id") == "s2"
    # By status, in the list too.
    tab.value(
        "(() => { const s = document.getElementById('status-filter'); s.value = 'model_error';"
        "s.dispatchEvent(new Event('change')); })()"
    )
    assert tab.value("[...document.querySelectorAll('.sample:not([hidden])')].map((it) => it.id)") == ["s4"]
    assert tab.value("document.querySelectorAll('.index li:not([hidden])').length") == 1
    assert tab.value("document.querySelector('.choose output').value") == "1 of 4 on this page"
    assert tab.messages == []
    assert {address.partition(":")[0] for address in tab.requested} <= {"file", "data", "about"}


def test_slices_follow_slider_keys_and_wheel(tab: Tab, page: Path) -> None:
    tab.open(page)
    plane = "document.querySelector('#s1 figure')"
    state = f"[{plane}.querySelector('output').value, {plane}.querySelector('path').getAttribute('d')]"
    assert tab.value(state) == ["slice 6 of 10", "M2 2h4v4h-4z"]
    slider = f"{plane}.querySelector('input')"
    tab.value(f"{slider}.value = '0'; {slider}.dispatchEvent(new Event('input'))")
    assert tab.value(state) == ["slice 1 of 10", ""]
    wheel = f"{plane}.dispatchEvent(new WheelEvent('wheel', {{deltaY: 100, cancelable: true}}))"
    assert tab.value(f"document.activeElement.blur(); {wheel}"), "without the focus the page scrolls"
    assert tab.value(state)[0] == "slice 1 of 10"
    assert not tab.value(f"{plane}.focus(); {wheel}")
    assert tab.value(state)[0] == "slice 2 of 10"
    tab.value(f"{plane}.dispatchEvent(new KeyboardEvent('keydown', {{key: 'ArrowUp', bubbles: true}}))")
    assert tab.value(state)[0] == "slice 3 of 10"


def test_niivue_is_let_through_by_its_digest_and_asks_for_nothing(tab: Tab, tmp_path: Path) -> None:
    if niivue_source() is None:
        pytest.skip("needs NiiVue (`make setup` installs it where npm is)")
    scripts, context = niivue_context([Scene(title="a", value=0.5, oriented=True, grey="", target="", prediction="")])
    path = tmp_path / "volumes.html"
    path.write_text(render_page("niivue.html", title="a", style="viewer.css", scripts=scripts, **context))
    tab.requested.clear()
    tab.messages.clear()
    tab.open(path)
    assert tab.value("typeof niivue.Niivue") == "function"
    # Without WebGL, as on this machine, or without a volume, as here, the page says so and stays usable.
    assert "NiiVue cannot show" in tab.wait_for("document.querySelector('.niivue output').value")
    assert not [message for message in tab.messages if "Content Security Policy" in message]
    assert json.dumps(tab.requested).count("http") == 0
