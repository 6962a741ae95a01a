"""What several test files share: the real recordings, and the rule for skipping."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest
from filelock import FileLock
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]

# No deadline: a machine may be busy. Without a data base of examples, nothing is left behind.
settings.register_profile("here", deadline=None, database=None)
# The same examples at each run: red or green is then a matter of the code alone.
settings.register_profile("ci", settings.get_profile("here"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "here")


def skip_or_fail(reason: str) -> NoReturn:
    """Skip a test whose real component is missing on a user's machine; in CI, fail it."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"skipped on a user's machine, but CI must have it: {reason}", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def corpora_root() -> Path:
    """Folder of the real recordings.

    The one skip that CI allows: their licences keep them from a public CI.
    """
    places = [Path(os.environ["SER_DATA"])] if "SER_DATA" in os.environ else []
    places.append(ROOT.parent / "shared" / "corpora")
    for place in places:
        if (place / "ravdess").is_dir() or (place / "tess").is_dir():
            return place
    pytest.skip("no real recordings: set SER_DATA to the folder that holds ravdess/ and tess/")


@pytest.fixture
def real_data(corpora_root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """:func:`corpora_root`, with ``SER_DATA`` pointing to it."""
    monkeypatch.setenv("SER_DATA", str(corpora_root))
    return corpora_root


#: The longest first. While one process makes the demo run for its notebooks, another one has enough
#: to do until the browser's tests need that run too.
FIRST = ("test_notebooks", "test_crossval", "test_cli", "test_adding", "test_training", "test_app")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files for several processes, each of which takes a whole file at a time."""
    places = {name: place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(FIRST)))


#: Parameters of the demo run: little of everything.
SMALL = {"EPOCHS": 2, "N_ROBUST": 14, "N_SEEDS": 1, "N_DRAWS": 1, "N_EMBEDDED": 100}


@pytest.fixture(scope="session")
def demo_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An outputs folder with a finished run called ``demo``, made as a user makes it.

    ``ser run`` on the demo corpus in a process of its own; few epochs and few disturbed clips are
    the only difference. It is made once for all processes that run tests.
    """
    common = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        common = common.parent
    outputs = common / "outputs"
    with FileLock(common / "outputs.lock"):
        if not (outputs / "demo" / "terminal.txt").exists():
            _make_demo_run(outputs)
    return outputs


def _make_demo_run(outputs: Path) -> None:
    small = [word for name, n in SMALL.items() for word in ("-p", f"{name}={n}")]
    done = subprocess.run(
        [sys.executable, "-m", "helpers.cli", "run", "--corpora", "demo", *small],
        env={**os.environ, "SER_OUTPUTS": str(outputs)},
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    (outputs / "demo" / "terminal.txt").write_text(done.stdout, encoding="utf-8")
