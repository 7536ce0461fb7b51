"""What every test stands on: an environment that writes nothing outside a temporary folder, and the optional things."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
RAY_CPUS = 4


def pytest_configure(config: pytest.Config) -> None:
    """Set the environment before any test module, and with it Ray, is imported."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        return  # inherited from the process that started the workers: they share one cache, so phantoms are made once
    scratch = tempfile.mkdtemp(prefix="medground-tests-")
    config.add_cleanup(lambda: shutil.rmtree(scratch, ignore_errors=True))
    os.environ.update(
        MEDGROUND_CACHE=scratch,
        RAY_AUTH_MODE="disabled",
        RAY_USAGE_STATS_ENABLED="0",
        HF_HUB_OFFLINE="1",
    )
    os.environ.pop("RAY_ADDRESS", None)


# Files whose tests share the session's Ray: one worker runs them all, so that only one starts it.
ON_RAY = frozenset(f"tests/e2e/test_{name}.py" for name in ("demo", "endpoint", "fallbacks", "ray", "real_runs"))


@pytest.hookimpl(optionalhook=True)  # known only where pytest-xdist is installed
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep the tests of a file together under pytest-xdist: they share costly fixtures.

    `--dist loadgroup` would do the same by marks, but pytest-xdist 3.8 passes them over under pytest 9.2.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            path = nodeid.partition("::")[0]
            return "ray" if path in ON_RAY else path

    return ByFile(config, log)


def without_package(package: str, needs: str) -> NoReturn:
    """Skip the test for want of a Debian package; fail it where continuous integration has installed them all."""
    reason = f"needs {needs} (Debian package {package}; .ci/run installs it)"
    if os.environ.get("MEDGROUND_CI") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def python_with(variable: str, default: str, package: str) -> str:
    """Return the Python of an environment that has a package; skip the test without one, and fail it in CI."""
    python = os.environ.get(variable) or str(REPOSITORY / default)
    if Path(python).is_file():
        return python
    reason = f"needs {package} in an environment of its own ({variable} names its Python; `make test-slow` makes it)"
    if os.environ.get("MEDGROUND_CI") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the repository."""
    return REPOSITORY


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real public data: `$MEDGROUND_TEST_DATA`, else `../shared/data` beside the repository."""
    default = REPOSITORY.parent / "shared" / "data"
    folder = Path(os.environ.get("MEDGROUND_TEST_DATA") or default)
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; MEDGROUND_TEST_DATA names another folder")
    return folder


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser's command."""
    found = next((path for name in ("chromium", "chromium-browser") if (path := shutil.which(name))), None)
    if found is None:
        without_package("chromium", "Chromium")
    return found


@pytest.fixture(scope="session")
def ray_local() -> Iterator[Any]:
    """One local Ray for the whole session; runs in this process find it and leave it up."""
    from harness.runs.engine.ray_connection import LOOPBACK, QUIET

    os.environ.update(QUIET | LOOPBACK)
    ray = pytest.importorskip("ray")
    ray.init(
        address="local",
        num_cpus=RAY_CPUS,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        _node_ip_address="127.0.0.1",
    )
    yield ray
    ray.shutdown()


@pytest.fixture(scope="session")
def word_net() -> Any:
    """The synonyms of this machine's WordNet."""
    from harness.paths import default_cache
    from harness.text import wordnet as places

    place = places.find(default_cache())
    if place is None:
        without_package("wordnet-base", "WordNet")
    return places.open_word_net(place)


@pytest.fixture(scope="session")
def java() -> None:
    """Java and the archives of pycocoevalcap; tests that ask for it are skipped where either is missing."""
    from harness.metrics.reports import meteor_java

    lacking = meteor_java.missing({})
    if lacking is not None:
        pytest.skip(f"{lacking.reason}; {lacking.remedy}")
