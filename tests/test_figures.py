"""Figures of the evaluation: what is drawn is what was measured."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from helpers.evaluation.calibration import measure_coverage, measure_reliability
from helpers.evaluation.groups import score_groups
from helpers.report import figures


def axes():
    return Figure().subplots()


SURE = np.array([0.2, 0.4, 0.6, 0.8] * 20)
RIGHT = np.random.default_rng(0).random(80) < SURE


def test_reliability_has_one_dot_per_bin():
    bins = measure_reliability(SURE, RIGHT)
    ax = figures.plot_reliability({"as trained": bins, "fitted": bins}, ax=axes(), title="ECE 0.1")
    first, second = ax.collections
    np.testing.assert_allclose(first.get_offsets(), bins[["confidence", "accuracy"]])
    assert [text.get_text() for text in ax.get_legend().texts] == ["as trained", "fitted"]
    assert ax.get_title() == "ECE 0.1" and first.get_paths() != second.get_paths()


@pytest.mark.parametrize(("threshold", "coverage"), [(0.0, 1.0), (0.5, 0.5), (0.9, None)])
def test_coverage_marks_the_threshold_in_use(threshold, coverage):
    curve = measure_coverage(SURE, RIGHT)
    ax = figures.plot_coverage(curve, threshold=threshold, target=0.8, ax=axes())
    dots = [line for line in ax.lines if line.get_marker() == "o"]
    if coverage is None:  # it is never sure
        assert dots == []
    else:
        row = curve[curve["coverage"] == coverage].iloc[0]
        np.testing.assert_allclose(dots[0].get_xydata(), [[coverage, row["accuracy"]]])


def make_answers() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    emotion = np.tile(["happy", "sad"], 60)
    wrong = np.where(emotion == "sad", "happy", "sad")
    said = np.where(rng.random(120) < 0.7, emotion, wrong)
    return pd.DataFrame({"emotion": emotion, "predicted": said, "path": "/a", "confidence": 0.5,
                         "speaker": np.repeat(list("abcd"), 30)})  # fmt: skip


def test_groups_are_named_with_their_size_the_best_first():
    answers = make_answers()
    groups, _ = score_groups(answers, {"speaker": answers["speaker"]}, ["happy", "sad"])
    ax = figures.plot_groups(groups, ax=axes())
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert len(labels) == 4 and all("(n 30, speakers 1)" in label for label in labels)
    assert ax.lines[0].get_xdata().tolist() == sorted(groups["uar"], reverse=True)
