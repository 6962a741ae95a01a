"""A JupyterLab server and a browser to look at it, as a person would use them."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import nbformat
import numpy as np
import soundfile
from conftest import skip_or_fail
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright
from scipy.signal import correlate, resample_poly
from tiny import voice

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_MAC = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
_QUIET = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
    "--disable-background-networking --disable-component-update"
).split()
#: What a reader sees where a widget could not be drawn.
WIDGET_FAILURES = (
    "Error displaying widget",
    "Error creating widget",
    "Loading widget",
    "Javascript Error",
)


@contextmanager
def open_browser(*further: str) -> Iterator[Browser]:
    """Start a headless Chromium or Chrome of this machine, with further arguments."""
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _BROWSERS)), None)
    path = path or (str(_MAC) if _MAC.exists() else None)
    if path is None:
        skip_or_fail("no browser: install Chromium or Chrome, or set CHROMIUM to its path")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*_QUIET, *further])
        yield browser
        browser.close()


@dataclass(frozen=True)
class Lab:
    """A running JupyterLab.

    ``folder`` is its root with the notebooks, ``shots`` where screenshots go.
    """

    url: str
    token: str
    folder: Path
    shots: Path

    def request(self, path: str, method: str = "GET") -> object:
        """Ask the server's REST interface."""
        request = urllib.request.Request(
            f"{self.url}/{path}", method=method, headers={"Authorization": f"token {self.token}"}
        )
        with urllib.request.urlopen(request, timeout=30) as reply:
            text = reply.read()
        return json.loads(text) if text else None


@contextmanager
def open_lab(folder: Path, home: Path, **environment: str) -> Iterator[Lab]:
    """Start JupyterLab on ``folder``; its settings and run-time files go under ``home``."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = home / "settings" / "@jupyterlab"
    # No question about news on the first start, and no look-up of it.
    news = settings / "apputils-extension" / "notification.jupyterlab-settings"
    news.parent.mkdir(parents=True)
    news.write_text('{"checkForUpdates": false, "fetchNews": "false"}')
    own = {
        "JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "IPYTHONDIR": "ipython",
        "JUPYTER_RUNTIME_DIR": "runtime", "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
    }  # fmt: skip
    # MPLBACKEND would take the figures away from the notebooks.
    kept = {k: v for k, v in os.environ.items() if k not in ("MPLBACKEND", "JUPYTER_PATH")}
    lab = Lab(f"http://127.0.0.1:{port}", secrets.token_hex(16), folder, home / "shots")
    lab.shots.mkdir()
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    command += ["--ServerApp.ip=127.0.0.1", "--ServerApp.port_retries=0"]
    command += [f"--ServerApp.port={port}", f"--ServerApp.root_dir={folder}"]
    command += [f"--IdentityProvider.token={lab.token}"]
    # As `make lab` has it: what a large upload brings is not lost.
    makefile = Path(__file__).parents[1].joinpath("Makefile").read_text(encoding="utf-8")
    command += ["".join(re.search(r'(--ServerApp.tornado_settings=)"(.*?)"', makefile).groups())]
    log = home / "lab.log"
    with open(log, "wb") as stream:
        server = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream,
            env=kept | {k: str(home / v) for k, v in own.items()} | environment,
        )  # fmt: skip
    try:
        _wait_for(lab, server, log)
        yield lab
    finally:
        server.terminate()  # it shuts its kernels down
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()


def _wait_for(lab: Lab, server: subprocess.Popen, log: Path, timeout_s: float = 90) -> None:
    end = time.monotonic() + timeout_s
    while True:
        try:
            lab.request("api/status")
            return
        except (urllib.error.URLError, OSError):
            if server.poll() is not None or time.monotonic() > end:
                text = log.read_text(errors="replace")[-3000:]
                raise RuntimeError(f"JupyterLab does not answer:\n{text}") from None
            time.sleep(0.3)


def run_notebook_in_lab(
    page: Page, lab: Lab, name: str, *, timeout_s: float = 600
) -> nbformat.NotebookNode:
    """Open a notebook, choose Run All Cells from the menu, wait, save, and return what was saved.

    The page stays open, with the notebook drawn at full height; a picture of it is in
    ``lab.shots``. What came out is for the caller to judge: see :func:`assert_all_ran`.
    """
    page.goto(f"{lab.url}/lab/tree/{name}?token={lab.token}&reset")
    expect(page.locator(".jp-Notebook .jp-Cell").first).to_be_visible()
    # Before the kernel is there, Run would ask which one to take.
    status = page.locator("#jp-main-statusbar").get_by_text("| Idle")
    expect(status).to_be_visible()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    # A cell that waits or runs shows [*]; after an error the ones below go back to [ ].
    page.wait_for_function(
        """() => {
            const prompts = [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')]
                .map(p => p.textContent);
            return prompts.some(p => /\\d/.test(p)) && !prompts.some(p => p.includes('*'));
        }""",
        timeout=1000 * timeout_s,
    )
    expect(status).to_be_visible()
    screenshot(page, lab.shots / f"{Path(name).stem}.png")
    page.keyboard.press("Control+s")
    expect(page.locator(".jp-mod-dirty")).to_have_count(0)
    return nbformat.read(lab.folder / name, as_version=4)


def screenshot(page: Page, path: Path) -> None:
    """Take a picture of the whole notebook, not only of what the window shows."""
    for _ in range(2):  # cells out of sight are laid out, and known by height, once they are seen
        height = page.locator(".jp-WindowedPanel-inner").last.evaluate("e => e.scrollHeight")
        # The browser draws no picture higher than this.
        page.set_viewport_size({"width": 1280, "height": min(max(1000, height + 200), 16_000)})
        page.locator(".jp-WindowedPanel-outer").last.evaluate("e => { e.scrollTop = 0; }")
        page.wait_for_timeout(500)
    page.screenshot(path=path)


def assert_all_ran(page: Page, notebook: nbformat.NotebookNode) -> None:
    """Every cell ran in order without an error, and every widget is drawn."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    outputs = [output for cell in cells for output in cell.outputs]
    errors = [f"{o.ename}: {o.evalue}" for o in outputs if o.output_type == "error"]
    assert errors == []
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    seen = page.locator(".jp-Notebook").inner_text()
    assert [text for text in WIDGET_FAILURES if text in seen] == []
    views = [o for o in outputs if "application/vnd.jupyter.widget-view+json" in o.get("data", {})]
    drawn = page.locator(".jp-Cell-outputArea > .jp-OutputArea-child:has(.jupyter-widgets)")
    assert drawn.count() == len(views), "a widget is saved but not drawn"


def choose_file(page: Page, panel: Page | Locator, path: Path) -> None:
    """Upload a file."""
    with page.expect_file_chooser() as chooser:
        panel.get_by_role("button", name="Upload a recording").click()
    chooser.value.set_files(path)


def click_timeline(page: Page, *, duration_s: float) -> None:
    """Click on the timeline of a recording: three quarters along its axis, it plays from there."""
    figure = page.locator("figure").first
    expect(figure.get_by_text("A click on the picture plays from there")).to_be_visible()
    player, picture = figure.locator("audio"), figure.locator("img")
    player.evaluate("a => a.readyState ? 0 : new Promise(r => a.onloadedmetadata = r)")
    assert abs(player.evaluate("a => a.duration") - duration_s) < 0.5
    player.evaluate("a => a.onseeking = () => { a.dataset.went = a.currentTime; }")
    left, right = (float(figure.get_attribute(f"data-{side}")) for side in ("left", "right"))
    size = picture.bounding_box()
    along = left + 0.75 * (right - left)
    picture.click(position={"x": along * size["width"], "y": 0.5 * size["height"]})
    expect(player).to_have_attribute("data-went", re.compile("."))
    assert abs(float(player.get_attribute("data-went")) - 0.75 * duration_s) < 0.02 * duration_s
    assert not player.evaluate("a => a.paused")
    expect(figure.locator("[data-mark]")).to_be_visible()


# ---- What a browser's microphone plays, and what arrived ----

SR = 16_000


def make_recording() -> np.ndarray:
    """Ten seconds that resemble themselves nowhere: a voice that comes and goes, in noise."""
    rng = np.random.default_rng(0)
    spectrum = np.fft.rfft(rng.normal(size=10 * SR))
    spectrum[40_000:] = 0
    noise = np.fft.irfft(spectrum)
    y = voice(900, duration_s=10, peak=1) + 0.3 * noise / np.abs(noise).max()
    y = y * np.repeat(rng.uniform(0.3, 1, 100), SR // 10)
    return (0.5 * y / np.abs(y).max()).astype("float32")


SOURCE = """() => {
    const player = document.querySelector('audio');
    return player ? player.src || player.querySelector('source').src : '';
}"""


def heard_by(page: Page) -> np.ndarray:
    """Samples behind the player in the panel."""
    page.wait_for_function(SOURCE)  # words come first
    source = page.evaluate(SOURCE)
    content = base64.b64decode(source.partition("base64,")[2])
    y, sr = soundfile.read(io.BytesIO(content), dtype="float32")
    assert sr == SR
    return y


def match(y: np.ndarray, whole: np.ndarray) -> float:
    """Highest correlation of ``y`` with any stretch of ``whole``, which is played in a loop.

    A recording begins between two samples: it is laid over the original in eighths of one.
    """
    looped = resample_poly(np.concatenate([whole, whole[: len(y)]]).astype("float64"), 8, 1)
    y = resample_poly(y.astype("float64"), 8, 1)
    energy = correlate(looped**2, np.ones(len(y)), "valid")
    return float(np.max(correlate(looped, y, "valid") / np.sqrt(energy * np.sum(y**2))))
