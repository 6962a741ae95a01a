"""Two runs against each other: better, equal or worse."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from test_evaluation import CLASSES, make_predictions

from helpers.cli import main
from helpers.errors import UserError
from helpers.evaluation.comparison import compare_predictions, compare_runs
from helpers.runs import Run, open_run


def make_run(name: str, answers: pd.DataFrame, *, classes=CLASSES) -> Run:
    """A run folder as notebook 06 leaves it."""
    run = open_run(name)
    data = {"protocols": ["speaker-independent", "random-80-20"], "classes": classes}
    run.save_json({"data": data}, "metrics.json")
    answers = answers.assign(protocol="speaker-independent", model="model.keras")
    other = answers.assign(model="lstm", predicted="sad")  # not what is compared
    run.save_table(pd.concat([answers, other]), "predictions.csv")
    return run


# ---- Two models ----


def test_models_compared_by_hand():
    # The second model is right where the first is and for one more speaker of three.
    first = make_predictions(3, n_clips=8, hit=1.0, spread=0.0)
    first.loc[first["speaker"] != "own-0", "predicted"] = "sad"
    second = make_predictions(3, n_clips=8, hit=1.0, spread=0.0).sample(frac=1, random_state=1)
    second.loc[second["speaker"] == "own-2", "predicted"] = "sad"
    found = compare_predictions(first, second, CLASSES)
    # Recalls of the others are 1/3 and 2/3, that of "sad" is 1.
    assert found["uar"] == pytest.approx([0.5, 0.75])
    assert found["difference"] == pytest.approx(0.25)
    assert (found["n"], found["n_speakers"], found["interval_unit"]) == (24, 3, "speaker")
    assert found["verdict"] == "undecided"


def test_a_better_model_of_the_same_speakers_is_found_and_a_twin_is_not():
    good = make_predictions(24, hit=0.8, seed=1)
    poor = make_predictions(24, hit=0.6, seed=2)
    found = compare_predictions(poor, good, CLASSES)
    assert found["verdict"] == "better"
    assert compare_predictions(good, poor, CLASSES)["verdict"] == "worse"
    assert compare_predictions(good, poor, CLASSES)["difference"] == -found["difference"]
    twin = make_predictions(24, hit=0.8, seed=3)
    found = compare_predictions(good, twin, CLASSES)
    low, high = found["interval"]
    assert found["verdict"] == "undecided" and low < 0 < high
    same = compare_predictions(good, good, CLASSES)
    assert (same["difference"], same["interval"]) == (0, [0, 0])


def test_only_the_same_clips_can_be_compared():
    clips = make_predictions(3)
    with pytest.raises(UserError, match="found 120 and 119, of which 119 are the same"):
        compare_predictions(clips, clips[1:], CLASSES)
    with pytest.raises(UserError, match="of which 120 are the same"):
        compare_predictions(clips, clips.assign(emotion="sad"), CLASSES)


# ---- Two runs ----


@pytest.fixture(autouse=True)
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SER_OUTPUTS", str(tmp_path))
    return tmp_path


GOOD = make_predictions(12, hit=0.85, seed=1)
POOR = make_predictions(12, hit=0.55, seed=2)
TWIN = make_predictions(12, hit=0.85, seed=3)


@pytest.mark.parametrize(
    ("first", "second", "verdict", "code"),
    [(POOR, GOOD, "better", 0), (GOOD, TWIN, "undecided", 0), (GOOD, POOR, "worse", 1)],
    ids=["better", "undecided", "worse"],
)
def test_verdict_and_exit_code(first, second, verdict, code, capsys):
    make_run("a", first), make_run("b", second)
    assert main(["compare", "a", "b"]) == code
    shown = capsys.readouterr().out
    found = compare_runs(open_run("a"), open_run("b"))
    assert found["verdict"] == verdict
    assert verdict in shown and f"{found['difference']:+.3f}" in shown
    assert "480 clips of 12 speakers" in shown


@pytest.mark.parametrize(
    ("answers", "classes", "message"),
    [
        (GOOD, [*CLASSES, "boredom"], r"emotions is \['neutral'"),
        (GOOD.drop(columns="sha256"), CLASSES, "older version, run 06 again"),
        (GOOD[1:], CLASSES, "found 480 and 479, of which 479 are the same"),
    ],
)
def test_what_cannot_be_compared_is_refused(answers, classes, message):
    first, second = make_run("a", GOOD), make_run("b", answers, classes=classes)
    with pytest.raises(UserError, match=message):
        compare_runs(first, second)
