"""The model card: the figures of the metrics and no others, safe to open, honest about gaps."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from browser import open_browser
from jinja2 import UndefinedError
from page import HOSTILE, Page

from helpers.evaluation.scores import score_predictions
from helpers.features.extract import FeatureSettings
from helpers.models.modelfile import make_card
from helpers.report.pages import SYNTHETIC_NOTICE, describe_model, render

CLASSES = ["neutral", "happy", "sad"]
MAIN = "speaker-independent"


def score(protocol: str, *, hit: float, classes: list[str] = CLASSES, unheard: str = "") -> dict:
    """Score of 120 answers, of which a share ``hit`` is right and the others are drawn."""
    rng = np.random.default_rng(0)
    true = np.arange(120) % len(classes)
    said = np.where(rng.random(120) < hit, true, rng.integers(len(classes), size=120))
    names = np.asarray(classes, dtype=object)
    speakers = [f"own-{place % 4}" for place in range(120)]
    answers = pd.DataFrame({"emotion": names[true], "predicted": names[said], "speaker": speakers})
    known = [*classes, unheard] if unheard else classes
    return score_predictions(answers, known, protocol=protocol, n_resamples=20)


def make_metrics(classes: list[str] = CLASSES, corpus: str = "ravdess") -> dict:
    """As notebook 06 writes it, with all its parts; not plain JSON yet."""
    shares = {"cnn": 0.7, "model.keras": 0.7, "lstm": 0.5, "svm": 0.4, "chance": 0}
    models = {name: score(MAIN, hit=hit, classes=classes) for name, hit in shares.items()}
    other = {"mfcc_lstm": score("random-80-20", hit=0.9, classes=classes)}
    cross = score("cross-corpus", hit=0.3, classes=classes)
    group = {"grouping": "sex", "n_speakers": 2}
    return {
        "selected": "cnn",
        "data": {
            "corpora": [corpus], "synthetic": False, "licences": {corpus: "CC BY-NC-SA 4.0"},
            "classes": classes, "protocols": [MAIN, "random-80-20"], "fold": 3, "clips": 720,
            "rejected": 2, "fingerprint": "abc123",
        },
        "protocols": {MAIN: models, "random-80-20": other},
        "calibration": {
            "temperature": 1.2345, "threshold": 0.4567, "ece": 0.0321, "brier": 0.4321, "n": 120,
            "coverage": 0.6543, "accuracy_when_sure": 0.8123, "target": 0.8,
        },
        "groups": [
            group | {"group": "female", "n": 60, "uar": 0.6111, "low": 0.5222, "high": 0.7333},
            group | {"group": "male", "n": 61, "uar": 0.7111, "low": 0.6222, "high": 0.8333},
        ],
        "gaps": [{"grouping": "sex", "n": 121, "gap": 0.1, "worst": "female", "best": "male",
                  "chance_gap": 0.05, "allowed": 0.075}],
        "checks": [
            {"test": "white noise", "measure": "UAR drop", "found": 0.1234, "limit": 0.05,
             "passed": np.bool_(False), "n": 118},
            {"test": "gain", "measure": "unchanged", "found": 0.9876, "limit": 0.95,
             "passed": True, "n": 119},
            {"test": "room", "measure": "unchanged", "found": float("nan"), "limit": None,
             "passed": None, "n": 0},
        ],
        "leakage": {"leaky": score("leaky", hit=0.95, classes=classes)},
        "cross_corpus": [cross | {"train": corpus, "test": "tess", "model": "linear"}],
    }  # fmt: skip


def make_model_card(classes: list[str] = CLASSES, corpus: str = "ravdess", **facts) -> dict:
    speakers = {"train": ["a", "b", "c"], "validation": ["d"], "test": ["e", "f", "g", "h"]}
    own = {
        "corpora": [corpus], "protocol": MAIN, "speakers": speakers, "fingerprint": "abc123",
        "clips": {"train": 480, "validation": 120, "test": 121}, "parameters": 147_996,
        "licences": {corpus: "CC BY-NC-SA 4.0"}, "synthetic": False,
        "training": {"epochs": 80, "learning_rate": 0.0015},
    }  # fmt: skip
    settings = FeatureSettings()
    card = make_card(name="cnn", classes=classes, settings=settings, temperature=1.2345, **own)
    return card | facts


def write(card: dict | None = None, metrics: dict | None = None) -> str:
    card = make_model_card() if card is None else card
    return render("card.html", **describe_model(card, metrics))


def read(card: dict | None = None, metrics: dict | None = None) -> Page:
    return Page(write(card, metrics))


def in_brackets(row: dict, measure: str) -> str:
    low, high = row[f"{measure}_interval"]
    return f"{row[measure]:.3f} [{low:.3f}, {high:.3f}]"


# ---------------------------------------------------------------------------- figures


def test_scores_are_those_of_the_metrics_with_all_they_must_say():
    metrics = make_metrics()
    page = read(metrics=metrics)
    titles = {"model.keras": "this model", "lstm": "lstm", "svm": "SVM on functionals"}
    for name, title in titles.items():
        found, row = metrics["protocols"][MAIN][name], page.row(title, MAIN)
        assert row[2:5] == [in_brackets(found, m) for m in ("uar", "accuracy", "macro_f1")]
        assert row[5] == "120 clips of 4 speakers 95 % interval over speakers"
    # This model first and once, then by UAR, then the other protocol.
    start = page.rows.index(["model", "protocol", "UAR", "accuracy", "macro F1", "n"])
    names = [row[0] for row in page.rows[start + 1 : start + 6]]
    assert names == [
        "this model",
        "lstm",
        "SVM on functionals",
        "guessing, in this test",
        "mfcc_lstm",
    ]
    best = metrics["protocols"][MAIN]["model.keras"]
    assert f"it names about {100 * best['accuracy']:.0f} correctly" in page.text
    assert "Guessing has a UAR of 0.333" in page.text


def test_every_emotion_with_its_figures():
    metrics = make_metrics()
    page, found = read(metrics=metrics), metrics["protocols"][MAIN]["model.keras"]
    for place, name in enumerate(CLASSES):
        one = found["by_emotion"][name]
        figures, counts = [row for row in page.rows if row[:1] == [name]]
        assert figures[1:3] == [in_brackets(one, "recall"), in_brackets(one, "precision")]
        assert figures[3:] == [f"{one['f1']:.3f}", "40"]
        assert counts[1:] == [str(n) for n in found["confusion"][place]]


def test_calibration_groups_and_checks():
    page = read(metrics=make_metrics())
    values = {row[0].split(",")[0].split(":")[0]: row[1] for row in page.rows if len(row) == 2}
    assert values["temperature"] in ("1.234", "1.235")
    assert values["threshold"] == "0.457"
    assert values["expected calibration error (ECE)"] == "0.032"
    assert values["Brier score"] == "0.432"
    assert values["share of the clips that it is sure of"] == "0.654"
    assert values["share of these answers that are right"] == "0.812"
    female, male = page.row("sex", "female"), page.row("sex", "male")
    assert female[2:] == [MAIN, "0.611 [0.522, 0.733]", "60 clips of 2 speakers 95 % interval"]
    assert male[3] == "0.711 [0.622, 0.833]"
    assert "sex: gap 0.100 between female and male, 0.075 allowed (121 clips)." in page.text
    failed = page.row("✗ failed")
    assert failed[1:] == ["white noise", "UAR drop", "0.123", "0.050", "118"]
    assert page.row("✓ passed")[1:] == ["gain", "unchanged", "0.988", "0.950", "119"]
    assert "1 of 2 checks passed" in page.text  # what could not be judged is neither


def test_leak_other_corpora_data_and_settings():
    metrics = make_metrics()
    page = read(metrics=metrics)
    assert page.row("leaky")[1] == in_brackets(metrics["leakage"]["leaky"], "uar")
    cross = page.row("ravdess", "tess", "linear", "cross-corpus")
    assert cross[4] == in_brackets(metrics["cross_corpus"][0], "uar")
    assert page.row("train", "480") == ["train", "480", "3"]
    assert page.row("test", "121") == ["test", "121", "4"]
    assert "clips in all: 720, left out: 2, fold: 3" in page.text and "abc123" in page.text
    assert page.row("parameters")[1] == "147996"
    assert "learning_rate 0.0015" in page.row("training")[1]  # settings are not rounded away
    assert "tensorflow" in page.row("versions")[1]
    assert "Livingstone SR, Russo FA (2018)" in page.text


def test_description_is_plain_json():
    found = describe_model(make_model_card(), make_metrics())
    again = json.loads(json.dumps(found, allow_nan=False))
    assert again == found
    # It lies in the model file, and is not taken for a fact when it is made again.
    assert describe_model(make_model_card(description=found), make_metrics()) == found


# ---------------------------------------------------------------------------- what is not there


def test_nothing_measured_says_so():
    assert describe_model(make_model_card())["headline"] is None
    page = read()
    assert page.text.count("Not measured in this run.") == 5
    assert "was not measured in this run" in page.text
    for words in ("What a leak would promise", "On other corpora", "0.000", "nan"):
        assert words not in page.text


@pytest.mark.parametrize("key", sorted({*make_metrics(), *make_model_card()}))
def test_any_part_may_be_missing(key):
    card, metrics = make_model_card(), make_metrics()
    card.pop(key, None)
    metrics.pop(key, None)
    assert "What it is not for" in read(card, metrics).text


@pytest.mark.parametrize("missing", ["protocol", "n", "uar_interval"])
def test_a_score_that_does_not_say_all_is_not_shown(missing):
    metrics = make_metrics()
    del metrics["protocols"][MAIN]["lstm"][missing]
    with pytest.raises((KeyError, UndefinedError), match=missing):
        read(metrics=metrics)


def test_an_emotion_without_clips_has_no_figures():
    one = score(MAIN, hit=0.7, unheard="boredom")
    page = read(metrics={"protocols": {MAIN: {"model.keras": one}}})
    assert page.row("boredom", "–") == ["boredom", "–", "–", "–", "0"]


# ---------------------------------------------------------------------------- words


def test_synthetic_models_warn_first():
    card = make_model_card(corpus="demo", synthetic=True, licences={"demo": "MIT, as this project"})
    text = read(card, make_metrics(corpus="demo")).text
    assert text.index(SYNTHETIC_NOTICE) < text.index("UAR")
    assert "your own voice" not in text
    real = read(metrics=make_metrics()).text
    assert SYNTHETIC_NOTICE not in real and "your own voice" in real


def test_misuse_and_the_law():
    text = read().text
    for words in ("hiring", "Policing", "lie detection", "Article 5(1)(f)", "2024/1689"):
        assert words in text


def test_people_are_the_measure_only_where_they_were_asked():
    text = read(make_model_card(corpus="cremad"), make_metrics(corpus="cremad")).text
    assert "40.9 % of the cases (Cao et al. 2014" in text and "60 %" not in text
    assert "People who hear" not in read(make_model_card(corpus="tess"), make_metrics()).text


@pytest.mark.parametrize(
    ("licence", "said", "not_said"),
    [
        ("CC BY-NC-SA 4.0", ["commercial", "same licence"], ["changed copies"]),
        ("CC BY-NC-ND 4.0", ["commercial", "changed copies"], ["same licence"]),
        ("ODbL 1.0", ["name the source", "same licence"], ["commercial"]),
        ("CC0 1.0", ["no conditions"], ["commercial", "source"]),
        ("research use, on request", ["for research"], ["commercial"]),
        ("yours to know", ["ask whoever owns"], ["no conditions"]),
    ],
)
def test_what_a_licence_means_for_the_model(licence, said, not_said):
    _, text, means = read(make_model_card(corpus="own", licences={"own": licence})).row("own")
    assert text == licence
    assert all(word in means for word in said)
    assert not any(word in means for word in not_said)


def test_limits_follow_from_the_data():
    text = read().text
    assert "Voices learned from: 3; tested on: 4. With so few" in text
    assert "24 actors say two sentences in a studio, in North American English." in text
    assert "These emotions were acted" in text
    own = read(make_model_card(corpus="mine"), make_metrics(corpus="mine")).text
    assert "acted" not in own and "English" not in own  # nobody knows
    assert "It knows 3 emotions (neutral, happy, sad)" in own


# ---------------------------------------------------------------------------- a safe page


def make_hostile() -> str:
    classes = [HOSTILE, "喜び", "<b>sad"]
    metrics = make_metrics(classes, corpus=HOSTILE) | {"selected": HOSTILE}
    odd = score(HOSTILE, hit=0.5, classes=classes) | {"interval_unit": HOSTILE, "n": HOSTILE}
    metrics["protocols"][HOSTILE] = {HOSTILE: odd}
    metrics["leakage"][HOSTILE] = odd
    metrics["cross_corpus"][0] |= {"train": HOSTILE, "test": HOSTILE, "model": HOSTILE}
    for row in (*metrics["groups"], *metrics["gaps"], *metrics["checks"]):
        row |= {key: HOSTILE for key, value in row.items() if isinstance(value, str)}
    keys = ("licences", "training", "versions")
    facts = {key: {HOSTILE: HOSTILE} for key in keys} | {"fingerprint": HOSTILE, "input": HOSTILE}
    card = make_model_card(classes, HOSTILE, name=HOSTILE + "2", **facts)
    return write(card, metrics)


PAGES = {
    "real": lambda: write(metrics=make_metrics()),
    "hostile": make_hostile,
    "empty": lambda: write({}),
}


@pytest.mark.parametrize("kind", PAGES)
def test_the_page_needs_nothing_else(kind):
    text = PAGES[kind]()
    page = Page(text)
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)
    assert (page.text.count(HOSTILE) > 15) == (kind == "hostile")
    assert text.startswith("<!doctype html>") and ("html", {"lang": "en"}) in page.tags
    tags = [tag for tag, _ in page.tags]
    assert not {"script", "iframe", "img", "object", "embed", "form"} & set(tags)
    linked = [attrs.get(name) for _, attrs in page.tags for name in ("src", "href", "action")]
    assert set(linked) == {None, "data:,"}
    assert "@import" not in text and "url(" not in text
    assert tags.count("h1") == 1


@pytest.fixture(scope="module")
def browser():
    with open_browser() as one:
        yield one


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1200])
@pytest.mark.parametrize("kind", PAGES)
def test_the_page_opens_in_a_browser(browser, tmp_path: Path, kind, width):
    (tmp_path / "card.html").write_text(PAGES[kind](), encoding="utf-8")
    context = browser.new_context(viewport={"width": width, "height": 800})
    page, said, asked = context.new_page(), [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: asked.append(request.url))
    page.goto((tmp_path / "card.html").as_uri())
    assert page.locator("h1").is_visible()
    assert page.locator("h2").count() >= 8
    # Wide tables scroll by themselves; the page does not.
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.emulate_media(color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light
    assert said == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    context.close()
