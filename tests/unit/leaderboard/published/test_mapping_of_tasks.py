"""Every published number stands where a run of the harness would put its own: same task, metric, protocol and mean."""

import pytest

from harness.metrics import find
from harness.tasks.catalog import index
from leaderboard.published.mapping import PublishedPlace, place_published
from leaderboard.published.printed import load_published

PLACES = list(dict.fromkeys(item.place for item in place_published(load_published()).cells if item.place is not None))
CATALOG = index()


def _name(place: PublishedPlace) -> str:
    return f"{place.place}-{place.metric}-{place.name}-{place.protocol}-{place.mean}-{place.stratum}"


@pytest.mark.parametrize("place", PLACES, ids=_name)
def test_a_run_would_put_its_number_beside_the_published_one(place: PublishedPlace) -> None:
    row = find(place.metric, place.protocol)
    assert place.name in row.values
    assert not (row.corpus and place.mean == "micro")
    if CATALOG.group(place.place) is not None:
        return
    task = CATALOG.load(place.place)
    assert (place.metric, place.protocol) in [(use.metric, use.rubric or use.protocol) for use in task.metrics]
    assert place.stratum is None or place.stratum[0] in task.strata
    assert place.mean != "macro" or task.headline.over == place.over
