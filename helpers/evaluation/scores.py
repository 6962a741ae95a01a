"""Scores that say what they are: protocol, n, and an interval that resamples speakers.

UAR, the unweighted average recall (balanced accuracy), is the field's measure: each emotion
counts alike, however many clips it has.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd

from helpers.evaluation.intervals import Bootstrap


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


def accuracy(counts: np.ndarray) -> np.ndarray:
    """Share of clips on the diagonal of one confusion matrix, or of a stack of them."""
    return np.trace(counts, axis1=-2, axis2=-1) / np.maximum(counts.sum(axis=(-2, -1)), 1)


def recalls(counts: np.ndarray) -> np.ndarray:
    """Recall of each emotion, shape (…, n_classes); NaN where an emotion does not occur."""
    support = counts.sum(axis=-1)
    right = np.diagonal(counts, axis1=-2, axis2=-1)
    return np.divide(right, support, out=np.full(right.shape, np.nan), where=support > 0)


def precisions(counts: np.ndarray) -> np.ndarray:
    """Precision of each emotion, shape (…, n_classes); 0 where nothing was called so."""
    right = np.diagonal(counts, axis1=-2, axis2=-1)
    return right / np.maximum(counts.sum(axis=-2), 1)


def uar(counts: np.ndarray) -> np.ndarray:
    """Unweighted average recall over the emotions that occur.

    Examples
    --------
    >>> float(uar(np.array([[9, 1], [1, 1]])))
    0.7
    """
    found = recalls(counts)
    there = np.isfinite(found)
    return np.where(there, found, 0).sum(axis=-1) / np.maximum(there.sum(axis=-1), 1)


def macro_f1(counts: np.ndarray) -> np.ndarray:
    """Mean F1 over the emotions that occur."""
    true, said = counts.sum(axis=-1), counts.sum(axis=-2)
    f1 = 2 * np.diagonal(counts, axis1=-2, axis2=-1) / np.maximum(true + said, 1)
    return np.where(true > 0, f1, 0).sum(axis=-1) / np.maximum((true > 0).sum(axis=-1), 1)


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
        ``protocol n n_speakers accuracy uar macro_f1`` with ``<measure>_interval``,
        ``interval_unit chance by_emotion classes confusion``. ``by_emotion`` holds ``precision
        recall f1 support recall_interval precision_interval`` of each emotion. Intervals are 95 %
        bootstrap intervals, see :class:`Bootstrap`.

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
    draws = Bootstrap.of(predictions, classes, n_resamples=n_resamples, seed=seed)
    by_emotion = table.to_dict("index")
    for measure, share in (("recall", recalls), ("precision", precisions)):
        low_high = draws.interval(share)
        for name, interval in zip(classes, low_high, strict=True):
            by_emotion[name][f"{measure}_interval"] = interval
    whole = {"accuracy": accuracy, "uar": uar, "macro_f1": macro_f1}
    return {
        "protocol": protocol,
        "n": len(predictions),
        "n_speakers": int(predictions["speaker"].nunique()),
        **{name: float(measure(counts)) for name, measure in whole.items()},
        **{f"{name}_interval": draws.interval(measure) for name, measure in whole.items()},
        "interval_unit": draws.unit,
        "chance": 1 / int((table["support"] > 0).sum()),
        "by_emotion": by_emotion,
        "classes": list(classes),
        "confusion": counts,
    }


def worst_confusions(
    predictions: pd.DataFrame, *, n: int = 3, n_resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """The most frequent mistakes, each with its most confident clip to listen to.

    Returns
    -------
    pd.DataFrame
        Columns ``emotion predicted clips share low high path confidence``, most frequent first;
        ``share`` is of the clips of that true emotion, ``low`` to ``high`` its 95 % interval.
    """
    wrong = predictions[predictions["emotion"] != predictions["predicted"]]
    totals = predictions["emotion"].value_counts()
    rows = []
    for (true, said), clips in wrong.groupby(["emotion", "predicted"]):
        surest = clips.nlargest(1, "confidence").iloc[0]
        rows.append((true, said, len(clips), len(clips) / totals[true],
                     surest["path"], surest["confidence"]))  # fmt: skip
    columns = ["emotion", "predicted", "clips", "share", "path", "confidence"]
    table = pd.DataFrame(rows, columns=columns)
    table = table.sort_values(["clips", "share"], ascending=False, ignore_index=True).head(n)
    classes = sorted(set(predictions["emotion"]) | set(predictions["predicted"]))
    draws = Bootstrap.of(predictions, classes, n_resamples=n_resamples, seed=seed)
    ends = []
    for row in table.itertuples():
        cell = classes.index(row.emotion), classes.index(row.predicted)
        ends.append(draws.interval(partial(_share, cell=cell)))
    table.insert(4, "low", [low for low, _ in ends])
    table.insert(5, "high", [high for _, high in ends])
    return table


def _share(counts: np.ndarray, cell: tuple[int, int]) -> np.ndarray:
    """Share of a cell in its row of a confusion matrix."""
    support = counts[..., cell[0], :].sum(axis=-1)
    return np.where(support > 0, counts[..., cell[0], cell[1]] / np.maximum(support, 1), np.nan)


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
    speakers = "1 speaker" if score["n_speakers"] == 1 else f"{score['n_speakers']} speakers"
    return (
        f"{name} {score[measure]:.3f} [{low:.3f}, {high:.3f}] · {score['protocol']} · "
        f"{score['n']} clips of {speakers} · "
        f"95 % interval over {score['interval_unit']}s"
    )
