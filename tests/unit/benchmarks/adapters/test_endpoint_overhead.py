"""The benchmark's own server answers as one does, each call after its time."""

from pathlib import Path

import pytest

from benchmarks.adapters.endpoint_overhead import measure_adapter, measure_package, running_server


@pytest.mark.slow
def test_both_clients_are_answered_and_take_the_servers_time(tmp_path: Path) -> None:
    with running_server(0.05) as url:
        assert 0.05 <= measure_adapter(url, 8, tmp_path) < 5
        assert 0.05 <= measure_package(url, 8) < 5
    assert len(next(tmp_path.glob("answers-*.jsonl")).read_text().splitlines()) == 32 + 8
