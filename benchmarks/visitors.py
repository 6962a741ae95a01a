"""Many visitors of `ser app` at once: does anybody see another's sound, and is all given back?

    python benchmarks/visitors.py
    python benchmarks/visitors.py --visitors 3 --minutes 1

Each visitor is a page in a browser of its own, which uploads one recording after the other, all
visitors at the same time. At the end the pages are closed, and the server has time to end what was
theirs. Needs RAVDESS in SER_DATA or data/, and Chromium (or its path in CHROMIUM).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
import requests
import soundfile
from playwright.sync_api import Page, sync_playwright

from helpers.corpora import load_corpora
from helpers.sound.audio import SAMPLE_RATE, load_audio

START_S = 300  # at most until the server answers, or a page can be used
END_S = 900  # at most until the kernels of closed pages have ended; idle ones do after 600
TOO_LARGE_MB = 51


class Watch(threading.Thread):
    """Memory of a process and of all that it started, every second."""

    def __init__(self, process: psutil.Process) -> None:
        super().__init__(daemon=True)
        self.process, self.peak_mb, self.ended = process, 0.0, threading.Event()

    def run(self) -> None:
        while not self.ended.wait(1):
            self.peak_mb = max(self.peak_mb, self.now_mb())

    def now_mb(self) -> float:
        total = 0
        for one in [self.process, *self.process.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):  # it has just ended
                total += one.memory_full_info().uss
        return total / 1e6

    def count_kernels(self) -> int:
        n = 0
        for one in self.process.children():
            with contextlib.suppress(psutil.Error):  # it has just ended
                n += "ipykernel" in " ".join(one.cmdline())
        return n


def upload(page: Page, path: Path) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Upload a recording").click()
    chooser.value.set_files(path)


def visit(url: str, folder: Path, visitors: int, minutes: float) -> tuple[int, set[str]]:
    """Let them upload for some minutes; returns the answers, and what was seen of others."""
    clips = load_corpora("ravdess").sample(visitors, random_state=0)["path"]
    waves = [load_audio(path) for path in clips]
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    seen, n_answers = set(), 0
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        pages = [browser.new_context().new_page() for _ in range(visitors)]
        for page in pages:
            page.set_default_timeout(1000 * START_S)
            page.goto(url, wait_until="commit")
        for page in pages:
            page.get_by_role("button", name="Speak, 3 s").click(trial=True)
        end = time.monotonic() + 60 * minutes
        while time.monotonic() < end:
            names = [f"visitor{place}-{n_answers + place}.wav" for place in range(visitors)]
            for page, name, wave in zip(pages, names, waves, strict=True):
                soundfile.write(folder / name, wave, SAMPLE_RATE)
                upload(page, folder / name)
            for place, (page, name) in enumerate(zip(pages, names, strict=True)):
                page.get_by_text(f"Heard: {name}").wait_for()
                n_answers += 1
                shown = page.locator("body").inner_text()
                owners = set(re.findall(r"visitor(\d+)-", shown))
                seen |= {f"{place} saw {other}" for other in owners - {str(place)}}
                seen |= {word for word in ("Traceback", str(Path.home())) if word in shown}
        large = folder / "large.wav"
        soundfile.write(large, waves[0], SAMPLE_RATE)
        with large.open("ab") as file:
            file.truncate(TOO_LARGE_MB * 10**6)
        upload(pages[0], large)
        pages[0].get_by_text("expected at most 50 MB").wait_for()
        pages[1 % visitors].get_by_text(f"Heard: {names[1 % visitors]}").wait_for()
        for page in pages:  # as a person closes a tab; their kernels end when they are culled
            page.close(run_before_unload=True)
        time.sleep(10)
        browser.close()
    return n_answers, seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--visitors", type=int, default=10)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--port", type=int, default=8899)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        temporary, sounds = Path(home, "tmp"), Path(home, "sounds")
        temporary.mkdir()
        sounds.mkdir()
        command = [sys.executable, "-m", "helpers.cli", "app", "--port", str(given.port)]
        environment = os.environ | {"TMPDIR": str(temporary), "HOME": home}
        with open(Path(home, "log"), "wb") as log:
            server = psutil.Popen(command, env=environment, stdout=log, stderr=log)
        watch = Watch(server)
        url = f"http://127.0.0.1:{given.port}/"
        try:
            begin = time.monotonic()
            while time.monotonic() < begin + START_S:
                try:
                    requests.get(f"{url}voila/static/", timeout=60)
                    break
                except requests.ConnectionError:
                    time.sleep(0.5)
            time.sleep(30)  # the kernel for the first visitor starts
            before_mb, kernels = watch.now_mb(), watch.count_kernels()
            files = [path for path in temporary.rglob("*") if path.is_file()]
            watch.start()
            n_answers, seen = visit(url, sounds, given.visitors, given.minutes)
            watch.ended.set()
            begin = time.monotonic()
            while watch.count_kernels() > kernels and time.monotonic() < begin + END_S:
                time.sleep(5)
            waited = time.monotonic() - begin
            left = [path.name for path in temporary.rglob("*") if path.is_file()]
            print(f"{given.visitors} visitors, {given.minutes:g} minutes: {n_answers} answers")
            print(f"kernels before: {kernels}")
            print(f"seen of others, tracebacks, paths: {', '.join(sorted(seen)) or 'nothing'}")
            print(
                f"memory: {before_mb:.0f} MB before, {watch.peak_mb:.0f} at most, "
                f"{watch.now_mb():.0f} after; {watch.count_kernels()} kernels after {waited:.0f} s"
            )
            print(f"temporary files, with the kernel that waits: {len(files)} before,")
            print(f"{len(left)} after:", *left)
        finally:
            server.terminate()
            server.wait(30)


if __name__ == "__main__":
    main()
