"""Predictions of recordings beside what a list says of them."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from helpers.corpora import load_manifest


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
    heard = predictions[predictions["emotion"] != ""]
    clips = heard.rename(columns={"emotion": "predicted"})
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
