"""Scores against scikit-learn and by hand; intervals that resample speakers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    precision_recall_fscore_support,
)

from helpers.evaluation.scores import (
    Bootstrap,
    accuracy,
    confusion_counts,
    score_by_emotion,
    score_predictions,
    uar,
    worst_confusions,
)

CLASSES = ["neutral", "happy", "sad", "angry"]


def make_predictions(
    n_speakers: int, *, n_clips: int = 40, hit: float = 0.7, spread: float = 0.25, seed: int = 0
) -> pd.DataFrame:
    """Clips of speakers who are recognised well or badly: ``hit`` on average, ± ``spread``."""
    rng = np.random.default_rng(seed)
    hits = np.clip(hit + np.linspace(-spread, spread, n_speakers), 0, 1)
    speakers = np.repeat(np.arange(n_speakers), n_clips)
    true = np.tile(np.arange(n_clips) % len(CLASSES), n_speakers)
    right = rng.random(len(true)) < hits[speakers]
    said = np.where(right, true, (true + rng.integers(1, len(CLASSES), len(true))) % len(CLASSES))
    names = np.asarray(CLASSES, dtype=object)
    return pd.DataFrame(
        {
            "path": [f"/{place}.wav" for place in range(len(true))],
            "sha256": [f"{place:05d}" for place in range(len(true))],
            "speaker": [f"own-{speaker}" for speaker in speakers],
            "emotion": names[true],
            "predicted": names[said],
            "confidence": rng.uniform(0.3, 1, len(true)),
        }
    )


LABELS = st.lists(
    st.tuples(st.sampled_from(CLASSES), st.sampled_from(CLASSES)), min_size=1, max_size=40
)


# ---------------------------------------------------------------------------- golden values


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
@settings(max_examples=60)
@given(LABELS)
def test_measures_agree_with_scikit_learn(pairs):
    true, said = map(pd.Series, zip(*pairs, strict=True))
    counts = confusion_counts(true, said, CLASSES)
    np.testing.assert_array_equal(counts, confusion_matrix(true, said, labels=CLASSES))
    assert uar(counts) == pytest.approx(balanced_accuracy_score(true, said))
    assert accuracy(counts) == pytest.approx(accuracy_score(true, said))
    table = score_by_emotion(counts, CLASSES)
    golden = precision_recall_fscore_support(true, said, labels=CLASSES, zero_division=0)
    for column, values in zip(("precision", "recall", "f1", "support"), golden, strict=True):
        np.testing.assert_allclose(table[column], values, err_msg=column)


def test_scores_are_those_of_scikit_learn_with_all_they_must_say():
    clips = make_predictions(6)
    score = score_predictions(clips, CLASSES, protocol="speaker-independent", n_resamples=50)
    assert score["uar"] == pytest.approx(
        balanced_accuracy_score(clips["emotion"], clips["predicted"])
    )
    assert score["macro_f1"] == pytest.approx(
        f1_score(clips["emotion"], clips["predicted"], average="macro")
    )
    assert (score["protocol"], score["n"], score["n_speakers"]) == ("speaker-independent", 240, 6)
    assert score["classes"] == CLASSES and score["chance"] == 0.25
    assert score["by_emotion"]["sad"]["support"] == 60
    assert score["confusion"].sum() == 240
    for measure in ("uar", "accuracy"):
        low, high = score[f"{measure}_interval"]
        assert 0 <= low < score[measure] < high <= 1


def test_emotions_that_do_not_occur_change_nothing():
    clips = make_predictions(6)
    four = score_predictions(clips, CLASSES, protocol="x", n_resamples=50)
    five = score_predictions(clips, [*CLASSES, "boredom"], protocol="x", n_resamples=50)
    for key in ("uar", "uar_interval", "accuracy", "macro_f1", "macro_f1_interval", "chance"):
        assert four[key] == five[key], key
    absent = five["by_emotion"]["boredom"]
    assert [absent[key] for key in ("precision", "recall", "f1", "support")] == [0, 0, 0, 0]
    assert np.isnan(absent["recall_interval"]).all() and absent["precision_interval"] == [0, 0]


# ---------------------------------------------------------------------------- intervals


def test_intervals_hang_on_the_seed_and_not_on_the_order_of_the_clips():
    clips = make_predictions(5)
    shuffled = clips.sample(frac=1, random_state=3)
    first, again, other = (
        score_predictions(table, CLASSES, protocol="x", n_resamples=300, seed=seed)["uar_interval"]
        for table, seed in ((clips, 1), (shuffled, 1), (clips, 2))
    )
    assert first == again != other


def test_two_kinds_of_speakers_give_the_interval_of_their_number():
    # Of four speakers two are always right and two never: a resample of speakers is right in k / 4
    # of its clips with k binomial(4, 1/2), whose 2.5 % and 97.5 % points are 0 and 1. Resampling
    # the 400 clips one by one would say 0.45 to 0.55.
    clips = make_predictions(4, n_clips=100, hit=1.0, spread=0.0)
    wrong = clips["speaker"].isin(["own-0", "own-1"])
    another = dict(zip(CLASSES, CLASSES[1:] + CLASSES[:1], strict=True))
    clips.loc[wrong, "predicted"] = clips.loc[wrong, "emotion"].map(another)
    score = score_predictions(clips, CLASSES, protocol="x")
    assert score["interval_unit"] == "speaker"
    assert score["accuracy"] == 0.5
    assert score["accuracy_interval"] == [0.0, 1.0]
    as_clips = score_predictions(clips.assign(speaker="own-0"), CLASSES, protocol="x")
    assert as_clips["interval_unit"] == "clip"
    np.testing.assert_allclose(as_clips["accuracy_interval"], [0.45, 0.55], atol=0.01)


def test_counts_apart_add_up():
    clips = make_predictions(3)
    speakers, _ = pd.factorize(clips["speaker"])
    halves = np.arange(len(clips)) % 2
    true, said = clips["emotion"], clips["predicted"]
    apart = confusion_counts(true, said, CLASSES, by=[speakers, halves])
    assert apart.shape == (3, 2, 4, 4)
    np.testing.assert_array_equal(apart.sum(axis=(0, 1)), confusion_counts(true, said, CLASSES))
    one = (speakers == 2) & (halves == 1)
    np.testing.assert_array_equal(apart[2, 1], confusion_counts(true[one], said[one], CLASSES))


def simulate(
    n_speakers: int, rng: np.random.Generator, *, n_classes: int = 8, n_clips: int = 8
) -> np.ndarray:
    """Confusion counts of speakers who differ as a whole and in each emotion (logistic-normal)."""
    skill = np.linspace(-0.8, 1.6, n_classes) + rng.normal(0, 0.6, (n_speakers, 1))
    hit = 1 / (1 + np.exp(-(skill + rng.normal(0, 0.8, (n_speakers, n_classes)))))
    right = rng.binomial(n_clips, hit)
    counts = np.zeros((n_speakers, n_classes, n_classes), dtype=np.int32)
    each = np.arange(n_classes)
    counts[:, each, each], counts[:, each, each - 1] = right, n_clips - right
    return counts


@pytest.mark.parametrize("n_speakers", [4, 10, 24])
def test_nominal_95_percent_hold_the_truth_in_92_to_97(n_speakers):
    rng = np.random.default_rng(n_speakers)
    truth = uar(simulate(200_000, rng, n_clips=1).sum(axis=0))
    n, inside, plain = 1000, 0, 0
    for seed in range(n):
        draws = Bootstrap.draw(simulate(n_speakers, rng), "speaker", n_resamples=400, seed=seed)
        low, high = draws.interval(uar)
        inside += low <= truth <= high
        low, high = np.percentile(uar(draws.samples), [2.5, 97.5])
        plain += low <= truth <= high
    assert 0.92 <= inside / n <= 0.97
    if n_speakers == 4:  # what the stretch is for
        assert plain / n < 0.87


def test_stretch_by_hand():
    counts = np.zeros((4, 2, 2), dtype=int)
    counts[:2, 0, 0], counts[2:, 0, 1] = 10, 10
    draws = Bootstrap.draw(counts, "speaker", n_resamples=500, seed=0)
    assert draws.interval(uar) == [0.0, 1.0]  # no wider than the range
    # sqrt(4 / 3) * 3.1824 (Student, 3 degrees of freedom) / 1.9600
    low, high = draws.interval(lambda counts: uar(counts) / 9, low=-9)
    assert 9 * (high - low) == pytest.approx(1.1547 * 3.1824 / 1.9600, rel=1e-4)


# ---------------------------------------------------------------------------- confusions


def test_worst_confusions_come_with_their_most_confident_clip():
    rows = [
        ("/1", "sad", "neutral", 0.5),
        ("/2", "sad", "neutral", 0.9),
        ("/3", "sad", "sad", 0.99),
        ("/4", "angry", "happy", 0.6),
        ("/5", "happy", "happy", 0.7),
        ("/6", "happy", "angry", 0.4),
    ]
    clips = pd.DataFrame(rows, columns=["path", "emotion", "predicted", "confidence"])
    worst = worst_confusions(clips, n=2)
    columns = ["emotion", "predicted", "clips", "share", "path", "confidence"]
    assert worst[columns].to_numpy().tolist() == [
        ["sad", "neutral", 2, pytest.approx(2 / 3), "/2", 0.9],
        ["angry", "happy", 1, 1.0, "/4", 0.6],
    ]
