"""Many clips at once: by the processes of this machine, and by a real Dask cluster."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

import numpy as np
import pandas as pd
import pytest
import soundfile

from helpers.cli import main
from helpers.errors import UserError
from helpers.features.extract import extract_features
from helpers.parallel import map_clips
from helpers.sound.audio import AudioError

pytest.importorskip("distributed", reason="needs the extra [cluster]")


def launch(module: str, *arguments: object) -> subprocess.Popen:
    command = [sys.executable, "-m", f"distributed.cli.{module}", *map(str, arguments)]
    return subprocess.Popen([*command, "--no-dashboard"], stderr=subprocess.DEVNULL)


def wait_for(what, *, seconds: float = 60.0):
    """Poll until ``what()`` is true; what never comes is a failure, not a hang."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


@pytest.fixture
def scheduler(tmp_path):
    """Address of a scheduler without workers."""
    file = tmp_path / "scheduler.json"
    process = launch("dask_scheduler", "--host", "127.0.0.1", "--port", 0, "--scheduler-file", file)
    wait_for(file.exists)
    yield json.loads(file.read_text())["address"]
    process.kill()
    process.wait()


@pytest.fixture
def workers(scheduler, tmp_path):
    """Two worker processes of that scheduler, once they have reported to it."""
    from distributed import Client

    options = ("--nthreads", 1, "--no-nanny", "--local-directory", tmp_path / "dask")
    processes = [launch("dask_worker", scheduler, *options) for _ in range(2)]
    with Client(scheduler, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)
    yield processes
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture
def clips(tmp_path) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    folder = tmp_path / "clips" / "neutral"
    folder.mkdir(parents=True)
    for place in range(120):
        soundfile.write(folder / f"{place}.wav", rng.normal(0, 0.1, 16000), 16000)
    return pd.DataFrame({"path": sorted(map(str, folder.iterdir()))})


def test_a_cluster_that_loses_a_worker_gives_the_same_features(
    clips, scheduler, workers, tmp_path, monkeypatch, capsys
):
    """By the command, as one would."""
    monkeypatch.setenv("SER_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setenv("SER_SCHEDULER", "")
    cache = tmp_path / "outputs" / ".cache"
    done_before = []

    def kill_one():
        wait_for(lambda: len(list(cache.rglob("??/*.npy"))) >= 20)
        done_before.append(len(list(cache.rglob("??/*.npy"))))
        workers[0].kill()

    killer = Thread(target=kill_one)
    killer.start()
    folder = str(Path(clips["path"][0]).parents[1])
    asked = ["features", "--corpora", folder, "--family", "functionals", "--scheduler", scheduler]
    assert main([*asked, "--csv", str(tmp_path / "rows.csv")]) == 0
    killer.join()
    assert 20 <= done_before[0] < len(clips), "it was killed on the way"
    assert workers[0].wait() != 0 and workers[1].poll() is None
    assert "functionals: 120 × 254" in capsys.readouterr().out
    rows = pd.read_csv(tmp_path / "rows.csv").set_index("path").loc[clips["path"]]
    monkeypatch.setenv("SER_SCHEDULER", "")
    here = extract_features(clips, family="functionals", cache=tmp_path / "here")
    np.testing.assert_allclose(rows[list(here)].to_numpy(), here.to_numpy(), rtol=1e-4, atol=1e-5)


def test_a_bad_clip_is_named_from_afar(clips, scheduler, workers, tmp_path, monkeypatch):
    bad = Path(clips["path"][7])
    bad.write_text("no sound")
    monkeypatch.setenv("SER_SCHEDULER", scheduler)
    with pytest.raises(AudioError, match=f"{bad.name}: found"):
        extract_features(clips, family="mfcc40", cache=tmp_path / "cache")


def test_every_command_that_reads_clips_can_ask_a_cluster(
    clips, scheduler, workers, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("SER_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setenv("SER_SCHEDULER", "")
    folder = Path(clips["path"][0]).parents[1]
    monkeypatch.setattr("helpers.models.prediction._PART", 50)
    asked = ["--scheduler", scheduler, "--csv", str(tmp_path / "far.csv")]
    assert main(["predict", str(folder), *asked]) == 0
    assert (
        main(["predict", str(folder), "--scheduler", "", "--csv", str(tmp_path / "here.csv")]) == 0
    )
    far, here = pd.read_csv(tmp_path / "far.csv"), pd.read_csv(tmp_path / "here.csv")
    pd.testing.assert_frame_equal(far, here, atol=1e-5)
    capsys.readouterr()
    assert main(["corpora", "validate", str(folder), "--scheduler", scheduler]) == 0
    assert "120 clips" in capsys.readouterr().out
    for command in ("run", "cv"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        assert "--scheduler" in capsys.readouterr().out


def test_a_cluster_that_cannot_be_used_is_explained(scheduler, monkeypatch):
    def use(address):
        monkeypatch.setenv("SER_SCHEDULER", address)
        list(map_clips(len, ["a"], label=""))

    with pytest.raises(UserError, match="has no workers: start some with `dask worker tcp://"):
        use(scheduler)
    monkeypatch.setattr("helpers.parallel._CONNECT_S", 2)
    for address in ("tcp://127.0.0.1:9", "nonsense"):
        with pytest.raises(UserError, match=f"no Dask scheduler at '{address}'"):
            use(address)
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UserError, match=r"\.\[cluster\]"):
        use(scheduler)


def test_results_come_in_order():
    words = ["x" * (n % 7) for n in range(200)]
    assert list(map_clips(len, words, n_jobs=2, label="")) == [len(word) for word in words]
