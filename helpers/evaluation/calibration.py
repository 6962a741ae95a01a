"""Does "80 % sure" mean right in 80 of 100 cases, and when had the model better say nothing?"""

from __future__ import annotations

import numpy as np


def apply_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Soften (> 1) or sharpen (< 1) probabilities; the order of the emotions stays.

    Examples
    --------
    >>> apply_temperature(np.array([[0.8, 0.2]]), 2.0).round(3)
    array([[0.667, 0.333]])
    """
    logits = np.log(np.maximum(np.asarray(probabilities, dtype="float64"), 1e-12)) / temperature
    scaled = np.exp(logits - logits.max(axis=1, keepdims=True))
    return scaled / scaled.sum(axis=1, keepdims=True)


def fit_temperature(probabilities: np.ndarray, targets: np.ndarray) -> float:
    """Temperature that makes the probabilities of *validation* clips most likely.

    Parameters
    ----------
    probabilities : np.ndarray, shape (n, n_classes)
    targets : np.ndarray of int, shape (n,)

    Returns
    -------
    float
        Between 0.2 and 10 (Guo et al. 2017, arXiv 1706.04599).
    """
    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        p = apply_temperature(probabilities, np.exp(log_temperature))
        return -np.log(np.maximum(p[np.arange(len(targets)), targets], 1e-12)).mean()

    found = minimize_scalar(loss, bounds=(np.log(0.2), np.log(10)), method="bounded")
    # The search ends near the best, not on it: never worse than leaving the model as it is.
    return float(np.exp(found.x)) if loss(found.x) < loss(0.0) else 1.0
