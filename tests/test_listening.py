"""Listening through a corpus: what the filters let pass, what is shown, and what is kept."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from matplotlib.image import imread
from tiny import tone, write_tone

from helpers.app.listening import ClipBrowser
from helpers.sound.audio import SAMPLE_RATE


@pytest.fixture
def clips(tmp_path: Path) -> pd.DataFrame:
    """Six clips of two speakers; the file of the last one is not there."""
    rows = [
        (speaker, emotion, intensity, f"a <b>{word}</b>")
        for word, (speaker, emotion, intensity) in enumerate(
            [
                *[("me-1", "sad", ""), ("me-1", "angry", "strong"), ("me-1", "Wut", "")],
                *[("me-2", "sad", ""), ("me-2", "angry", ""), ("me-2", "angry", "strong")],
            ]
        )
    ]
    table = pd.DataFrame(rows, columns=["speaker", "emotion", "intensity", "text"])
    table["path"] = [str(tmp_path / f"{n}.wav") for n in range(len(table))]
    for path in table["path"][:-1]:
        write_tone(Path(path))
    return table.assign(corpus="me", channel="speech")


@pytest.fixture
def browser(clips: pd.DataFrame):
    return ClipBrowser(clips)


def test_first_clip_is_shown_with_player_and_picture(browser, clips):
    assert browser.clip["path"] == clips.loc[0, "path"]
    page = browser.look.value
    assert "me-1" in page and "a &lt;b&gt;0&lt;/b&gt;" in page
    sound, picture = re.findall(r'src="data:(?:audio/flac|image/jpeg);base64,([^"]+)"', page)
    heard, sr = soundfile.read(io.BytesIO(base64.b64decode(sound)))
    assert sr == SAMPLE_RATE and np.abs(heard - tone()).max() < 1e-4
    assert imread(io.BytesIO(base64.b64decode(picture)), format="jpeg").shape[1] > 700
    # The same stands in a page without a kernel.
    bundle = browser._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle and bundle["text/html"] == page


def test_only_what_differs_is_a_filter(browser):
    assert list(browser.filters) == ["emotion", "speaker", "intensity"]
    # Ours first, then own names; an empty value can be chosen as such.
    names = [name for name, _ in browser.filters["emotion"].options]
    assert names == ["all", "sad", "angry", "Wut"]
    assert browser.filters["intensity"].options[1] == ("not said", "")


def test_filters_add_up_and_steps_go_around(browser, clips):
    browser.place.value = 6
    browser.filters["emotion"].value = "angry"
    assert (browser.count.value, browser.place.value) == ("of 3", 1)
    assert browser.clip["path"] == clips.loc[1, "path"]
    browser.filters["intensity"].value = "strong"
    assert browser.chosen["path"].tolist() == clips.loc[[1, 5], "path"].tolist()
    seen = []
    for _ in range(3):
        seen.append(browser.clip["path"])
        browser.on.click()
    assert seen == clips.loc[[1, 5, 1], "path"].tolist()
    browser.back.click()
    assert browser.clip["path"] == clips.loc[1, "path"]
    browser.filters["emotion"].value = browser.filters["intensity"].value = None
    assert browser.count.value == "of 6"


def test_nothing_passes_is_said_and_there_is_no_step(browser):
    browser.filters["emotion"].value = "Wut"
    browser.filters["speaker"].value = "me-2"
    assert browser.clip is None and "No clip is like that" in browser.look.value
    assert browser.back.disabled and browser.on.disabled
    browser.filters["speaker"].value = None
    assert not browser.on.disabled and "<audio" in browser.look.value


def test_file_that_is_gone_is_explained(browser):
    browser.place.value = 6
    assert "⚠" in browser.look.value and "5.wav" in browser.look.value
