"""The browser's microphone, in JupyterLab in a real browser that plays a recording into it."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path

import nbformat
import numpy as np
import pytest
import soundfile
from browser import Lab, open_browser, open_lab, run_notebook_in_lab
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import Page, expect
from scipy.signal import correlate, resample_poly
from tiny import CLASSES, SETTINGS, build_tiny_model

from helpers.app.browser import BrowserMicrophone
from helpers.models.modelfile import make_card, save_model

pytestmark = pytest.mark.browser
SR = 16_000
CELL = """
from helpers.app.panel import Panel
from helpers.models.prediction import Predictor
panel = Panel(Predictor("model.keras"), record_s=2.0)
panel
"""


@pytest.fixture(scope="module")
def recording() -> np.ndarray:
    """Ten seconds that resemble themselves nowhere: noise that comes and goes, under 4 kHz."""
    rng = np.random.default_rng(0)
    spectrum = np.fft.rfft(rng.normal(size=10 * SR))
    spectrum[40_000:] = 0
    y = np.fft.irfft(spectrum) * np.repeat(rng.uniform(0.3, 1, 100), SR // 10)
    return (0.5 * y / np.abs(y).max()).astype("float32")


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Iterator[Lab]:
    home = tmp_path_factory.mktemp("microphone")
    folder = home / "notebooks"
    folder.mkdir()
    card = make_card(name="tiny", classes=CLASSES, settings=SETTINGS)
    save_model(build_tiny_model(), folder / "model.keras", card)
    kernel = {"name": "python3", "display_name": "Python", "language": "python"}
    notebook = new_notebook(cells=[new_code_cell(CELL)], metadata={"kernelspec": kernel})
    nbformat.write(notebook, folder / "panel.ipynb")
    with open_lab(folder, home, SER_OUTPUTS=str(home)) as one:
        yield one


def open_panel(page: Page, lab: Lab):
    page.set_default_timeout(60_000)
    run_notebook_in_lab(page, lab, "panel.ipynb")
    return page.locator(".jp-Notebook .widget-vbox").first


SOURCE = """() => {
    const player = document.querySelector('.jp-Notebook audio');
    return player ? player.currentSrc || player.querySelector('source').src : '';
}"""


def heard_by(page: Page) -> np.ndarray:
    """Samples behind the player in the panel."""
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


def test_what_is_spoken_into_the_browser_arrives(lab: Lab, recording, tmp_path: Path):
    soundfile.write(tmp_path / "spoken.wav", recording, SR, subtype="PCM_16")
    fake = f"--use-file-for-fake-audio-capture={tmp_path / 'spoken.wav'}"
    flags = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream", fake)
    with open_browser(*flags) as browser:
        page = browser.new_page()
        panel = open_panel(page, lab)
        before = ""
        for _ in range(2):  # take after take
            panel.get_by_role("button", name="Speak, 2 s").click()
            expect(panel.get_by_text("s left")).to_be_visible()
            # Until the answer is there, the player is that of the take before.
            page.wait_for_function(f"({SOURCE})() && ({SOURCE})() !== {before!r}")
            before = page.evaluate(SOURCE)
            expect(panel.get_by_text("Heard: the microphone of the browser, 2")).to_be_visible()
            y = heard_by(page)
            assert 2.0 <= len(y) / SR < 2.1
            assert match(y, recording) > 0.99
        panel.get_by_role("button", name="Speak, 2 s").click()
        page.wait_for_timeout(700)
        panel.get_by_role("button", name="Stop").click()  # a second press ends early
        expect(panel.get_by_text("Heard: the microphone of the browser, 0")).to_be_visible()
        page.screenshot(path=lab.shots / "spoken.png")


def test_a_browser_that_may_not_listen_says_so(lab: Lab):
    with open_browser() as browser:
        page = browser.new_page()
        panel = open_panel(page, lab)
        panel.get_by_role("button", name="Speak, 2 s").click()
        expect(
            panel.get_by_text("The browser may not use the microphone").or_(
                panel.get_by_text("The browser found no microphone")
            )
        ).to_be_visible()
        expect(panel.get_by_role("button", name="Speak, 2 s")).to_be_enabled()


@pytest.mark.parametrize(
    ("content", "buffers", "n"),
    [({"rate": 48_000}, [np.ones(9, "<f4").tobytes()], 9), ({}, [b"12345"], 1), ({}, [], 0)],
)
def test_whatever_a_page_sends_is_taken_to_the_gate(content, buffers, n):
    taken = []
    widget = BrowserMicrophone(lambda y, sr: taken.append((len(y), y.dtype, sr)), seconds=1.0)
    widget._receive(widget, content, buffers)
    assert taken == [(n, np.dtype("float32"), content.get("rate"))]
