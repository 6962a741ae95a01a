"""The first page of a run: its notebooks, its scores, its figures, and nothing that runs."""

from __future__ import annotations

import nbformat
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from page import HOSTILE, Page

from helpers.evaluation.scores import score_predictions
from helpers.report.pages import write_index
from helpers.runs import Run

NAME = HOSTILE.replace("/", "")


@pytest.fixture
def run(tmp_path) -> Run:
    """A run with one notebook, whose name, corpus, model and figure are markup."""
    run = Run(tmp_path / NAME)
    done = {"status": "done", "seconds": 1.25}
    record = {"corpora": HOSTILE, "status": "done", "notebooks": {"01_first": done}}
    run.save_json(record | {"data": {"synthetic": False}}, "run.json")
    emotions = {"emotion": ["sad", "angry"] * 20, "predicted": ["sad", "sad"] * 20}
    clips = pd.DataFrame(emotions | {"speaker": [f"own-{place % 4}" for place in range(40)]})
    score = score_predictions(clips, ["sad", "angry"], protocol="random-80-20", n_resamples=20)
    run.save_json({"protocols": {"random-80-20": {HOSTILE: score}}}, "metrics.json")
    run.save_text("", f"figures/01_a #{NAME}.png")
    return run


def test_scores_with_all_they_must_say(run):
    page = Page(write_index(run).read_text(encoding="utf-8"))
    metrics = run.read_json("metrics.json", made_by="06")
    low, high = metrics["protocols"]["random-80-20"][HOSTILE]["uar_interval"]
    row = page.row(HOSTILE, "random-80-20")
    assert row[2:] == [f"0.500 [{low:.3f}, {high:.3f}]", "0.500", "40 clips, 4 speakers"]
    assert "Synthetic" not in page.text
    assert ("a", {"href": "model_card.html"}) not in page.tags


def test_names_are_words_not_markup(run):
    page = Page(write_index(run).read_text(encoding="utf-8"))
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)
    assert "script" not in [tag for tag, _ in page.tags]
    assert f"Run {NAME}" in page.text and f"Corpora: {HOSTILE} · done" in page.text
    (image,) = [attrs for tag, attrs in page.tags if tag == "img"]
    assert image["alt"] == f"01 a #{NAME}".replace("_", " ")
    assert image["src"].startswith("figures/01_a%20%23%22%3E")  # "#" would end the name


def test_an_executed_notebook_becomes_a_page_once(run):
    widget = {"application/vnd.jupyter.widget-view+json": {"model_id": "x"}, "text/html": "words"}
    cell = new_code_cell("1 + 1", outputs=[new_output("display_data", data=widget)])
    nbformat.write(new_notebook(cells=[cell]), run.path("01_first.ipynb"))
    run.save_text("card", "model_card.html")
    index = Page(write_index(run).read_text(encoding="utf-8"))
    for name in ("01_first.html", "01_first.ipynb", "model_card.html"):
        assert ("a", {"href": name}) in index.tags
    text = run.path("01_first.html").read_text(encoding="utf-8")
    assert "words" in text and "widget-view" not in text and "<script>alert" not in text
    run.save_text("already there", "01_first.html")
    write_index(run)
    assert run.path("01_first.html").read_text(encoding="utf-8") == "already there"
