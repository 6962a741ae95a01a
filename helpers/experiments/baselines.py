"""What a deep model has to beat: chance, the commonest emotion, and a support vector machine."""

from __future__ import annotations

import numpy as np
import pandas as pd

from helpers.models.recipes import RECIPES


def predict_baselines(
    clips: pd.DataFrame, features: pd.DataFrame, protocol: str, *, seed: int = 0
) -> dict[str, pd.DataFrame]:
    """Answers of the baselines on the test side.

    Parameters
    ----------
    clips : pd.DataFrame
        Utterance table with a column named like ``protocol`` that holds the sides.
    features : pd.DataFrame
        Functionals, indexed as ``clips``.
    protocol : str
    seed : int
        Of the draws of ``chance``.

    Returns
    -------
    dict
        ``svm``, ``majority`` (always the commonest emotion of the training side) and ``chance``
        (any emotion, equally often) → the test clips with ``predicted``.
    """
    split = clips[protocol]
    train, test = clips[split == "train"], clips[split == "test"]
    rng = np.random.default_rng(seed)
    classes = sorted(train["emotion"].unique())
    svm = RECIPES["svm"].fit_predict(features, clips["emotion"], split, classes=classes, seed=seed)
    answers = {
        "svm": svm["predicted"].to_numpy(),
        "majority": train["emotion"].value_counts().sort_index().idxmax(),
        "chance": rng.choice(classes, size=len(test)),
    }
    return {
        name: test.assign(predicted=said).reset_index(drop=True) for name, said in answers.items()
    }
