"""How long an answer takes: in the panel, in a browser, of files, of an hour, over HTTP.

Part of `make bench`. Needs RAVDESS (`ser corpora get ravdess`) in SER_DATA or data/, the extra
`serve`, and Chromium (or its path in CHROMIUM).
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import requests
import soundfile
import soxr

from helpers.app.panel import Panel
from helpers.corpora import load_corpora
from helpers.models.prediction import Predictor, find_model
from helpers.models.training import prepare_keras
from helpers.sound.audio import SAMPLE_RATE, load_audio

N_FILES = 300
N_REQUESTS = 200
WARM_UP_S = 20  # of the service: its workers load their models one after the other
N_VISITS = 5
PREHEAT_S = 30  # in which the kernel for the next visitor starts and runs the page's code
START_S = 120  # at most until a server answers
N_TAKES = 7
LIVE_S = 10
RATE = 48_000  # of a browser


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", default="panel,model,files,hour,http,page")
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
        for asked, any_sound in (("", False), (", whoever speaks", True)):
            start = time.perf_counter()
            predictor.predict_files(paths, any_sound=any_sound)
            rate = len(paths) / (time.perf_counter() - start)
            print(f"files, decoding included{asked}: {rate:.0f} a second")
    clips = [load_audio(path)[: 3 * SAMPLE_RATE] for path in paths[:50]]
    if "http" in parts:
        time_service(clips)
    if "page" in parts:
        time_page(clips)


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
    panel.warm_up()
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
    describe("panel, from the end of 3 s to the answer and its picture", times[3:])
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


@contextlib.contextmanager
def serving(command: str, path: str, log: Path) -> Iterator[str]:
    """Address of `ser serve` or `ser app`, once ``path`` there answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [sys.executable, "-m", "helpers.cli", command, "--port", str(port)]
    with open(log, "wb") as stream:
        server = subprocess.Popen(words, stdout=stream, stderr=stream)
    url = f"http://127.0.0.1:{port}"
    try:
        latest = time.monotonic() + START_S
        while server.poll() is None and time.monotonic() < latest:
            with contextlib.suppress(requests.ConnectionError):
                requests.get(url + path, timeout=60)
                break
            time.sleep(0.5)
        else:
            raise RuntimeError(f"ser {command} does not answer:\n{log.read_text()}")
        yield url
    finally:
        server.terminate()
        server.wait(30)


def time_service(clips: list[np.ndarray]) -> None:
    """`ser serve` as it comes, one worker per core; whoever asks is on the same machine."""
    recordings = [to_wav(clip) for clip in clips]
    with (
        tempfile.TemporaryDirectory() as folder,
        serving("serve", "/health", Path(folder, "log")) as url,
    ):
        warm = time.monotonic() + WARM_UP_S
        while time.monotonic() < warm:
            ask(url, recordings, 8, 80)
        for clients in (1, 8):
            start = time.perf_counter()
            times = ask(url, recordings, clients, N_REQUESTS)
            rate = len(times) / (time.perf_counter() - start)
            middle, p95 = 1000 * np.percentile(times, [50, 95])
            print(
                f"HTTP, {os.cpu_count()} workers, {len(times)} clips of 3 s, {clients} clients: "
                f"{rate:.0f} requests a second, median {middle:.0f} ms, p95 {p95:.0f} ms"
            )


def to_wav(y: np.ndarray) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, y, SAMPLE_RATE, format="WAV")
    return file.getvalue()


def time_page(clips: list[np.ndarray]) -> None:
    """`ser app` in a browser with an empty cache, and a microphone in which actors speak."""
    from playwright.sync_api import sync_playwright

    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        voice, log = Path(folder, "voice.wav"), Path(folder, "log")
        soundfile.write(voice, soxr.resample(np.concatenate(clips), SAMPLE_RATE, RATE), RATE)
        url = stack.enter_context(serving("app", "/voila/static/", log))
        arguments = [
            "--no-sandbox",
            "--use-fake-ui-for-media-stream",
            "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-audio-capture={voice}",
        ]
        play = stack.enter_context(sync_playwright())
        browser = play.chromium.launch(executable_path=chromium, args=arguments)
        times = []
        for visit in range(N_VISITS):
            time.sleep(PREHEAT_S)
            page = browser.new_page()  # of a context of its own
            page.set_default_timeout(120_000)
            start = time.perf_counter()
            page.goto(url)
            page.get_by_role("button", name="Speak, 3 s").click(trial=True)  # it can be pressed
            times.append(time.perf_counter() - start)
            if visit < N_VISITS - 1:
                page.close()
        describe("page, from its address to a button that can be pressed", times)
        time_takes(page)
        browser.close()


def time_takes(page) -> None:
    """Speak into the open page: how long the answer takes to be seen, how often live has one."""
    shown = {"the answer on the screen": ".ser-answer", "its picture": ".widget-html img"}
    times: dict[str, list[float]] = {name: [] for name in shown}
    is_new = "place => ![null, window.before[place]].includes(document.querySelector(place))"
    for _ in range(N_TAKES):
        page.get_by_role("button", name="Speak, 3 s").click()
        page.wait_for_timeout(2500)
        page.evaluate(
            """places => {
                window.before = Object.fromEntries(
                    places.map(place => [place, document.querySelector(place)])
                );
            }""",
            list(shown.values()),
        )
        start = time.perf_counter()
        page.get_by_role("button", name="Stop").click()
        for name, place in shown.items():
            page.wait_for_function(is_new, arg=place)
            times[name].append(time.perf_counter() - start)
    for name, taken in times.items():
        describe(f"page, from the press on Stop after 2.5 s to {name}", taken[2:])
    count = "() => +document.querySelector('.ser-recorder canvas').dataset.estimates || 0"
    page.get_by_role("button", name="Live").click()
    page.wait_for_function(f"({count})() > 0")
    before, start = page.evaluate(count), time.perf_counter()
    page.wait_for_timeout(1000 * LIVE_S)
    drawn, passed = page.evaluate(count) - before, time.perf_counter() - start
    print(f"page, live: {drawn / passed:.1f} estimates drawn a second, over {passed:.0f} s")


def ask(url: str, recordings: list[bytes], clients: int, n: int) -> list[float]:
    times = []

    def work() -> None:
        with requests.Session() as session:
            for place in range(n // clients):
                files = {"file": ("clip.wav", recordings[place % len(recordings)])}
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
