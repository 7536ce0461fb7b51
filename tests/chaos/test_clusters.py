"""The commands of docs/cluster.md on a local cluster of several nodes, which may leave and join while a run goes on."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.killable import SAMPLES, Run
from tests.support.tiny_vqa_rad import write_release

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.timeout(900)]

PAGE = Path(__file__).parents[2] / "docs" / "cluster.md"
MODEL = """
import os
import time

from harness import Answer, Capabilities


class MyModel:
    version = "1"

    def capabilities(self):
        return Capabilities(max_batch=4, batch_invariant=True)

    def load(self, device):
        pass

    def predict(self, requests):
        time.sleep(float(os.environ.get("SECONDS", "0")))
        return [Answer(text=f"yes {request.images[0].image().sum()}") for request in requests]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a model and a release."""
    write_release(tmp_path / "data", SAMPLES)
    (tmp_path / "my_model.py").write_text(MODEL)
    (tmp_path / "runs").mkdir()
    return tmp_path


class Nodes:
    """A cluster of Ray on this machine whose nodes come and go."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        # The head holds no worker: it can neither leave nor hide that another node is not used.
        self.cluster: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})

    def close(self) -> None:
        """Stop every node."""
        self.cluster.shutdown()

    @property
    def address(self) -> str:
        return str(self.cluster.address)

    def add(self, **variables: str) -> Any:
        """Add a node with one CPU and these environment variables."""
        before = {name: os.environ.get(name) for name in variables}
        os.environ.update(variables)
        try:
            return self.cluster.add_node(num_cpus=1)
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    """A cluster with its head alone."""
    made = Nodes()
    yield made
    made.close()


def commands(page: str) -> list[str]:
    """Return every `harness run` and `harness chaos` of the page, as one line."""
    text = page.replace("\\\n", " ")
    scripts = re.findall(r"^harness (?:run|chaos) .*$", text, re.M)
    manifests = re.findall(r"entrypoint: >-\n((?:    harness.*\n)(?:    .*\n)*)", text)
    return [" ".join(command.split()) for command in (*scripts, *manifests)]


def environment(folder: Path, nodes: Nodes) -> dict[str, str]:
    programs = Path(sys.executable).parent
    paths = {"PATH": f"{programs}:{os.environ['PATH']}", "MEDGROUND_CACHE": str(folder / "cache")}
    return os.environ | paths | {"RAY_ADDRESS": nodes.address}


def test_the_commands_of_the_page_run_on_two_nodes(folder: Path, nodes: Nodes) -> None:
    # One node has files of its own, one of them with other bytes; the other node gets all from the driver.
    own = folder / "own"
    write_release(own, 1)
    (own / "vqa_rad" / "images" / "1.png").write_bytes(b"other bytes")
    nodes.add(MEDGROUND_DATA_ROOT=str(own))
    nodes.add()
    found = {}
    for command in commands(PAGE.read_text()):
        words = command.replace("/data", str(folder / "data")).replace("/runs", str(folder / "runs"))
        done = subprocess.run(
            ["bash", "-c", words],
            cwd=folder,
            env=environment(folder, nodes),
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        assert done.returncode == 0, f"{words}\n{done.stderr}"
    for run in sorted((folder / "runs").glob("my-model-*")):
        found[run.name] = (run / "results.json").read_bytes()
    assert sorted(found) == ["my-model-kuberay", "my-model-ray-up", "my-model-slurm"]
    assert len(set(found.values())) == 1
    assert b'"data_error"' not in next(iter(found.values()))


def test_nodes_leave_and_join_during_a_run(folder: Path, nodes: Nodes) -> None:
    first = nodes.add(SECONDS="1")
    nodes.add(SECONDS="1")
    words = [sys.executable, "-m", "harness.cli", "run", "--tasks", "vqa_rad", "--data-root", str(folder / "data")]
    words += ["--model", f"{folder}/my_model.py:MyModel", "--batch-size", "4", "--json"]
    alone = Run([*words, "--ray", "off", "--out", str(folder / "alone")], folder / "alone")
    code, _, stderr = alone.finish()
    assert code == 0, stderr
    words += ["--ray", nodes.address, "--workers", "2", "--out", str(folder / "changing")]
    changing = Run(words, folder / "changing")
    process = changing.start()
    changing.wait_for("finished", 2)
    nodes.cluster.remove_node(first, allow_graceful=False)
    changing.wait_for("died", 1)
    changing.wait_for("finished", changing.count("finished") + 1)
    nodes.add(SECONDS="1")
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr
    assert changing.results == alone.results
    changing.check_books(batches_lost=2)
    workers = {event["worker"] for event in changing.events() if event["event"] == "started"}
    assert len(workers) >= 2


def test_an_address_where_nobody_listens_ends_in_seconds_with_one_line(folder: Path) -> None:
    began = time.monotonic()
    words = ["run", "--tasks", "vqa_rad", "--data-root", str(folder / "data"), "--model", "scripted"]
    done = subprocess.run(
        [sys.executable, "-m", "harness.cli", *words, "--ray", "127.0.0.1:1", "--out", str(folder / "runs" / "x")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("harness: "))
    assert "--ray 127.0.0.1:1: cannot connect: Connection refused; is a cluster running there?" in line
    assert time.monotonic() - began < 60, "15 s on an idle machine"
