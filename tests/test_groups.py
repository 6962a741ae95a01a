"""Who is served less well: gaps by hand, and an allowance that knows how few clips there are."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from helpers.evaluation.groups import (
    MAX_GAP,
    check_groups,
    check_scores,
    group_by_pitch,
    score_groups,
)

CLASSES = ["neutral", "happy", "sad", "angry"]


def make_answers(hits: dict[str, float], *, n: int, seed: int = 0) -> pd.DataFrame:
    """``n`` clips per emotion of each speaker, of which a share is recognised."""
    rng = np.random.default_rng(seed)
    rows = []
    for speaker, hit in hits.items():
        for place, emotion in enumerate(CLASSES):
            for right in rng.random(n) < hit:
                said = emotion if right else CLASSES[(place + 1) % 4]
                rows.append({"speaker": speaker, "emotion": emotion, "predicted": said})
    return pd.DataFrame(rows)


def test_gap_by_hand():
    answers = make_answers({"a": 1.0, "b": 0.0}, n=3)
    answers.loc[(answers["speaker"] == "b") & (answers["emotion"] == "sad"), "predicted"] = "sad"
    table, gaps = score_groups(answers, {"speaker": answers["speaker"]}, CLASSES)
    assert table["group"].tolist() == ["a", "b"] and table["uar"].tolist() == [1.0, 0.25]
    (gap,) = gaps.itertuples()
    assert gap.gap == 0.75 and (gap.worst, gap.best, gap.n) == ("b", "a", 24)
    (check,) = check_groups(gaps).itertuples()
    assert check.test == "groups by speaker" and "b" in check.measure
    assert check.found == 0.75 and not check.passed and check.n == 24


def test_allowance_grows_as_groups_shrink():
    def allowed(n: int) -> float:
        answers = make_answers({name: 0.6 for name in "abcd"}, n=n)
        sex = answers["speaker"].map({"a": "f", "b": "f", "c": "m", "d": "m"})
        _, gaps = score_groups(answers, {"sex": sex}, CLASSES)
        return gaps["allowed"][0]

    few, some, many = allowed(2), allowed(13), allowed(400)
    assert few > some > many == MAX_GAP
    # About 100 clips a group: the field's rule of thumb is 0.10 (arXiv 2312.06270); 0.135 is
    # sqrt(2 · 0.6 · 0.4 / 104) · 1.96, for two groups of 104 clips.
    assert some == pytest.approx(0.135, abs=0.02)


def test_groups_without_a_difference_fail_one_time_in_twenty():
    failed = 0
    for seed in range(200):
        answers = make_answers({name: 0.6 for name in "abcd"}, n=8, seed=seed)
        _, gaps = score_groups(answers, {"who": answers["speaker"]}, CLASSES, n_resamples=200)
        failed += not check_groups(gaps)["passed"].iloc[0]
    assert 2 <= failed <= 20


def test_only_emotions_that_all_groups_have_are_compared():
    # RAVDESS has no strong neutral: a group that cannot be wrong there would look better.
    answers = make_answers({"a": 0.5}, n=40)
    intensity = pd.Series(np.where(np.arange(len(answers)) % 2, "strong", "normal"))
    intensity[answers["emotion"] == "neutral"] = "normal"
    table, _ = score_groups(answers, {"intensity": intensity}, CLASSES)
    assert table["n"].sum() == 120


@pytest.mark.parametrize("name", ["own", ""], ids=["one group", "nobody knows"])
def test_what_is_no_grouping_is_left_out(name):
    answers = make_answers({"a": 0.5}, n=4)
    groups, gaps = score_groups(answers, {"sex": pd.Series(name, answers.index)}, CLASSES)
    assert groups.empty and gaps.empty and check_groups(gaps).empty


def test_pitch_groups_are_of_speakers():
    speakers = pd.Series(["low", "low", "low", "high", "high", "mute"], index=range(10, 16))
    hz = np.array([100, 120, 400, 180, 230, 100])  # one shout does not make a high voice
    prosody = pd.DataFrame(
        {"f0_st_mean": 12 * np.log2(hz / 100), "voiced_share": [0.5, 0.5, 0.5, 0.5, 0.5, 0.0]}
    )
    groups = group_by_pitch(speakers, prosody)
    assert groups.tolist() == ["up to 145 Hz"] * 3 + ["over 190 Hz"] * 2 + [""]
    assert groups.index.equals(speakers.index)


def test_scores_are_checked_by_hand():
    # angry 4 of 4, sad 1 of 4, and all mistakes are called angry.
    answers = pd.DataFrame(
        {
            "emotion": ["angry"] * 4 + ["sad"] * 4,
            "predicted": ["angry"] * 7 + ["sad"],
            "speaker": "a",
        }
    )
    table = check_scores(answers, CLASSES).set_index("measure")
    assert table["found"].to_dict() == pytest.approx(
        {
            "UAR": 0.625,
            "lowest recall: sad": 0.25,
            "lowest precision: angry": 4 / 7,
            "predicted against true share: sad": 3 / 8,
        }
    )
    assert table["passed"].tolist() == [True, False, True, False]
    assert table["n"].tolist() == [8, 4, 4, 8]
