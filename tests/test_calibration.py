"""Temperature, reliability, and when the model had better say nothing: worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss

from helpers.evaluation.calibration import (
    apply_temperature,
    choose_threshold,
    fit_temperature,
    measure_coverage,
    measure_reliability,
    summarise_calibration,
)

# ---------------------------------------------------------------------------- temperature

PROBABILITIES = arrays(
    "float64", st.tuples(st.integers(1, 30), st.just(4)), elements=st.floats(0, 1)
).map(lambda x: (x + 1e-9) / (x + 1e-9).sum(axis=1, keepdims=True))


def test_temperature_by_hand():
    # Temperature 1/2 squares the odds: 4 to 1 becomes 16 to 1; 2 takes the root: 2 to 1.
    odds = np.array([[0.8, 0.2]])
    np.testing.assert_allclose(apply_temperature(odds, 0.5), [[16 / 17, 1 / 17]])
    np.testing.assert_allclose(apply_temperature(odds, 2.0), [[2 / 3, 1 / 3]])
    np.testing.assert_allclose(apply_temperature(np.array([[1.0, 0.0]]), 1.0), [[1, 0]], atol=1e-11)


@settings(max_examples=40)
@given(PROBABILITIES, st.randoms(use_true_random=False))
def test_fitted_temperature_is_never_worse(probabilities, random):
    targets = np.asarray([random.randrange(4) for _ in probabilities])

    def loss(temperature: float) -> float:
        scaled = apply_temperature(probabilities, temperature)
        return log_loss(targets, scaled, labels=range(4))

    temperature = fit_temperature(probabilities, targets)
    assert 0.2 <= temperature <= 10
    assert loss(temperature) <= loss(1.0) + 1e-9


def test_overconfidence_by_hand():
    # Says 0.9 and is right 3 times of 4: best is 0.75, so odds 9 become 3 and T = ln 9 / ln 3 = 2.
    probabilities = np.array([[0.9, 0.1]] * 4)
    assert fit_temperature(probabilities, np.array([0, 0, 0, 1])) == pytest.approx(2.0, rel=1e-3)


def test_a_model_that_is_right_about_known_voices_is_not_made_surer():
    probabilities = np.array([[0.9, 0.1]] * 4)
    assert fit_temperature(probabilities, np.zeros(4, dtype=int)) == pytest.approx(0.2, rel=1e-2)
    assert fit_temperature(probabilities, np.zeros(4, dtype=int), lowest=1.0) == pytest.approx(1.0)
    assert choose_threshold(np.full(4, 0.9), np.ones(4, dtype=bool), target=0.8, lowest=0.5) == 0.5


# ---------------------------------------------------------------------------- reliability

#: Ten clips: 4 of 0.55 (2 right), 4 of 0.75 (3 right), 2 of 0.95 (1 right).
CONFIDENCE = np.array([0.55] * 4 + [0.75] * 4 + [0.95] * 2)
RIGHT = np.array([1, 1, 0, 0, 1, 1, 1, 0, 1, 0], dtype=bool)


def test_calibration_error_by_hand():
    table = measure_reliability(CONFIDENCE, RIGHT)
    assert table["confidence"].tolist() == pytest.approx([0.55, 0.75, 0.95])
    assert table["clips"].tolist() == [4, 4, 2]
    assert table["accuracy"].tolist() == [0.5, 0.75, 0.5]
    p = np.stack([CONFIDENCE, 1 - CONFIDENCE], axis=1)
    found = summarise_calibration(p, np.where(RIGHT, 0, 1), threshold=0.75)
    # 0.4 · |0.55 - 0.5| + 0.4 · |0.75 - 0.75| + 0.2 · |0.95 - 0.5|
    assert found["ece"] == pytest.approx(0.11)
    assert (found["n"], found["coverage"]) == (10, 0.6)
    assert found["accuracy_when_sure"] == pytest.approx(4 / 6)
    silent = summarise_calibration(p, np.where(RIGHT, 0, 1), threshold=1.0)
    assert silent["coverage"] == 0 and np.isnan(silent["accuracy_when_sure"])


@settings(max_examples=50)
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60))
def test_bins_are_those_of_scikit_learn(pairs):
    confidence, right = (np.array(column) for column in zip(*pairs, strict=True))
    table = measure_reliability(confidence, right)
    assert table["clips"].sum() == len(pairs)
    on_edge = np.isclose(confidence * 10, np.round(confidence * 10)).any()
    if not on_edge:  # a clip on an edge may go to either side
        true, said = calibration_curve(right, confidence, n_bins=10)
        np.testing.assert_allclose(table["accuracy"], true)
        np.testing.assert_allclose(table["confidence"], said)


@pytest.mark.parametrize(
    ("probabilities", "targets", "brier"),
    [
        ([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]], [0, 2], (0.14 + 0.01 + 0.64 + 0.81) / 2),
        ([[0.1, 0.9], [0.7, 0.3]], [1, 0], (0.02 + 0.18) / 2),
        ([[0.0, 1.0]], [0], 2.0),
        ([[1.0], [1.0]], [0, 0], 0.0),
    ],
    ids=["three classes, one of them absent", "two classes", "sure and wrong", "one class"],
)
def test_brier_score_by_hand(probabilities, targets, brier):
    found = summarise_calibration(np.array(probabilities), np.array(targets), threshold=0.0)
    assert found["brier"] == pytest.approx(brier)


# ---------------------------------------------------------------------------- abstaining


def test_coverage_by_hand():
    table = measure_coverage(CONFIDENCE, RIGHT)
    expected = [(0.55, 1.0, 0.6, 10), (0.75, 0.6, 4 / 6, 6), (0.95, 0.2, 0.5, 2)]
    for row, (threshold, coverage, accuracy, clips) in zip(
        table.itertuples(), expected, strict=True
    ):
        assert row.threshold == threshold and row.clips == clips
        assert (row.coverage, row.accuracy) == pytest.approx((coverage, accuracy))


@pytest.mark.parametrize(
    ("target", "threshold"),
    [(0.6, 0.0), (0.65, 0.75), (0.9, 0.75)],
    ids=["answers all", "reaches it", "comes nearest"],
)
def test_threshold_by_hand(target, threshold):
    assert choose_threshold(CONFIDENCE, RIGHT, target=target) == threshold


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60),
    st.floats(0.3, 0.95),
)
def test_threshold_keeps_its_promise_where_one_can(pairs, target):
    confidence, right = (np.array(column) for column in zip(*pairs, strict=True))
    threshold = choose_threshold(confidence, right, target=target)
    answered = confidence >= threshold
    assert answered.mean() >= 0.1
    table = measure_coverage(confidence, right).query("coverage >= 0.1")
    assert right[answered].mean() >= min(target, table["accuracy"].max()) - 1e-12
