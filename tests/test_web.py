"""``ser app``: the panel as a page of its own, in a real browser."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import soundfile
from browser import (
    SR,
    choose_file,
    click_timeline,
    heard_by,
    make_recording,
    match,
    open_browser,
)
from playwright.sync_api import Page, expect
from tiny import CLASSES, SETTINGS, build_tiny_model, write_large, write_voice

from helpers.models.modelfile import make_card, save_model

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def spoken(tmp_path_factory) -> Path:
    return write_voice(tmp_path_factory.mktemp("sound") / "my <voice>.wav", duration_s=4.0)


@pytest.fixture(scope="module")
def app(tmp_path_factory) -> Iterator[str]:
    """Address of a running app."""
    home = tmp_path_factory.mktemp("app")
    protocol = "speaker-independent"
    card = make_card(name="tiny", classes=CLASSES, settings=SETTINGS, protocol=protocol)
    rows = [
        (str(write_voice(home / f"{emotion}.wav", duration_s=2.0)), emotion, "me-1", "dogs", side)
        for emotion, side in (("sad", "test"), ("angry", "train"))
    ]
    columns = ["path", "emotion", "speaker", "text", protocol]
    pd.DataFrame(rows, columns=columns).to_csv(home / "utterances.csv", index=False)
    model = save_model(build_tiny_model(), home / "it's a model.keras", card)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "helpers.cli", "app", "--port", str(port), "--model", model]
    environment = os.environ | {"SER_OUTPUTS": str(home), "HOME": str(home)}
    url = f"http://127.0.0.1:{port}/"
    with open(home / "app.log", "wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        wait_for(url, server, home / "app.log")
        yield url
    finally:
        server.terminate()
        server.wait(30)


def wait_for(url: str, server: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + 90
    while time.monotonic() < end and server.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=60).close()
            return
        except OSError:
            time.sleep(0.5)
    pytest.fail(f"the app did not start: {log.read_text()}")


def open_page(browser, url: str, *, width: int, **look: str) -> Page:
    page = browser.new_page(viewport={"width": width, "height": 900}, **look)
    page.set_default_timeout(90_000)
    page.goto(url)
    expect(page.get_by_role("button", name="Speak, 3 s")).to_be_visible(timeout=90_000)
    return page


def test_two_visitors_speak_and_upload(app: str, spoken: Path, tmp_path: Path):
    flags = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")
    expect.set_options(timeout=60_000)  # a machine may be busy; what is there is seen at once
    with open_browser(*flags, f"--use-file-for-fake-audio-capture={spoken}") as browser:
        desk, phone = open_page(browser, app, width=1280), open_page(browser, app, width=390)
        phone.get_by_role("button", name="Speak, 3 s").click()
        heard = phone.get_by_text("Heard: the microphone, 3.0 s")
        expect(heard).to_be_visible(timeout=90_000)
        choose_file(desk, desk, spoken)
        expect(desk.get_by_text("Heard: my <voice>.wav, 4.0 s")).to_be_visible(timeout=90_000)
        expect(desk.get_by_text("the microphone")).to_have_count(0)
        for page, name in ((desk, "desk"), (phone, "phone")):
            expect(page.locator("audio").first).to_be_visible()
            expect(page.locator("img").first).to_be_visible()
            expect(page.get_by_text("Nothing that you upload or say is kept")).to_be_visible()
            # The room in which the server stands is nobody's business.
            expect(page.get_by_text("machine")).to_have_count(0)
            page.screenshot(path=tmp_path / f"{name}.png", full_page=True)
            # Neither code nor where the model lies is on the page.
            assert "import" not in page.locator("body").inner_text()
            assert str(tmp_path.parent) not in page.content()
        wide = phone.evaluate("document.documentElement.scrollWidth")
        assert wide <= 390


def test_what_is_spoken_arrives_and_live_mode_goes_on(app: str, tmp_path: Path):
    recording = make_recording()
    soundfile.write(tmp_path / "spoken.wav", recording, SR, subtype="PCM_16")
    flags = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")
    file = f"--use-file-for-fake-audio-capture={tmp_path / 'spoken.wav'}"
    with open_browser(*flags, file) as browser:
        page = open_page(browser, app, width=1280)
        page.get_by_role("button", name="Speak, 3 s").click()
        expect(page.get_by_text("Heard: the microphone, 3.0 s")).to_be_visible(timeout=90_000)
        assert match(heard_by(page), recording) > 0.99
        page.get_by_role("button", name="Live").click()
        page.wait_for_timeout(10_000)
        drawn = page.locator(".ser-recorder canvas").get_attribute("data-estimates")
        print(f"{int(drawn) / 10:.1f} estimates a second")  # depends on who else uses this machine
        assert int(drawn) > 2
        page.get_by_role("button", name="Stop").click()
        heard = page.get_by_text(re.compile(r"Heard: the microphone, (9|1\d)\."))
        expect(heard).to_be_visible(timeout=90_000)


def test_a_microphone_that_is_not_allowed_or_not_there_is_explained(app: str):
    for flags, said in (
        (["--use-fake-device-for-media-stream"], "The browser may not use the microphone"),
        ([], "The browser found no microphone"),
    ):
        with open_browser(*flags) as browser:
            page = open_page(browser, app, width=390)
            page.get_by_role("button", name="Speak, 3 s").click()
            expect(page.get_by_text(said)).to_be_visible(timeout=30_000)


def test_a_test_clip_of_the_run_is_picked_and_heard(app: str):
    with open_browser() as browser:
        page = open_page(browser, app, width=390)
        menu = page.locator(".widget-dropdown select").first
        expect(menu.locator("option")).to_have_text(["sad · me-1 · dogs"])
        page.get_by_role("button", name="Listen").click()
        expect(page.get_by_text("The clip is labelled sad")).to_be_visible(timeout=60_000)
        expect(page.locator("audio").first).to_be_visible()


def test_an_upload_that_is_too_much_or_no_recording_ends_nothing(app: str, tmp_path: Path):
    large = write_large(tmp_path / "an hour.wav")
    assert large.stat().st_size > 50e6
    (tmp_path / "notes.txt").write_text("Dear diary, today I recorded nothing at all. " * 500_000)
    spoken = write_voice(tmp_path / "spoken.wav", duration_s=2.0)
    with open_browser() as browser:
        page = open_page(browser, app, width=1280)
        for path, said in (
            (large, "an hour.wav: 52 MB, expected at most 50 MB"),
            (tmp_path / "notes.txt", "notes.txt: found text"),
            (spoken, "Heard: spoken.wav, 2.0 s"),  # the session is alive
        ):
            choose_file(page, page, path)
            expect(page.get_by_text(said)).to_be_visible(timeout=90_000)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_has_the_colours_of_the_visitors_system(app: str, scheme: str, spoken: Path):
    with open_browser() as browser:
        page = open_page(browser, app, width=390, color_scheme=scheme)
        choose_file(page, page, spoken)
        expect(page.locator("audio").first).to_be_visible(timeout=90_000)
        ground = lightness(page, "body", "backgroundColor")
        assert ground < 64 if scheme == "dark" else ground > 224
        for place in ("p", ".ser-words", ".ser-row select", ".jp-OutputArea div"):
            ink = lightness(page, place, "color")
            assert abs(ink - ground) > 128, f"{place} cannot be read"


def lightness(page: Page, place: str, kind: str) -> float:
    """Mean of red, green and blue of the first such element, 0 to 255."""
    color = page.locator(place).first.evaluate(f"e => getComputedStyle(e).{kind}")
    return sum(map(float, re.findall(r"[\d.]+", color)[:3])) / 3


def test_a_click_on_the_timeline_plays_from_there(app: str, tmp_path: Path):
    spoken = write_voice(tmp_path / "long.wav", duration_s=20.0)
    with open_browser() as browser:
        page = open_page(browser, app, width=1280)
        choose_file(page, page, spoken)
        click_timeline(page, duration_s=20.0)
