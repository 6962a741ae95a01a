"""The model card: the figures of the metrics and no others, safe to open, honest about gaps."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from browser import open_browser
from playwright.sync_api import Browser

from helpers.evaluation.scores import score_predictions
from helpers.features.extract import FeatureSettings
from helpers.models.modelfile import make_card
from helpers.report.card import describe_model, render_card
from helpers.report.plots import SYNTHETIC_NOTICE

CLASSES = ["neutral", "happy", "sad"]
MAIN = "speaker-independent"
HOSTILE = '"><img src=x onerror=alert(1)></td><script>alert(2)</script>&amp;'
_VOID = {"meta", "link", "br", "img", "hr", "input"}


class Page(HTMLParser):
    """What a browser would make of the page: tags that fit, tables, words."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == [], "tags that are not closed"

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag == "br":
            self.handle_data(" ")

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes another tag"

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.text += data
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data

    def row(self, *start: str) -> list[str]:
        """The one row whose first cells are these."""
        (found,) = [row for row in self.rows if row[: len(start)] == list(start)]
        return found


def make_answers(classes: list[str], *, hit: float, n: int = 120, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    true = np.arange(n) % len(classes)
    said = np.where(rng.random(n) < hit, true, rng.integers(len(classes), size=n))
    names = np.asarray(classes, dtype=object)
    return pd.DataFrame(
        {
            "emotion": names[true],
            "predicted": names[said],
            "speaker": [f"own-{place % 4}" for place in range(n)],
        }
    )


def score(classes: list[str], protocol: str, *, hit: float, seed: int = 0) -> dict:
    return copy.deepcopy(_score(tuple(classes), protocol, hit, seed))


@cache
def _score(classes: tuple[str, ...], protocol: str, hit: float, seed: int) -> dict:
    answers = make_answers(list(classes), hit=hit, seed=seed)
    return score_predictions(answers, list(classes), protocol=protocol, n_resamples=100)


def make_metrics(classes: list[str] = CLASSES, corpus: str = "ravdess") -> dict:
    """As notebook 06 writes it, with all its parts; not plain JSON yet."""
    best = score(classes, MAIN, hit=0.7)
    models = {"cnn": best, "model.keras": best, "lstm": score(classes, MAIN, hit=0.5, seed=1)}
    models |= {"svm": score(classes, MAIN, hit=0.4, seed=2), "chance": score(classes, MAIN, hit=0)}
    cross = {"train": corpus, "test": "tess", "model": "linear"}
    return {
        "selected": "cnn",
        "data": {
            "corpora": [corpus],
            "synthetic": False,
            "licences": {corpus: "CC BY-NC-SA 4.0"},
            "classes": classes,
            "protocols": [MAIN, "random-80-20"],
            "fold": 3,
            "clips": 720,
            "rejected": 2,
            "fingerprint": "abc123",
        },
        "protocols": {
            MAIN: models,
            "random-80-20": {"mfcc_lstm": score(classes, "random-80-20", hit=0.9)},
        },
        "calibration": {
            **{"temperature": 1.2345, "threshold": 0.4567, "ece": 0.0321, "brier": 0.4321},
            **{"n": 120, "coverage": 0.6543, "accuracy_when_sure": 0.8123, "target": 0.8},
        },
        "groups": [
            {"grouping": "sex", "group": "female", "n": 60, "n_speakers": 2, "uar": 0.6111,
             "low": 0.5222, "high": 0.7333},
            {"grouping": "sex", "group": "male", "n": 61, "n_speakers": 2, "uar": 0.7111,
             "uar_interval": [0.6222, 0.8333]},
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
        "leakage": {"leaky": score(classes, "leaky", hit=0.95)},
        "cross_corpus": [cross | score(classes, "cross-corpus", hit=0.3)],
    }  # fmt: skip


def make_model_card(classes: list[str] = CLASSES, corpus: str = "ravdess", **facts) -> dict:
    speakers = {"train": ["a", "b", "c"], "validation": ["d"], "test": ["e", "f", "g", "h"]}
    return make_card(
        name="cnn", classes=classes, settings=FeatureSettings(), temperature=1.2345,
        **{
            "corpora": [corpus], "protocol": MAIN, "speakers": speakers, "fingerprint": "abc123",
            "clips": {"train": 480, "validation": 120, "test": 121}, "parameters": 147_996,
            "licences": {corpus: "CC BY-NC-SA 4.0"}, "synthetic": False,
            "training": {"epochs": 80, "learning_rate": 0.0015},
        } | facts,
    )  # fmt: skip


def render(card: dict | None = None, metrics: dict | None = None) -> Page:
    return Page(render_card(describe_model(card or make_model_card(), metrics)))


# ---------------------------------------------------------------------------- figures


def test_scores_are_those_of_the_metrics_with_all_they_must_say():
    metrics = make_metrics()
    page = render(metrics=metrics)
    for name, label in (("model.keras", "this model"), ("lstm", "lstm"), ("svm", None)):
        found = metrics["protocols"][MAIN][name]
        row = page.row(label or "SVM on functionals", MAIN)
        for cell, measure in zip(row[2:5], ("uar", "accuracy", "macro_f1"), strict=True):
            low, high = found[f"{measure}_interval"]
            assert cell == f"{found[measure]:.3f} [{low:.3f}, {high:.3f}]"
        assert row[5] == "120 clips of 4 speakers 95 % interval over speakers"
    assert page.row("mfcc_lstm", "random-80-20")
    best = metrics["protocols"][MAIN]["model.keras"]
    assert f"Of 100 such clips, it names about {100 * best['accuracy']:.0f} rightly" in page.text
    assert "By chance, UAR would be 0.333" in page.text


def test_this_model_comes_first_and_once():
    page = render(metrics=make_metrics())
    start = page.rows.index(["model", "protocol", "UAR", "accuracy", "macro F1", "n"])
    names = [row[0] for row in page.rows[start + 1 : start + 6]]
    assert names == ["this model", "lstm", "SVM on functionals", "chance", "mfcc_lstm"]


def test_every_emotion_with_its_figures():
    metrics = make_metrics()
    page, found = render(metrics=metrics), metrics["protocols"][MAIN]["model.keras"]
    for place, name in enumerate(CLASSES):
        one = found["by_emotion"][name]
        figures, counts = [row for row in page.rows if row[:1] == [name]]
        for cell, measure in zip(figures[1:3], ("recall", "precision"), strict=True):
            low, high = one[f"{measure}_interval"]
            assert cell == f"{one[measure]:.3f} [{low:.3f}, {high:.3f}]"
        assert figures[3:] == [f"{one['f1']:.3f}", "40"]
        assert counts[1:] == [str(n) for n in found["confusion"][place]]


def test_calibration_groups_and_checks():
    page = render(metrics=make_metrics())
    values = {row[0].split(",")[0].split(":")[0]: row[1] for row in page.rows if len(row) == 2}
    assert values["temperature"] in ("1.234", "1.235")
    assert values["threshold"] in ("0.457", "0.4567")  # with the test side, and as a setting
    assert values["expected calibration error (ECE)"] == "0.032"
    assert values["Brier score"] == "0.432"
    assert values["share of the clips that it is sure of"] == "0.654"
    assert values["share of these that is right"] == "0.812"
    female, male = page.row("sex", "female"), page.row("sex", "male")
    assert female[2:] == [MAIN, "0.611 [0.522, 0.733]", "60 clips of 2 speakers 95 % interval"]
    assert male[3] == "0.711 [0.622, 0.833]"
    assert "sex: gap 0.100 between female and male, 0.075 allowed (121 clips)." in page.text
    failed = page.row("✗ failed")
    assert failed[1:] == ["white noise", "UAR drop", "0.123", "0.050", "118"]
    assert page.row("✓ passed")[1:] == ["gain", "unchanged", "0.988", "0.950", "119"]
    assert "1 of 2 checks passed" in page.text  # what could not be judged is neither


def test_leak_and_other_corpora():
    metrics = make_metrics()
    page = render(metrics=metrics)
    leak, cross = metrics["leakage"]["leaky"], metrics["cross_corpus"][0]
    assert page.row("leaky")[1].startswith(f"{leak['uar']:.3f} [")
    row = page.row("ravdess", "tess", "linear", "cross-corpus")
    assert row[4].startswith(f"{cross['uar']:.3f} [")


def test_data_and_settings():
    page = render(metrics=make_metrics())
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
    assert render_card(again) == render_card(found)
    assert found["not_measured"] == []
    # It lies in the model file, and is not taken for a fact when it is made again.
    assert describe_model(make_model_card() | {"description": found}, make_metrics()) == found


# ---------------------------------------------------------------------------- what is not there


def test_nothing_measured_says_so():
    for metrics in (None, {}):
        found = describe_model(make_model_card(), metrics)
        assert found["headline"] is None
        assert found["not_measured"] == [
            *("scores", "by_emotion", "calibration", "groups", "checks"),
            *("leakage", "cross_corpus"),
        ]
        page = Page(render_card(found))
        assert page.text.count("Not measured in this run.") == 5
        assert "was not measured in this run" in page.text
        for title in ("What a leak would promise", "On other corpora"):
            assert title not in page.text
        assert "0.000" not in page.text and "nan" not in page.text.lower()


def test_a_bare_card_has_a_page():
    page = render(make_card(name="x", classes=["a", "b"], settings=FeatureSettings()))
    assert "It knows 2 emotions (a, b)" in page.text
    assert "Not stated." in page.text
    Page(render_card(describe_model({})))


@pytest.mark.parametrize("key", sorted(make_metrics()))
@pytest.mark.parametrize("value", [None, [], {}, "?", 3, [None, 1, {}], {"a": None, "b": {}}])
def test_any_part_may_be_missing_or_odd(key, value):
    metrics = make_metrics() | {key: value}
    render(metrics=metrics)
    del metrics[key]
    render(metrics=metrics)


@pytest.mark.parametrize("key", sorted(make_model_card()))
@pytest.mark.parametrize("value", [None, [], {}, "?"])
def test_any_part_of_the_card_may_be_missing_or_odd(key, value):
    render(make_model_card() | {key: value}, make_metrics())


def test_a_score_that_does_not_say_all_is_not_shown():
    metrics = make_metrics()
    for missing in ("n", "uar_interval"):
        one = score(CLASSES, MAIN, hit=0.6, seed=5)
        one = {key: one[key] for key in ("protocol", "n", "uar", "uar_interval")}
        assert "half" in render(metrics=_with(metrics, "half", one)).text
        del one[missing]
        assert "half" not in render(metrics=_with(metrics, "half", one)).text
    metrics["groups"][0].pop("low")
    assert [row for row in render(metrics=metrics).rows if row[:1] == ["sex"]][0][1] == "male"


def _with(metrics: dict, name: str, one: dict) -> dict:
    protocols = metrics["protocols"]
    return metrics | {"protocols": {**protocols, MAIN: {**protocols[MAIN], name: one}}}


def test_metrics_of_an_older_run():
    # Before macro F1 and the emotions had intervals.
    metrics = make_metrics()
    one = metrics["protocols"][MAIN]["model.keras"]
    del one["macro_f1_interval"]
    for row in one["by_emotion"].values():
        del row["recall_interval"], row["precision_interval"]
    older = {key: metrics[key] for key in ("selected", "data")}
    page = render(metrics=older | {"protocols": {MAIN: {"model.keras": one}}})
    assert page.row("this model")[2].startswith(f"{one['uar']:.3f} [")
    assert "macro F1" not in page.text
    assert page.row("happy", f"{one['by_emotion']['happy']['recall']:.3f}")


def test_an_emotion_without_clips_has_no_figures():
    answers, classes = make_answers(CLASSES, hit=0.7), [*CLASSES, "boredom"]
    one = score_predictions(answers, classes, protocol=MAIN, n_resamples=50)
    page = render(metrics={"protocols": {MAIN: {"model.keras": one}}})
    assert page.row("boredom", "–") == ["boredom", "–", "–", "–", "0"]


# ---------------------------------------------------------------------------- words


def test_synthetic_models_warn_first():
    card = make_model_card(corpus="demo", synthetic=True, licences={"demo": "MIT, as this project"})
    page = render(card, make_metrics(corpus="demo"))
    place = page.text.index(SYNTHETIC_NOTICE)
    assert place < page.text.index("UAR")
    assert "your own voice" not in page.text
    real = render(metrics=make_metrics())
    assert SYNTHETIC_NOTICE not in real.text and "your own voice" in real.text


def test_misuse_and_the_law():
    text = render().text
    for word in ("hiring", "Policing", "exams", "lie detection", "at work"):
        assert word in text
    assert "Article 5(1)(f)" in text and "Regulation (EU) 2024/1689" in text
    assert "except for medical or safety reasons" in text


def test_people_are_the_measure_only_where_they_were_asked():
    def people(*corpora: str) -> list[float]:
        card = make_model_card() | {"corpora": list(corpora)}
        return [one["share"] for one in describe_model(card)["people"]]

    assert people("ravdess") == [0.6] and people("cremad") == [0.409]
    assert people("cremad", "ravdess", "tess") == [0.6, 0.409]
    assert people("tess", "my own") == []
    text = render(make_model_card(corpus="cremad"), make_metrics(corpus="cremad")).text
    assert "40.9 % of the cases (Cao et al. 2014" in text and "60 %" not in text


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
    card = make_model_card(corpus="own", licences={"own": licence})
    (row,) = describe_model(card)["licences"]
    assert row["licence"] == licence
    means = "; ".join(row["means"])
    assert all(word in means for word in said)
    assert not any(word in means for word in not_said)


def test_limits_follow_from_the_data():
    text = render().text
    assert "Voices learned from: 3; tested on: 4. With so few" in text
    assert "North American English" in text and "acted" in text
    own = render(make_model_card(corpus="mine"), make_metrics(corpus="mine")).text
    assert "acted" not in own and "English" not in own  # nobody knows
    assert "It knows 3 emotions (neutral, happy, sad)" in own


def test_scores_of_another_model_are_called_so():
    metrics = make_metrics()
    assert describe_model(make_model_card(), metrics)["warnings"] == []
    other = metrics | {"data": metrics["data"] | {"fingerprint": "another"}}
    assert "other recordings" in render(metrics=other).text
    assert "those of lstm, not of cnn" in render(metrics=metrics | {"selected": "lstm"}).text


# ---------------------------------------------------------------------------- a safe page


def make_hostile() -> str:
    classes = [HOSTILE, "喜び", "<b>sad"]
    metrics = make_metrics(classes, corpus=HOSTILE)
    odd = score(classes, HOSTILE, hit=0.5) | {"interval_unit": HOSTILE, "n": HOSTILE}
    metrics["protocols"][HOSTILE] = {HOSTILE: odd}
    metrics["leakage"][HOSTILE] = score(classes, HOSTILE, hit=0.5)
    metrics["cross_corpus"][0] |= {"train": HOSTILE, "test": HOSTILE, "model": HOSTILE}
    metrics["selected"] = HOSTILE
    for row in (*metrics["groups"], *metrics["gaps"], *metrics["checks"]):
        row |= {key: HOSTILE for key, value in row.items() if isinstance(value, str)}
    facts = {"licences": {HOSTILE: HOSTILE}, "fingerprint": HOSTILE, "training": {HOSTILE: HOSTILE}}
    card = make_model_card(classes, HOSTILE, **facts) | {"versions": {HOSTILE: HOSTILE}}
    card |= {"name": HOSTILE + "2", "input": HOSTILE, "protocol": MAIN}
    return render_card(describe_model(card, metrics))


def test_names_are_words_not_markup():
    page = Page(make_hostile())
    assert {tag for tag, _ in page.tags} & {"img", "script", "iframe"} == set()
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)
    assert page.text.count(HOSTILE) > 15
    assert "喜び" in page.text and "<b>sad" in page.text


@pytest.mark.parametrize("text", [render_card(describe_model(make_model_card(), make_metrics()))])
def test_the_page_needs_nothing_else(text):
    page = Page(text)
    assert text.startswith("<!doctype html>") and ("html", {"lang": "en"}) in page.tags
    for tag, attrs in page.tags:
        assert tag not in ("script", "iframe", "img", "object", "embed", "form")
        for name in ("src", "href", "action"):
            assert attrs.get(name, "data:,") == "data:,"
    assert not re.search(r"@import|url\(", text)
    assert "prefers-color-scheme:dark" in text
    assert len([tag for tag, _ in page.tags if tag == "h1"]) == 1


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as one:
        yield one


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1200])
@pytest.mark.parametrize("kind", ["real", "hostile", "empty"])
def test_the_page_opens_in_a_browser(browser, tmp_path: Path, kind, width):
    texts = {
        "real": lambda: render_card(describe_model(make_model_card(), make_metrics())),
        "hostile": make_hostile,
        "empty": lambda: render_card(describe_model({})),
    }
    (tmp_path / "card.html").write_text(texts[kind](), encoding="utf-8")
    context = browser.new_context(viewport={"width": width, "height": 800})
    page, said = context.new_page(), []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
    asked = []
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
