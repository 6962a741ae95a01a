"""How long an answer takes: in the panel, of files, of an hour, over HTTP. Part of `make bench`.

Needs RAVDESS (`ser corpora get ravdess`) in SER_DATA or data/, and the extra `serve`.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import requests
import soundfile

from helpers.app.panel import Panel
from helpers.corpora import load_corpora
from helpers.models.prediction import Predictor, find_model
from helpers.models.training import prepare_keras
from helpers.sound.audio import SAMPLE_RATE, load_audio

N_FILES = 300
N_REQUESTS = 200
RATE = 48_000  # of a browser


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", default="panel,model,files,hour,http")
    parts = parser.parse_args().parts.split(",")
    paths = load_corpora("ravdess")["path"].sample(N_FILES, random_state=0).tolist()
    prepare_keras(0)
    predictor = Predictor(find_model())
    predictor.warm_up()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    if "hour" in parts:  # first: the peak of memory is that of all that came before
        time_hour(predictor, paths)
    if "panel" in parts:
        time_panel(predictor, paths)
    if "model" in parts:
        window = np.stack([load_audio(paths[0])[: predictor.settings.n_samples]])
        describe("model call alone", repeat(lambda: predictor.probabilities(window), 100))
    if "files" in parts:
        start = time.perf_counter()
        predictor.predict_files(paths)
        print(
            f"files, decoding included: {len(paths) / (time.perf_counter() - start):.0f} a second"
        )
    if "http" in parts:
        time_service(paths)


def repeat(call: Callable, n: int) -> list[float]:
    times = []
    for _ in range(n):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return times


def describe(name: str, times: list[float]) -> None:
    milliseconds = 1000 * np.array(times)
    low, middle, high = np.percentile(milliseconds, [5, 50, 95])
    print(f"{name}: {middle:.0f} ms (median of {len(times)}; 5 to 95 %: {low:.0f} to {high:.0f})")


def time_panel(predictor: Predictor, paths: list[str]) -> None:
    """From the last piece of a recording to all that is shown of it: words, player, pictures."""
    panel = Panel(predictor, machine=False)
    y = np.repeat(load_audio(paths[0])[: 3 * SAMPLE_RATE], RATE // SAMPLE_RATE)
    first, last = y[: -RATE // 5].tobytes(), y[-RATE // 5 :].tobytes()
    times, message = [], {"rate": RATE, "first": True, "last": False, "live": False}
    ended = message | {"first": False, "last": True}
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        for _ in range(13):
            panel.recorder._receive(panel.recorder, message, [first])
            times += repeat(lambda: panel.recorder._receive(None, ended, [last]), 1)
        panel.recorder._receive(None, message | {"live": True}, [first])
        on = message | {"live": True, "first": False}
        live = repeat(lambda: panel.recorder._receive(None, on, [last]), 50)
    describe("panel, from the end of 3 s to the answer", times[3:])
    describe("panel, live: from a piece of sound to its estimate", live)


def time_hour(predictor: Predictor, paths: list[str]) -> None:
    """An hour of actors, as MP3; memory above that of the process that waits."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "hour.mp3")
        with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1, format="MP3") as file:
            written = 0
            for clip in itertools.cycle(paths):
                y = load_audio(clip)
                file.write(y)
                written += len(y)
                if written >= 3600 * SAMPLE_RATE:
                    break
        before = peak_mb()
        start, worked = time.perf_counter(), time.process_time()
        files, windows = predictor.follow_files(path)
        passed, worked = time.perf_counter() - start, time.process_time() - worked
        print(
            f"an hour as MP3: {passed:.0f} s, {worked:.0f} s of a core, "
            f"{len(windows)} windows, {peak_mb() - before:.0f} MB "
            f"above the {before:.0f} MB of before, error {files['error'][0]!r}"
        )


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def time_service(paths: list[str]) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen([sys.executable, "-m", "helpers.cli", "serve", "--port", str(port)])
    url = f"http://127.0.0.1:{port}"
    try:
        while True:
            with contextlib.suppress(requests.ConnectionError):
                requests.get(f"{url}/health", timeout=60)
                break
            time.sleep(0.5)
        recordings = [Path(path).read_bytes() for path in paths[:50]]
        ask(url, recordings, 8, N_REQUESTS)  # each worker has answered once
        for clients in (1, 8):
            start = time.perf_counter()
            times = ask(url, recordings, clients, N_REQUESTS)
            rate = len(times) / (time.perf_counter() - start)
            p95 = 1000 * pd.Series(times).quantile(0.95)
            print(f"HTTP, {clients} clients: {rate:.0f} requests a second, p95 {p95:.0f} ms")
    finally:
        server.terminate()
        server.wait(30)


def ask(url: str, recordings: list[bytes], clients: int, n: int) -> list[float]:
    times = []

    def work() -> None:
        with requests.Session() as session:
            for place in range(n // clients):
                files = {"file": ("clip.flac", recordings[place % len(recordings)])}
                start = time.perf_counter()
                session.post(f"{url}/predict", files=files, timeout=60).raise_for_status()
                times.append(time.perf_counter() - start)

    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times


if __name__ == "__main__":
    main()
