"""What a deep model has to beat: chance, the commonest emotion, and a support vector machine."""

from __future__ import annotations

from collections.abc import Mapping

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


def group_importance(
    features: pd.DataFrame,
    emotions: pd.Series,
    split: pd.Series,
    groups: Mapping[str, list[str]],
    *,
    n_repeats: int = 10,
    seed: int = 0,
) -> tuple[pd.DataFrame, float]:
    """How much a linear model loses on new speakers when a group of columns is shuffled.

    A logistic regression is fitted to the training side and scored on the validation side; then
    the clips of that side exchange their values of one group among each other.

    Parameters
    ----------
    features : pd.DataFrame, shape (n_clips, n_columns)
    emotions, split : pd.Series
        In the order of ``features``; the test side is not looked at.
    groups : mapping of str to list of str
        From :func:`helpers.features.effects.group_columns`.
    n_repeats, seed : int

    Returns
    -------
    pd.DataFrame
        One row per group, the most important first: ``group columns drop drop_std``, in UAR.
    float
        UAR with nothing shuffled.
    """
    from sklearn.metrics import balanced_accuracy_score

    train, held = (split == "train").to_numpy(), (split == "validation").to_numpy()
    model = make_linear_model(seed).fit(features[train], emotions[train])
    true, values = emotions[held], features[held]
    whole = balanced_accuracy_score(true, model.predict(values))
    rng = np.random.default_rng(seed)
    rows = []
    for name, columns in groups.items():
        drops = []
        for _ in range(n_repeats):
            shuffled = values.copy()
            shuffled[columns] = values[columns].to_numpy()[rng.permutation(len(values))]
            drops.append(whole - balanced_accuracy_score(true, model.predict(shuffled)))
        rows.append((name, len(columns), np.mean(drops), np.std(drops)))
    table = pd.DataFrame(rows, columns=["group", "columns", "drop", "drop_std"])
    return table.sort_values("drop", ascending=False, ignore_index=True), float(whole)


def make_linear_model(seed: int = 0):
    """Standardised columns and a logistic regression, classes weighted by how rare they are."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    # Strongly regularised: there are as many columns as clips of a class.
    return make_pipeline(
        StandardScaler(),
        LogisticRegression(C=0.01, max_iter=2000, class_weight="balanced", random_state=seed),
    )
