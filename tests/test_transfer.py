"""A leak that is planted shows in the score; baselines know nothing but the training side."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from helpers.experiments.baselines import predict_baselines
from helpers.experiments.transfer import (
    LEAKAGE_PROTOCOLS,
    demonstrate_leak,
    load_others,
)
from helpers.models.recipes import RECIPES
from helpers.splits import make_split

sys.path.insert(0, str(ROOT / "benchmarks"))
from matrix import cross_corpora

CLASSES = ["neutral", "happy", "sad"]


def make_corpus(
    name: str,
    *,
    n_speakers: int = 6,
    emotion: float = 1.0,
    voice: float = 0.0,
    classes: list[str] = CLASSES,
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Clips and 12 columns in which the emotion, the voice and each clip have their share."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(9).normal(size=(len(CLASSES), 12))
    rows, values = [], []
    for speaker in range(n_speakers):
        # A voice shows its emotions in a way of its own.
        own = rng.normal(size=(len(classes), 12))
        for place, label in enumerate(classes):
            for clip in range(16):
                path, text = f"/{name}/{speaker}/{label}/{clip}", ("dog", "kids")[clip % 2]
                rows.append((path, name, f"{name}-{speaker}", "", label, text))
                meant = emotion * centres[CLASSES.index(label)] + voice * own[place]
                values.append(meant + rng.normal(size=12))
    clips = pd.DataFrame(rows, columns=["path", "corpus", "speaker", "gender", "emotion", "text"])
    return clips, pd.DataFrame(np.array(values, "float32")).add_prefix("x_")


# ---------------------------------------------------------------------------- leakage


def test_a_planted_leak_shows_and_strict_protocols_do_not_have_it():
    # Nothing but the voice tells the emotions apart, each voice in its own way.
    clips, x = make_corpus("own", emotion=0.0, voice=1.5)
    answers = demonstrate_leak(clips, x, x + 0.01)
    assert tuple(answers) == LEAKAGE_PROTOCOLS
    uar = {
        protocol: balanced_accuracy_score(table["emotion"], table["predicted"])
        for protocol, table in answers.items()
    }
    assert uar["leaky"] > 0.8 and uar["random-80-20"] > 0.7
    assert uar["speaker-independent"] < 0.55
    # Copies stand on the test side of the leaky protocol alone.
    assert [table["copy"].any() for table in answers.values()] == [True, False, False]


def test_where_nothing_can_be_learned_only_the_leak_scores():
    # Neither emotion nor voice: whoever is right has heard the other version of the clip.
    clips, x = make_corpus("own", n_speakers=12, emotion=0.0, voice=0.0)
    answers = demonstrate_leak(clips, x, x + 0.01)
    right = {name: (one["emotion"] == one["predicted"]).mean() for name, one in answers.items()}
    assert right["leaky"] > 0.7 and right["random-80-20"] < 0.5


def test_protocols_that_the_clips_do_not_allow_are_left_out():
    clips, x = make_corpus("own", n_speakers=1)
    answers = demonstrate_leak(clips, x, x)
    assert set(answers) == {"leaky", "random-80-20"}


# ---------------------------------------------------------------------------- baselines


def test_svm_learns_from_training_and_chooses_on_validation():
    clips, x = make_corpus("own")
    split = make_split(clips)
    facts = {"clips": clips, "split": split, "classes": CLASSES, "seed": 0}
    said = RECIPES["svm"].fit_predict(x, **facts)
    test = split == "test"
    assert balanced_accuracy_score(clips["emotion"][test], said["predicted"]) > 0.8
    # The cost is the one that answers the validation side best, here found by hand.
    held, train = split == "validation", split == "train"
    uars, answers = [], []
    for cost in (0.3, 1.0, 3.0, 10.0):
        model = make_pipeline(StandardScaler(), SVC(C=cost, class_weight="balanced"))
        model.fit(x[train].to_numpy("float64"), clips["emotion"][train])
        right = model.predict(x[held].to_numpy("float64"))
        uars.append(balanced_accuracy_score(clips["emotion"][held], right))
        answers.append(model.predict(x[test].to_numpy("float64")).tolist())
    assert said["predicted"].tolist() == answers[int(np.argmax(uars))]


def test_baselines_are_what_they_say():
    clips, x = make_corpus("own")
    more = clips["emotion"] == "sad"
    clips = pd.concat([clips, clips[more]], ignore_index=True)
    x = pd.concat([x, x[more]], ignore_index=True)
    clips["speaker-independent"] = make_split(clips)
    answers = predict_baselines(clips, x, "speaker-independent")
    assert set(answers) == {"svm", "majority", "chance"}
    assert set(answers["majority"]["predicted"]) == {"sad"}
    assert set(answers["chance"]["predicted"]) == set(CLASSES)
    tested = clips.loc[clips["speaker-independent"] == "test", "path"].tolist()
    assert all(table["path"].tolist() == tested for table in answers.values())


# ---------------------------------------------------------------------------- across corpora


def test_matrix_of_three_corpora():
    parts = [
        make_corpus("alpha", seed=1),
        make_corpus("beta", seed=2, classes=["happy", "sad"]),
        make_corpus("gamma", seed=3, emotion=-1.0),  # shows everything the other way round
    ]
    clips = pd.concat([part[0] for part in parts], ignore_index=True)
    x = pd.concat([part[1] for part in parts], ignore_index=True)
    scores = {(s["train"], s["test"]): s for s in cross_corpora(clips, x)}
    names = ("alpha", "beta", "gamma")
    assert set(scores) == {(a, b) for a in (*names, "all others") for b in names}
    assert all(s["classes"] == ["happy", "sad"] for s in scores.values())
    for name in names:
        assert scores[name, name]["protocol"] == "speaker-independent"
        assert scores[name, name]["n_speakers"] == 6  # every speaker was tested
        assert scores[name, name]["uar"] > 0.8
    assert scores["alpha", "beta"]["protocol"] == "cross-corpus"
    assert scores["alpha", "beta"]["uar"] > 0.8 and scores["alpha", "gamma"]["uar"] < 0.2
    assert scores["all others", "beta"]["uar"] < scores["alpha", "beta"]["uar"]


def test_one_corpus_or_nothing_in_common_gives_no_matrix():
    clips, x = make_corpus("alpha")
    assert cross_corpora(clips, x) == []
    other, y = make_corpus("beta", classes=["sad"])
    both = pd.concat([clips, other], ignore_index=True)
    assert cross_corpora(both, pd.concat([x, y], ignore_index=True)) == []


def test_one_speaker_alone_can_still_be_tested_by_others():
    a, x = make_corpus("alpha")
    b, y = make_corpus("beta", n_speakers=1)
    both = pd.concat([a, b], ignore_index=True)
    scores = cross_corpora(both, pd.concat([x, y], ignore_index=True))
    pairs = {(s["train"], s["test"]) for s in scores}
    assert pairs == {("alpha", "alpha"), ("alpha", "beta"), ("beta", "alpha")}


def test_without_other_corpora_there_is_nothing_to_cross(tmp_path, monkeypatch):
    monkeypatch.setenv("SER_DATA", str(tmp_path))
    clips, _ = make_corpus("alpha")
    assert load_others(clips, n=70).empty


@pytest.mark.corpora
def test_others_are_drawn_evenly_and_never_the_same_people(real_data):
    from helpers.corpora import load_corpora

    clips = load_corpora("ravdess")
    others = load_others(clips, n=70)
    assert "ravdess-song" not in set(others["corpus"])  # the same actors
    tess = others[others["corpus"] == "tess"]
    assert tess["emotion"].value_counts().to_dict() == dict.fromkeys(tess["emotion"].unique(), 10)
