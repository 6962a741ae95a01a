"""The recorder, in JupyterLab in a real browser that plays a recording into its microphone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd
import pytest
import soundfile
from browser import (
    SOURCE,
    SR,
    Lab,
    choose_file,
    click_timeline,
    heard_by,
    make_recording,
    match,
    open_browser,
    open_lab,
    run_notebook_in_lab,
)
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import Browser, Page, expect
from tiny import CLASSES, SETTINGS, build_tiny_model, voice, write_large, write_voice

from helpers.app.recorder import Recorder
from helpers.models.modelfile import make_card, save_model
from helpers.models.prediction import Predictor

CELL = """
from helpers.app.panel import Panel
from helpers.models.prediction import Predictor
predictor = Predictor("model.keras")
predictor.warm_up()
panel = Panel(predictor, record_s=4.0)
panel
"""


@pytest.fixture(scope="module")
def recording() -> np.ndarray:
    return make_recording()


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
    expect.set_options(timeout=60_000)  # a machine may be busy; what is there is seen at once
    run_notebook_in_lab(page, lab, "panel.ipynb")
    return page.locator(".jp-Notebook .widget-vbox").first


@pytest.fixture
def speaking(recording, tmp_path: Path) -> Iterator[Browser]:
    path = tmp_path / "spoken.wav"
    soundfile.write(path, recording, SR, subtype="PCM_16")
    fake = f"--use-file-for-fake-audio-capture={path}"
    flags = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream", fake)
    with open_browser(*flags) as browser:
        yield browser


@pytest.mark.browser
def test_what_is_spoken_into_the_browser_arrives(speaking: Browser, lab: Lab, recording):
    page = speaking.new_page()
    panel = open_panel(page, lab)
    before = ""
    for _ in range(2):  # take after take
        panel.get_by_role("button", name="Speak, 4 s").click()
        expect(panel.get_by_text("s left")).to_be_visible()
        # Until the answer is there, the player is that of the take before.
        page.wait_for_function(f"({SOURCE})() && ({SOURCE})() !== {before!r}")
        before = page.evaluate(SOURCE)
        expect(panel.get_by_text("Heard: the microphone, 4.0 s").first).to_be_visible()
        y = heard_by(page)
        assert 4.0 <= len(y) / SR < 4.1
        assert match(y, recording) > 0.99
    page.locator(".ser-words").click()
    page.keyboard.press("Space")
    expect(panel.get_by_text(re.compile(r"[0-2]\.\d s left"))).to_be_visible()  # a second was heard
    page.keyboard.press("Space")  # a second press ends early
    expect(panel.get_by_text(re.compile("Heard: the microphone, [0-3]"))).to_be_visible()
    expect(panel.locator("audio")).to_have_count(1 + 3)  # the answer, and those before
    with page.expect_download() as download:
        panel.get_by_role("link", name="Answers so far (3)").click()
    table = pd.read_csv(download.value.path())
    assert table["file"].tolist() == ["the microphone"] * 3
    assert set(CLASSES) < set(table.columns)
    page.screenshot(path=lab.shots / "spoken.png")


#: Notes what is drawn, whenever something is.
WATCH = """() => {
    const strip = document.querySelector('.ser-recorder canvas');
    window.drawn = [];
    new MutationObserver(() => {
        const { estimates, heard, sent } = strip.dataset;
        window.drawn.push([estimates, heard, sent].map(Number));
    }).observe(strip, { attributeFilter: ["data-sent"] });
}"""


@pytest.mark.browser
def test_live_mode_says_what_it_hears_while_it_hears_it(speaking: Browser, lab: Lab, recording):
    page = speaking.new_page()
    panel = open_panel(page, lab)
    strip = panel.locator("canvas")
    page.evaluate(WATCH)
    panel.get_by_role("button", name="Live").click()
    expect(strip).to_have_attribute("data-estimates", re.compile("."))
    page.wait_for_timeout(10_000)
    drawn = pd.DataFrame(page.evaluate("window.drawn"), columns=["place", "heard_s", "sent_s"])
    print(f"{len(drawn) / 10:.1f} estimates a second")  # depends on who else uses this machine
    assert len(drawn) > 2 and drawn["heard_s"].iloc[-1] > 5
    # Every estimate is drawn once, in order, each is of newer sound, and when it is drawn no other
    # piece of sound waits for its estimate.
    assert drawn["place"].tolist() == list(range(1, len(drawn) + 1))
    assert drawn["heard_s"].is_monotonic_increasing and drawn["heard_s"].is_unique
    np.testing.assert_allclose(drawn["heard_s"], drawn["sent_s"], atol=1e-3)
    expect(panel.locator(".ser-words")).to_have_text(re.compile("|".join(CLASSES)))
    page.screenshot(path=lab.shots / "live.png")
    panel.get_by_role("button", name="Stop").click()
    expect(panel.get_by_text("Heard: the microphone, 1")).to_be_visible()
    y = heard_by(page)
    assert len(y) / SR > 10
    assert match(y[: 9 * SR], recording) > 0.99  # no gap while the kernel was busy
    click_timeline(page, duration_s=len(y) / SR)
    page.screenshot(path=lab.shots / "live_over.png")


@pytest.mark.browser
def test_a_microphone_that_is_not_allowed_is_explained(lab: Lab):
    with open_browser("--use-fake-device-for-media-stream") as browser:
        panel = open_panel(browser.new_page(), lab)
        panel.get_by_role("button", name="Speak, 4 s").click()
        expect(panel.get_by_text("The browser may not use the microphone")).to_be_visible()
        expect(panel.get_by_role("button", name="Speak, 4 s")).to_be_enabled()


@pytest.mark.browser
def test_a_browser_without_a_microphone_leaves_the_machine_and_uploads(lab: Lab, tmp_path: Path):
    with open_browser() as browser:
        page = browser.new_page()
        panel = open_panel(page, lab)
        expect(panel.get_by_title("which microphone")).to_have_text("the kernel's machine")
        reason = why_no_microphone()
        if reason:  # never record the person who runs the tests
            panel.get_by_role("button", name="Speak, 4 s").click()
            expect(panel.get_by_text(reason)).to_be_visible()
        expect(panel.get_by_role("button", name="Speak, 4 s")).to_be_enabled()
        spoken = write_voice(tmp_path / "spoken.wav", duration_s=2.0)
        for path, said in (
            (write_large(tmp_path / "an hour.wav"), "an hour.wav: 52 MB, expected at most 10 MB"),
            (spoken, "Heard: spoken.wav, 2.0 s"),  # the session is alive
        ):
            choose_file(page, panel, path)
            expect(panel.get_by_text(said)).to_be_visible()


def why_no_microphone() -> str:
    """What the panel must say here, or nothing if this machine has a microphone."""
    try:
        import sounddevice
    except OSError:  # the package is there, PortAudio is not
        return "sudo apt install libportaudio2"
    inputs = [device for device in sounddevice.query_devices() if device["max_input_channels"]]
    return "" if inputs else "No microphone could be used"


# ---- The kernel's side ----


def make_recorder(predictor=None, seconds: float = 1.0):
    taken, sent = [], []
    predictor = predictor or SimpleNamespace(classes=CLASSES)
    recorder = Recorder(predictor, taken.append, seconds=seconds, machine=False)
    recorder.send = sent.append
    return recorder, taken, sent


@pytest.mark.parametrize(
    ("buffers", "n"), [([np.ones(9, "<f4").tobytes()], 9), ([b"12345"], 1), ([], 0)]
)
def test_whatever_a_page_sends_is_taken(buffers, n):
    recorder, taken, sent = make_recorder()
    content = {"first": True, "last": True, "rate": 48_000}
    recorder._receive(recorder, content, buffers)
    assert [live.heard_s for live in taken] == [n / 48_000] and sent[0]["last"]


@pytest.mark.parametrize("rate", [None, 0, "fast", float("nan"), 10**9, 1e-300])
def test_a_page_that_does_not_say_its_rate_is_told_so(rate):
    recorder, taken, sent = make_recorder()
    recorder._receive(recorder, {"first": True, "last": True, "rate": rate}, [])
    assert taken == [] and "Load it again" in sent[0]["error"]


@pytest.mark.parametrize("content", ["hello", 3, None, ["first"]])
def test_a_message_that_is_none_is_answered_in_words(content):
    recorder, taken, sent = make_recorder()
    recorder._receive(recorder, content, [])
    assert taken == [] and "Load it again" in sent[0]["error"]


def test_sound_that_is_none_is_refused_and_endless_sound_ends():
    recorder, taken, sent = make_recorder()
    start = {"first": True, "rate": 2000}
    recorder._receive(recorder, start, [np.full(9, np.nan, "<f4").tobytes()])
    assert taken == [] and "Load it again" in sent[0]["error"]
    ten_minutes = np.ones(2000 * 600, "<f4").tobytes()
    for content in (start, {}):  # a page that never says that it is over
        recorder._receive(recorder, content, [ten_minutes])
    assert [live.heard_s for live in taken] == [1200.0] and recorder._live is None


def test_each_piece_is_answered_with_the_newest_estimate(tmp_path):
    card = make_card(name="tiny", classes=CLASSES, settings=SETTINGS)
    predictor = Predictor(save_model(build_tiny_model(), tmp_path / "model.keras", card))
    recorder, _, sent = make_recorder(predictor)
    y = voice(duration_s=5)
    for place, start in enumerate((0, 1600, 16_000, 64_000)):
        end = (1600, 16_000, 64_000, 80_000)[place]
        content = {"first": not place, "live": True, "rate": SR}
        recorder._receive(recorder, content, [y[start:end].tobytes()])
    assert [answer["said"] for answer in sent][0] == "too short"
    timeline = recorder._live.timeline
    # A piece that was late is one estimate, of the newest sound; what it covers has no gap.
    assert timeline["end_s"].tolist() == [0.1, 1.0, 4.0, 5.0]
    assert timeline["start_s"].tolist() == [0.0, 0.1, 1.0, 4.0]
    first = predictor.predict_audio(y[:16_000])[CLASSES].to_numpy()[0]
    second = predictor.predict_audio(y[16_000:64_000])[CLASSES].to_numpy()[0]
    np.testing.assert_allclose(
        timeline[CLASSES].iloc[2].astype(float), (first + second) / 2, atol=1e-6
    )
    assert sent[3]["probabilities"] == pytest.approx(timeline.iloc[3][CLASSES].to_dict(), abs=1e-4)
    np.testing.assert_array_equal(recorder._live.sound, y)
