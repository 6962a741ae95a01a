"""Answers side by side: two models, two runs, or predictions and what a list says."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.corpora import load_manifest
from helpers.errors import UserError
from helpers.evaluation.scores import Bootstrap, count_units, uar
from helpers.runs import Run


def compare_predictions(
    first: pd.DataFrame,
    second: pd.DataFrame,
    classes: list[str],
    *,
    n_resamples: int = 2000,
    seed: int = 0,
) -> dict:
    """Is one model better than another on the same clips?

    Speakers are drawn for both models at once: one who is hard for both makes no difference.

    Parameters
    ----------
    first, second : pd.DataFrame
        One row per clip with ``sha256 emotion predicted speaker``; matched by ``sha256``.
    classes : list of str
    n_resamples, seed : int

    Returns
    -------
    dict
        ``n n_speakers uar`` (of both) ``difference`` (second minus first) ``interval
        interval_unit verdict``; the verdict is ``better`` or ``worse`` where the interval
        leaves out 0, else ``undecided``: these clips cannot tell.

    Raises
    ------
    UserError
        The tables are not about the same clips, or disagree on their emotions.
    """
    columns = ["sha256", "emotion", "predicted", "speaker"]
    first = first[columns].sort_values(columns, ignore_index=True)
    second = second[columns].sort_values(columns, ignore_index=True)
    about = ["sha256", "emotion"]
    if not first[about].equals(second[about]):
        same = len(set(first["sha256"]) & set(second["sha256"]))
        raise UserError(
            f"two models can only be compared on the same clips: found {len(first)} and "
            f"{len(second)}, of which {same} are the same"
        )
    first_counts, unit = count_units(first, classes)
    second_counts, _ = count_units(second, classes)
    pair = np.stack([first_counts, second_counts], axis=1)
    draws = Bootstrap.draw(pair, unit, n_resamples=n_resamples, seed=seed)
    low, high = draws.interval(_gap, low=-1.0)
    return {
        "n": len(second),
        "n_speakers": int(second["speaker"].nunique()),
        "uar": uar(draws.whole).tolist(),
        "difference": float(_gap(draws.whole)),
        "interval": [low, high],
        "interval_unit": unit,
        "verdict": "better" if low > 0 else "worse" if high < 0 else "undecided",
    }


def _gap(counts: np.ndarray) -> np.ndarray:
    """UAR of the second model minus that of the first, counts of shape (…, 2, n, n)."""
    return uar(counts[..., 1, :, :]) - uar(counts[..., 0, :, :])


def compare_runs(first: Run, second: Run) -> dict:
    """Is the ``model.keras`` of the second run better or worse than that of the first?

    Parameters
    ----------
    first, second : Run
        With the ``metrics.json`` and ``predictions.csv`` of notebook 06.

    Returns
    -------
    dict
        As :func:`compare_predictions`.

    Raises
    ------
    UserError
        A run without notebook 06, or runs about different emotions, protocols or clips: their
        scores mean different things.
    """
    answers, about = zip(_read_run(first), _read_run(second), strict=True)
    for what, value in about[0].items():
        if value != about[1][what]:
            raise UserError(
                f"{first.name} and {second.name} cannot be compared: {what} is {value} in the one "
                f"and {about[1][what]} in the other"
            )
    return compare_predictions(*answers, about[0]["emotions"])


def _read_run(run: Run) -> tuple[pd.DataFrame, dict]:
    """What the model of a run said about its test clips, and what that is about."""
    table = run.read_table("predictions.csv", made_by="06_evaluate")
    metrics = run.read_json("metrics.json", made_by="06_evaluate")
    if "sha256" not in table:
        raise UserError(f"{run.folder}: of an older version, run 06 again: ser run --only 06")
    protocol = metrics["data"]["protocols"][0]
    about = {"protocol": protocol, "emotions": metrics["data"]["classes"]}
    answers = table[(table["model"] == "model.keras") & (table["protocol"] == protocol)]
    return answers, about


def format_comparison(found: dict, first: str, second: str) -> str:
    """Two lines: the figures, and what they mean.

    Examples
    --------
    >>> found = {"uar": [0.5, 0.6], "difference": 0.1, "interval": [-0.02, 0.2], "n": 240,
    ...          "n_speakers": 4, "interval_unit": "speaker", "verdict": "undecided"}
    >>> print(format_comparison(found, "old", "new"))
    old → new: UAR 0.500 → 0.600, difference +0.100 [-0.020, +0.200]
    undecided: the same 240 clips of 4 speakers cannot tell them apart (95 % interval over speakers)
    """
    a, b = found["uar"]
    low, high = found["interval"]
    says = "cannot tell them apart" if found["verdict"] == "undecided" else f"say so of {second}"
    return (
        f"{first} → {second}: UAR {a:.3f} → {b:.3f}, difference {found['difference']:+.3f} "
        f"[{low:+.3f}, {high:+.3f}]\n"
        f"{found['verdict']}: the same {found['n']} clips of {found['n_speakers']} speakers {says} "
        f"(95 % interval over {found['interval_unit']}s)"
    )


def compare_with_labels(
    predictions: pd.DataFrame, labels: str | Path, classes: list[str]
) -> tuple[pd.DataFrame, list[str]]:
    """Join predictions with the true emotions of a CSV ``path,emotion``.

    Parameters
    ----------
    predictions : pd.DataFrame
        From :meth:`helpers.models.prediction.Predictor.predict_files`.
    labels : str or Path
        CSV in UTF-8 with a header; paths are absolute or relative to the CSV.
    classes : list of str
        Emotions that the model knows.

    Returns
    -------
    clips : pd.DataFrame
        Scored clips with ``emotion`` (true), ``predicted`` and ``speaker``.
    notes : list of str
        What could be read and not be scored, and why.

    Raises
    ------
    UserError
        The CSV cannot be read as labels.
    """
    truth = load_manifest(labels).clips
    # Real paths: "../a.wav" and a link to a folder are the same clip.
    known = truth.assign(real=truth["path"].map(os.path.realpath)).drop_duplicates("real")
    clips = predictions[predictions["emotion"] != ""].rename(columns={"emotion": "predicted"})
    clips["real"] = clips["file"].map(os.path.realpath)
    clips = clips.merge(known[["real", "emotion", "speaker"]], on="real", how="left")
    unlisted = clips["emotion"].isna()
    unknown = ~clips["emotion"].isin(classes) & ~unlisted
    notes = []
    refused = predictions["reason"][predictions["reason"] != ""]
    if len(refused):
        notes.append(f"{len(refused)} files got no emotion: {', '.join(sorted(set(refused)))}")
    if unlisted.any():
        names = ", ".join(clips.loc[unlisted, "file"][:3])
        notes.append(f"{unlisted.sum()} files are not listed in {labels}: {names}")
    if unknown.any():
        names = ", ".join(sorted(set(clips.loc[unknown, "emotion"])))
        notes.append(f"{unknown.sum()} files have an emotion that the model does not know: {names}")
    return clips.loc[~(unlisted | unknown), ["file", "predicted", "emotion", "speaker"]], notes
