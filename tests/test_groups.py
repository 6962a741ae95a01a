"""Who is served less well: gaps by hand, and an allowance that knows how few clips there are."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from helpers.evaluation.groups import (
    MAX_GAP,
    check_groups,
    check_scores,
    format_summary,
    group_by_pitch,
    score_groups,
    summarise,
)
from helpers.evaluation.scores import score_predictions

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


# --- folds and seeds ---


def fabricate(said: dict[tuple[int, int], list[str]]) -> pd.DataFrame:
    """Parts by seed and fold: fold 1 tests anna, fold 2 ben and carl, two clips each."""
    rows = []
    for (seed, fold), answers in said.items():
        speakers = ["anna"] if fold == 1 else ["ben", "carl"]
        for place, answer in enumerate(answers):
            speaker = speakers[place // 2]
            rows.append((f"{speaker}{place % 2}.wav", speaker, "ab"[place % 2], answer, fold, seed))
    columns = ["path", "speaker", "emotion", "predicted", "fold", "seed"]
    return pd.DataFrame(rows, columns=columns)


SAID = {
    (0, 1): ["a", "b"],  # both right
    (0, 2): ["a", "a", "b", "b"],  # one a of two, one b of two
    (1, 1): ["b", "b"],
    (1, 2): ["b", "b", "b", "b"],  # no a at all, every b
}
NAMES = {"model": "x", "n_folds": 2, "synthetic": False}


def test_mean_and_spread_by_hand():
    summary = summarise(fabricate(SAID), protocol="p", classes=["a", "b"], **NAMES)
    by_fold = {(one["seed"], one["fold"]): one for one in summary["by_fold"]}
    assert [by_fold[place]["uar"] for place in SAID] == [1.0, 0.5, 0.5, 0.5]
    assert by_fold[0, 2]["speakers"] == ["ben", "carl"] and by_fold[0, 2]["n"] == 4
    # Seed 0: a 2 of 3, b 2 of 3. Seed 1: a 0 of 3, b 3 of 3.
    uars = [summary["by_seed"][seed]["uar"] for seed in (0, 1)]
    assert uars == pytest.approx([2 / 3, 1 / 2])
    assert summary["uar"]["mean"] == pytest.approx(7 / 12)
    assert summary["uar"]["sd"] == pytest.approx((2 / 3 - 1 / 2) / 2**0.5)  # n - 1 is 1
    assert summary["accuracy"]["mean"] == pytest.approx(7 / 12)
    low, high = summary["uar"]["interval"]
    assert 0 <= low < 7 / 12 < high <= 1 and summary["interval_unit"] == "speaker"
    assert (summary["seeds"], summary["folds"], summary["model"]) == ([0, 1], [1, 2], "x")
    lines = format_summary(summary).splitlines()
    assert lines[1].split() == ["1", "0.750", "2", "anna"]
    assert "x · p · 6 clips of 3 speakers: UAR 0.583 ± 0.118 (2 seeds) [" in lines[3]


def test_one_seed_has_no_spread_and_the_interval_of_its_score():
    table = fabricate({place: said for place, said in SAID.items() if place[0] == 0})
    summary = summarise(table, protocol="p", classes=["a", "b"], **NAMES)
    score = score_predictions(table, ["a", "b"], protocol="p")
    for name in ("uar", "accuracy"):
        assert summary[name] == {
            "mean": pytest.approx(score[name]),
            "sd": None,
            "interval": pytest.approx(score[f"{name}_interval"]),
        }
    assert "UAR 0.667 (1 seed) [" in format_summary(summary)


def test_groups_of_all_speakers_are_compared():
    table = fabricate({(0, 1): ["a", "b"], (0, 2): ["a", "a", "b", "a"]})
    table["gender"] = table["speaker"].map(lambda name: "female" if name == "anna" else "male")
    summary = summarise(table, protocol="p", classes=["a", "b"], **NAMES)
    (gap,) = summary["gaps"]
    uars = {row["group"]: row["uar"] for row in summary["groups"]}
    assert gap["gap"] == pytest.approx(max(uars.values()) - min(uars.values()))
    said = f"by gender: UAR {min(uars.values()):.3f} ({gap['worst']}) to {max(uars.values()):.3f}"
    assert said in format_summary(summary)


def test_seeds_that_agree_make_no_one_surer():
    one = fabricate({place: said for place, said in SAID.items() if place[0] == 0})
    three = pd.concat([one.assign(seed=seed) for seed in range(3)])
    alone, together = (
        summarise(table, protocol="p", classes=["a", "b"])["uar"] for table in (one, three)
    )
    assert together["interval"] == pytest.approx(alone["interval"]) and together["sd"] == 0


def test_the_interval_covers_the_draw_of_a_training():
    """Speakers who are all alike, and trainings that are not: 5 seeds, right in 55 to 75 %."""
    rows = []
    for seed, share in enumerate((0.55, 0.6, 0.65, 0.7, 0.75)):
        for speaker in range(12):
            for clip in range(40):
                true = "ab"[clip % 2]
                said = true if clip // 2 < 20 * share else "ba"[clip % 2]
                rows.append((f"{speaker}/{clip}", f"s{speaker}", true, said, 1, seed))
    columns = ["path", "speaker", "emotion", "predicted", "fold", "seed"]
    table = pd.DataFrame(rows, columns=columns)
    found = summarise(table, protocol="p", classes=["a", "b"], **NAMES | {"n_folds": 1})
    low, high = found["uar"]["interval"]
    assert low <= 0.55 and high >= 0.75 and found["uar"]["mean"] == pytest.approx(0.65)
    assert "95 % over speakers and seeds" in format_summary(found)
    one = summarise(table[table["seed"] == 2], protocol="p", classes=["a", "b"], **NAMES)
    assert "not over trainings: --seeds 3 covers these" in format_summary(one)


def test_speakers_that_come_round_again_count_once():
    table = fabricate({(0, 1): ["a", "b"], (0, 2): ["a", "a", "b", "b"]})
    again = table[table["fold"] == 1].assign(fold=3, predicted="b")
    summary = summarise(pd.concat([table, again]), protocol="p", classes=["a", "b"])
    assert summary["by_seed"][0]["n"] == 6 and summary["uar"]["mean"] == pytest.approx(2 / 3)
    assert len(summary["by_fold"]) == 3
