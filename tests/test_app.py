"""The seven notebooks as a person meets them: JupyterLab in a real browser, and the live panel."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import nbformat
import numpy as np
import pytest
import soundfile
from browser import (
    Lab,
    assert_all_ran,
    choose_file,
    open_browser,
    open_lab,
    run_notebook_in_lab,
    screenshot,
)
from playwright.sync_api import Browser, Locator, Page, expect
from tiny import write_voice

from helpers.runs import NOTEBOOKS, PROJECT_ROOT

#: A reader's run with little training: parameters, not another path.
SHORT = {"N_DRAWS": 1, "PANEL": '"run"'}

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=60_000)  # a machine may be busy; what is there is seen at once
    with open_browser() as one:
        yield one


@pytest.fixture(scope="module")
def lab(demo_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """JupyterLab on a copy of the notebooks, beside a copy of a finished run to write into."""
    home = tmp_path_factory.mktemp("lab")
    folder = home / "notebooks"
    folder.mkdir()
    for name in NOTEBOOKS:
        notebook = nbformat.read(PROJECT_ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
        for cell in notebook.cells:
            if "parameters" in cell.metadata.get("tags", []):
                for key, value in SHORT.items():
                    cell.source = re.sub(rf"(?m)^{key} = \S+", f"{key} = {value}", cell.source)
        if name == "03_augment":  # what comes after the sliders was run by papermill
            sliders = next(n for n, c in enumerate(notebook.cells) if "FloatSlider(" in c.source)
            notebook.cells = notebook.cells[: sliders + 1]
        nbformat.write(notebook, folder / f"{name}.ipynb")
    outputs = home / "outputs"
    shutil.copytree(demo_run, outputs)
    with open_lab(folder, home, SER_OUTPUTS=str(outputs)) as one:
        yield one


@pytest.fixture
def page(browser: Browser, lab: Lab) -> Iterator[Page]:
    """A fresh window; afterwards its kernels are shut down, as TensorFlow keeps a lot of memory."""
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    context.set_default_timeout(60_000)
    yield context.new_page()
    context.close()
    for kernel in lab.request("api/kernels"):
        lab.request(f"api/kernels/{kernel['id']}", method="DELETE")


def test_clips_are_browsed_in_jupyterlab(page: Page, lab: Lab):
    """01: choose an emotion, step on, see and hear."""
    notebook = run_notebook_in_lab(page, lab, "01_explore.ipynb")
    assert_all_ran(page, notebook)
    panel = page.locator(".jp-Notebook .widget-vbox").first
    picture = panel.locator("img")
    panel.get_by_label("emotion").select_option("sad")
    expect(picture).to_have_attribute("alt", re.compile(r"^sad · .* · one of 80 clips"))
    before = picture.get_attribute("src")
    panel.get_by_label("clip").fill("2")
    panel.get_by_label("clip").press("Enter")
    expect(picture).not_to_have_attribute("src", before)
    expect_sound_and_picture(panel)
    screenshot(page, lab.shots / "01_browsed.png")


def test_the_sliders_of_03_are_drawn_in_jupyterlab(page: Page, lab: Lab):
    """The notebooks between have no widgets: papermill runs the same kernel on the same cells."""
    notebook = run_notebook_in_lab(page, lab, "03_augment.ipynb")
    assert_all_ran(page, notebook)
    expect(page.locator(".widget-slider")).to_have_count(3)
    expect(page.locator(".widget-vbox audio")).to_be_visible()


def test_the_panel_answers_in_jupyterlab(page: Page, lab: Lab, tmp_path: Path):
    """07: choose a clip, upload a voice, a noise and a text file; read the answers."""
    notebook = run_notebook_in_lab(page, lab, "07_predict_live.ipynb")
    assert_all_ran(page, notebook)
    panel = page.locator(".jp-Notebook .widget-vbox").first
    expect(panel.get_by_text("says nothing about real speech")).to_be_visible()

    samples = panel.locator(".widget-dropdown select").first
    emotion = samples.locator("option").nth(3).inner_text().split()[0]
    samples.select_option(index=3)
    panel.get_by_role("button", name="Listen").click()
    expect_answer(panel)
    expect(panel.get_by_text(f"The clip is labelled {emotion}")).to_be_visible()
    screenshot(page, lab.shots / "07_sample.png")

    write_voice(tmp_path / "my <voice>.wav", duration_s=2.0)
    choose_file(page, panel, tmp_path / "my <voice>.wav")
    expect(panel.get_by_text("Heard: my <voice>.wav, 2.0 s")).to_be_visible()
    expect_answer(panel)
    screenshot(page, lab.shots / "07_upload.png")

    soundfile.write(tmp_path / "fan.wav", np.random.default_rng(0).normal(0, 0.1, 44_100), 44_100)
    choose_file(page, panel, tmp_path / "fan.wav")
    expect(panel.get_by_text("No speech").first).to_be_visible()

    (tmp_path / "notes.txt").write_text("Dear diary, today I recorded nothing at all.")
    choose_file(page, panel, tmp_path / "notes.txt")
    expect(panel.get_by_text("notes.txt: found text")).to_be_visible()

    expect(panel.get_by_role("button", name="Speak, 3 s")).to_be_enabled()
    assert "Traceback" not in page.locator(".jp-Notebook").inner_text()


def test_a_jupyter_server_shows_the_panel_alone(page: Page, lab: Lab):
    """As on mybinder.org, by the page's address there."""
    shutil.copy(PROJECT_ROOT / "helpers" / "app" / "page.ipynb", lab.folder)
    page.goto(f"{lab.url}/voila/render/page.ipynb?token={lab.token}")
    expect(page.get_by_role("button", name="Speak, 3 s")).to_be_enabled(timeout=120_000)
    assert "import" not in page.locator("body").inner_text()


def test_no_page_is_wider_than_a_phone(browser: Browser, demo_run: Path):
    context = browser.new_context(viewport={"width": 390, "height": 800}, offline=True)
    page = context.new_page()
    for path in sorted((demo_run / "demo").glob("*.html")):
        page.goto(path.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path.name
    context.close()


def expect_answer(panel: Locator) -> None:
    """Words, a player that holds a sound, and the picture are on the page."""
    said = re.compile(r"^(Not sure. Perhaps )?\w+, (over )?\d+%( sure)?$")
    expect(panel.get_by_text(said).first).to_be_visible()  # the history has it as well
    expect_sound_and_picture(panel)


def expect_sound_and_picture(panel: Locator) -> None:
    expect(panel.locator("img").first).to_be_visible()
    player = panel.locator("audio").first
    expect(player).to_have_js_property("error", None)
    player.evaluate("a => a.readyState ? 0 : new Promise(r => a.onloadedmetadata = r)")
    assert player.evaluate("a => a.duration") > 0.3
