"""Two runs against each other: better, equal or worse, and what got lost."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from test_evaluation import CLASSES, make_predictions

from helpers.cli import main
from helpers.errors import UserError
from helpers.evaluation.comparison import compare_runs
from helpers.runs import Run, open_run


def make_run(
    name: str, answers: pd.DataFrame, *, failed: tuple[str, ...] = (), classes=CLASSES
) -> Run:
    """A run folder as notebook 06 leaves it."""
    run = open_run(name)
    checks = [
        {"test": test, "measure": "UAR drop", "found": 0.1, "limit": 0.05,
         "passed": test not in failed, "n": 240}
        for test in ("white noise at 20 dB", "telephone")
    ]  # fmt: skip
    data = {"protocols": ["speaker-independent", "random-80-20"], "classes": classes}
    run.save_json({"data": data, "checks": checks}, "metrics.json")
    answers = answers.assign(
        protocol="speaker-independent", model="model.keras", sha256=answers["path"]
    )
    other = answers.assign(model="lstm", predicted="sad")  # not what is compared
    run.save_table(pd.concat([answers, other]), "predictions.csv")
    return run


@pytest.fixture(autouse=True)
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SER_OUTPUTS", str(tmp_path))
    return tmp_path


GOOD = make_predictions(12, hit=0.85, seed=1)
POOR = make_predictions(12, hit=0.55, seed=2)
TWIN = make_predictions(12, hit=0.85, seed=3)


@pytest.mark.parametrize(
    ("first", "second", "verdict", "code"),
    [(POOR, GOOD, "better", 0), (GOOD, TWIN, "equal", 0), (GOOD, POOR, "worse", 1)],
    ids=["better", "equal", "worse"],
)
def test_verdict_and_exit_code(first, second, verdict, code, capsys):
    make_run("a", first), make_run("b", second)
    assert main(["compare", "a", "b"]) == code
    shown = capsys.readouterr().out
    found, notes = compare_runs(open_run("a"), open_run("b"))
    assert found["verdict"] == verdict and found["paired"] and notes == []
    assert verdict in shown and f"{found['difference']:+.3f}" in shown
    assert "480 clips of 12 speakers" in shown


def test_folders_are_taken_as_well_as_names(outputs, capsys):
    make_run("a", GOOD), make_run("b", TWIN)
    assert main(["compare", str(outputs / "a"), str(outputs / "b")]) == 0
    assert "equal" in capsys.readouterr().out


def test_what_is_no_longer_passed_is_said(capsys):
    make_run("a", GOOD), make_run("b", TWIN, failed=("telephone",))
    main(["compare", "a", "b"])
    assert "no longer passes telephone: UAR drop is 0.100, limit 0.050" in capsys.readouterr().out
    assert compare_runs(open_run("b"), open_run("a"))[1] == []


def test_other_clips_are_compared_apart():
    other = GOOD.assign(path="/other" + GOOD["path"])
    found, _ = compare_runs(make_run("a", GOOD), make_run("b", other))
    assert not found["paired"] and found["difference"] == 0 and found["verdict"] == "equal"
    paired, _ = compare_runs(make_run("a", GOOD), make_run("b", TWIN))
    apart, _ = compare_runs(
        make_run("a", GOOD), make_run("b", TWIN.assign(path="/other" + TWIN["path"]))
    )
    assert apart["difference"] == paired["difference"]
    low, high = apart["interval"]
    assert low < paired["interval"][0] and high > paired["interval"][1]  # it knows less
    worse, _ = compare_runs(make_run("a", other), make_run("b", POOR))
    assert worse["verdict"] == "worse"


def test_runs_that_mean_different_things_are_refused(capsys):
    make_run("a", GOOD), make_run("b", GOOD, classes=[*CLASSES, "boredom"])
    assert main(["compare", "a", "b"]) == 2
    assert "emotions is ['neutral'" in capsys.readouterr().err
    with pytest.raises(UserError, match="06_evaluate"):
        compare_runs(open_run("a"), open_run("none"))
    assert main(["compare", "a", "none"]) == 2
