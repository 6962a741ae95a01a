"""Scores that say what they are: protocol, n, and an interval that resamples speakers.

UAR, the unweighted average recall (balanced accuracy), is the field's measure: each emotion
counts alike, however many clips it has.
"""

from __future__ import annotations

import numpy as np
import pandas as pd


def confusion_counts(true: pd.Series, predicted: pd.Series, classes: list[str]) -> np.ndarray:
    """Count clips by true (row) and predicted (column) emotion.

    Returns
    -------
    np.ndarray, shape (n_classes, n_classes), int

    Raises
    ------
    ValueError
        A label is not among ``classes``.

    Examples
    --------
    >>> confusion_counts(pd.Series(["a", "b", "b"]), pd.Series(["a", "b", "a"]), ["a", "b"])
    array([[1, 0],
           [1, 1]])
    """
    unknown = sorted((set(true) | set(predicted)) - set(classes))
    if unknown:
        raise ValueError(
            f"labels {', '.join(map(repr, unknown))}: expected one of {', '.join(classes)}"
        )
    place = {name: i for i, name in enumerate(classes)}
    counts = np.zeros((len(classes), len(classes)), dtype=int)
    np.add.at(counts, (true.map(place).to_numpy(int), predicted.map(place).to_numpy(int)), 1)
    return counts


def accuracy(counts: np.ndarray) -> float:
    """Share of clips on the diagonal of a confusion matrix."""
    return float(np.trace(counts) / counts.sum())


def uar(counts: np.ndarray) -> float:
    """Unweighted average recall over the emotions that occur.

    Examples
    --------
    >>> uar(np.array([[9, 1], [1, 1]]))
    0.7
    """
    support = counts.sum(axis=1)
    return float((np.diag(counts)[support > 0] / support[support > 0]).mean())


def score_by_emotion(counts: np.ndarray, classes: list[str]) -> pd.DataFrame:
    """Precision, recall, F1 and support of each emotion (0 where nothing was predicted)."""
    right, true, said = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    return pd.DataFrame(
        {
            "precision": right / np.maximum(said, 1),
            "recall": right / np.maximum(true, 1),
            "f1": 2 * right / np.maximum(true + said, 1),
            "support": true,
        },
        index=pd.Index(classes, name="emotion"),
    )


def score_predictions(
    predictions: pd.DataFrame,
    classes: list[str],
    *,
    protocol: str,
    n_resamples: int = 2000,
    seed: int = 0,
) -> dict:
    """All figures of one model under one protocol.

    Parameters
    ----------
    predictions : pd.DataFrame
        A row a test clip with ``emotion``, ``predicted`` and ``speaker``.
    classes : list of str
        Emotions in display order.
    protocol : str
        Name of the split; a score without it is not shown.
    n_resamples : int
    seed : int

    Returns
    -------
    dict
        ``protocol n n_speakers accuracy uar macro_f1 accuracy_interval uar_interval interval_unit
        chance by_emotion classes confusion``. Intervals are 95 % percentile bootstrap intervals.

    Raises
    ------
    ValueError
        No clips, or a label that is not among ``classes``.

    Examples
    --------
    >>> clips = pd.DataFrame({"emotion": ["a", "b"], "predicted": ["a", "a"],
    ...                       "speaker": ["x", "y"]})
    >>> score = score_predictions(clips, ["a", "b"], protocol="speaker-independent")
    >>> score["uar"], score["n"], score["interval_unit"]
    (0.5, 2, 'clip')
    """
    if predictions.empty:
        raise ValueError(f"no clips to score under the protocol {protocol!r}")
    counts = confusion_counts(predictions["emotion"], predictions["predicted"], classes)
    table = score_by_emotion(counts, classes)
    present = table["support"] > 0
    low_high, unit = _bootstrap(predictions, classes, n_resamples=n_resamples, seed=seed)
    return {
        "protocol": protocol,
        "n": len(predictions),
        "n_speakers": int(predictions["speaker"].nunique()),
        "accuracy": accuracy(counts),
        "uar": uar(counts),
        "macro_f1": float(table.loc[present, "f1"].mean()),
        "accuracy_interval": low_high["accuracy"],
        "uar_interval": low_high["uar"],
        "interval_unit": unit,
        "chance": 1 / int(present.sum()),
        "by_emotion": table.to_dict("index"),
        "classes": list(classes),
        "confusion": counts,
    }


def _bootstrap(
    predictions: pd.DataFrame, classes: list[str], *, n_resamples: int, seed: int
) -> tuple[dict[str, list[float]], str]:
    """95 % intervals, resampling speakers where there are at least three, else clips.

    Clips of one speaker resemble each other; resampling clips as if they were independent makes
    the interval too narrow. With one or two speakers nothing else is possible; the unit says so.
    """
    by_speaker = predictions["speaker"].nunique() >= 3
    keys = predictions["speaker"] if by_speaker else pd.Series(range(len(predictions)))
    groups = pd.Series(keys.to_numpy(), index=predictions.index)
    unit_counts = np.stack(
        [
            confusion_counts(clips["emotion"], clips["predicted"], classes)
            for _, clips in predictions.groupby(groups)
        ]
    )
    rng = np.random.default_rng(seed)
    picks = rng.integers(len(unit_counts), size=(n_resamples, len(unit_counts)))
    weights = np.stack([np.bincount(pick, minlength=len(unit_counts)) for pick in picks])
    samples = np.tensordot(weights, unit_counts, axes=1)
    intervals = {
        name: [float(q) for q in np.percentile([measure(s) for s in samples], [2.5, 97.5])]
        for name, measure in (("accuracy", accuracy), ("uar", uar))
    }
    return intervals, "speaker" if by_speaker else "clip"


def worst_confusions(predictions: pd.DataFrame, *, n: int = 3) -> pd.DataFrame:
    """The most frequent mistakes, each with its most confident clip to listen to.

    Returns
    -------
    pd.DataFrame
        Columns ``emotion predicted clips share path confidence``, most frequent first; ``share``
        is of the clips of that true emotion.
    """
    wrong = predictions[predictions["emotion"] != predictions["predicted"]]
    totals = predictions["emotion"].value_counts()
    rows = [
        {
            "emotion": true,
            "predicted": said,
            "clips": len(clips),
            "share": len(clips) / totals[true],
            **clips.nlargest(1, "confidence")[["path", "confidence"]].iloc[0].to_dict(),
        }
        for (true, said), clips in wrong.groupby(["emotion", "predicted"])
    ]
    columns = ["emotion", "predicted", "clips", "share", "path", "confidence"]
    table = pd.DataFrame(rows, columns=columns)
    return table.sort_values(["clips", "share"], ascending=False, ignore_index=True).head(n)


def format_score(score: dict, measure: str = "uar") -> str:
    """One line with everything a score must say.

    Examples
    --------
    >>> format_score({"protocol": "random-80-20", "uar": 0.5, "uar_interval": [0.25, 0.75],
    ...               "n": 40, "n_speakers": 4, "interval_unit": "speaker"})
    'UAR 0.500 [0.250, 0.750] · random-80-20 · 40 clips of 4 speakers · 95 % interval over speakers'
    """
    low, high = score[f"{measure}_interval"]
    name = "UAR" if measure == "uar" else measure
    return (
        f"{name} {score[measure]:.3f} [{low:.3f}, {high:.3f}] · {score['protocol']} · "
        f"{score['n']} clips of {score['n_speakers']} speakers · "
        f"95 % interval over {score['interval_unit']}s"
    )
