"""The server of `harness view`: one folder, this machine, two methods."""

import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.errors import SpecError
from harness.reports.live.server import Server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server of a folder with a finished run, one in progress, a board, and links that lead outside."""
    (tmp_path / "secret.txt").write_text("secret")
    folder = tmp_path / "runs"
    for name in ("done", "going"):
        (folder / name).mkdir(parents=True)
        (folder / name / "run.json").write_text('{"model": {"id": "<script>alert(1)</script>"}, "data": "real"}')
    (folder / "done" / "report.html").write_text("<p>report")
    (folder / "done" / "results.json").write_text("{}")
    (folder / "done" / "status.json").write_text(json.dumps({"state": "done", "done": 1, "total": 1, "counts": {}}))
    (folder / "board").mkdir()
    (folder / "board" / "index.html").write_text("<p>board")
    (folder / "away").symlink_to(tmp_path)
    (folder / "away.txt").symlink_to(tmp_path / "secret.txt")
    with Server(folder) as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield found
        found.shutdown()
        thread.join()


def _ask(server: Server, path: str, method: str = "GET", host: str | None = None) -> tuple[int, str, str]:
    """Return status, body and the address to go to."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host or f"127.0.0.1:{server.server_port}")
    connection.endheaders()
    answer = connection.getresponse()
    found = answer.status, answer.read().decode(), answer.getheader("Location") or ""
    connection.close()
    return found


def test_a_folder_lists_its_runs_and_pages_and_no_links(server: Server) -> None:
    status, page, _ = _ask(server, "/")
    assert status == 200
    assert [name in page for name in ('href="done/"', 'href="going/"', 'href="board/"', "away")] == [True] * 3 + [False]


def test_a_finished_run_shows_its_report_and_another_its_progress(server: Server) -> None:
    assert _ask(server, "/done") == (302, "", "done/")
    assert _ask(server, "/done/") == (302, "", "report.html")
    assert _ask(server, "/done/report.html")[1] == "<p>report"
    assert _ask(server, "/board/")[2] == "index.html"
    status, page, _ = _ask(server, "/going/")
    assert status == 200
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page
    assert _ask(server, "/going/live.html")[1] == page


@pytest.mark.parametrize(
    "path",
    [*("/../secret.txt", "/%2e%2e/secret.txt", "/away/secret.txt", "/away.txt"), "/none", "/a%00b", "/%5c..%5csecret"],
)
def test_nothing_outside_of_the_folder_is_read(server: Server, path: str) -> None:
    status, body, _ = _ask(server, path)
    assert status == 404
    assert "secret" not in body.replace(path, "")


def test_only_get_and_head_are_answered_and_only_under_the_name_of_this_machine(server: Server) -> None:
    assert _ask(server, "/done/report.html", "HEAD")[:2] == (200, "")
    assert [_ask(server, "/", method)[0] for method in ("POST", "PUT", "DELETE")] == [501] * 3
    assert _ask(server, "/", host="evil.example")[0] == 403


def test_a_folder_that_is_none_and_a_port_that_is_taken_are_refused(server: Server, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"nowhere: expected a run directory or another folder, found nothing"):
        Server(tmp_path / "nowhere")
    with pytest.raises(SpecError, match=rf"--port {server.server_port}: Address already in use; name another"):
        Server(tmp_path, server.server_port)
