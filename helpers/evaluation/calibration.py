"""Does "80 % sure" mean right in 80 of 100 cases, and when had the model better say nothing?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from helpers.models.modelfile import apply_temperature

_BINS = 10  # of equal width, over confidences of 0 to 1
_MIN_COVERAGE = 0.1  # an accuracy of three clips is chance


def fit_temperature(
    probabilities: np.ndarray, targets: np.ndarray, *, lowest: float = 0.2
) -> float:
    """Temperature that makes the probabilities of *validation* clips most likely.

    Parameters
    ----------
    probabilities : np.ndarray, shape (n, n_classes)
    targets : np.ndarray of int, shape (n,)
    lowest : float
        1 where training has heard the validation speakers: that the model is right about them is
        no reason to be surer of others.

    Returns
    -------
    float
        Between ``lowest`` and 10 (Guo et al. 2017, arXiv 1706.04599).
    """
    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        p = apply_temperature(probabilities, np.exp(log_temperature))
        return -np.log(np.maximum(p[np.arange(len(targets)), targets], 1e-12)).mean()

    found = minimize_scalar(loss, bounds=(np.log(lowest), np.log(10)), method="bounded")
    # The search ends near the best, not on it: never worse than leaving the model as it is.
    return float(np.exp(found.x)) if loss(found.x) < loss(0.0) else 1.0


def measure_reliability(confidence: np.ndarray, right: np.ndarray) -> pd.DataFrame:
    """How often the model was right, by how sure it was: ten bins of equal width.

    Parameters
    ----------
    confidence : np.ndarray, shape (n,)
        Probability of the emotion that was named, 0 … 1.
    right : np.ndarray of bool, shape (n,)

    Returns
    -------
    pd.DataFrame
        One row per bin that has clips: ``confidence accuracy clips``, the first two as means.
    """
    place = np.digitize(confidence, np.linspace(0, 1, _BINS + 1)[1:-1], right=True)
    clips = pd.DataFrame({"confidence": confidence, "accuracy": np.asarray(right, dtype=float)})
    bins = clips.groupby(place)
    return bins.mean().assign(clips=bins.size()).reset_index(drop=True)


def measure_coverage(confidence: np.ndarray, right: np.ndarray) -> pd.DataFrame:
    """Accuracy of the answers that remain when the less sure ones are withheld.

    Returns
    -------
    pd.DataFrame
        One row per threshold, from answering everything to answering the surest clips only:
        ``threshold coverage accuracy clips``, where answers of a confidence of at least the
        threshold are given.
    """
    # Equal confidences are answered together or not at all.
    each = pd.Series(right, dtype=int).groupby(confidence).agg(["sum", "size"])
    above = each[::-1].cumsum()[::-1]
    table = pd.DataFrame(
        {
            "coverage": above["size"] / len(confidence),
            "accuracy": above["sum"] / above["size"],
            "clips": above["size"],
        }
    )
    return table.rename_axis("threshold").reset_index()


def choose_threshold(
    confidence: np.ndarray, right: np.ndarray, *, target: float, lowest: float = 0.0
) -> float:
    """Confidence below which the model had better say "not sure", from *validation* clips.

    The lowest threshold at which the answers given are right in ``target`` of the cases. Where
    none is, that of the highest accuracy. At least a tenth of the clips is answered.

    Parameters
    ----------
    confidence : np.ndarray, shape (n,)
    right : np.ndarray of bool, shape (n,)
    target : float
        Share of the answers that should be right.
    lowest : float
        The threshold is no lower; it is this if the target is reached without withholding anything.
    """
    table = measure_coverage(confidence, right)
    table = table[table["coverage"] >= _MIN_COVERAGE]
    enough = table[table["accuracy"] >= target]
    if enough.empty:
        return max(lowest, float(table.loc[table["accuracy"].idxmax(), "threshold"]))
    first = enough.iloc[0]
    return max(lowest, float(first["threshold"])) if first["coverage"] < 1 else lowest


def summarise_calibration(
    probabilities: np.ndarray, targets: np.ndarray, *, threshold: float
) -> dict:
    """Calibration of one set, for ``metrics.json``.

    Parameters
    ----------
    probabilities : np.ndarray, shape (n, n_classes)
        As the model gives them, its temperature applied.
    targets : np.ndarray of int, shape (n,)
    threshold : float
        Below it the model says "not sure".

    Returns
    -------
    dict
        ``n ece brier confidence accuracy threshold coverage accuracy_when_sure``. ECE (Guo et al.
        2017, arXiv 1706.04599) is the mean gap between confidence and accuracy over the bins of
        :func:`measure_reliability`, by their clips, 0 … 1. The Brier score (Brier 1950) is the mean
        squared distance of the probabilities from what was true, 0 … 2. The last is NaN if the
        model is never sure.
    """
    truth = np.eye(probabilities.shape[1])[targets]
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == targets
    sure = confidence >= threshold
    bins = measure_reliability(confidence, right)
    gaps = (bins["confidence"] - bins["accuracy"]).abs()
    return {
        "n": len(targets),
        "ece": float((gaps * bins["clips"]).sum() / bins["clips"].sum()),
        "brier": float(((truth - probabilities) ** 2).sum(axis=1).mean()),
        "confidence": float(confidence.mean()),
        "accuracy": float(right.mean()),
        "threshold": threshold,
        "coverage": float(sure.mean()),
        "accuracy_when_sure": float(right[sure].mean()) if sure.any() else float("nan"),
    }
