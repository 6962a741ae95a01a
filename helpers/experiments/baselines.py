"""What a deep model has to beat: chance, the commonest emotion, and a support vector machine."""

from __future__ import annotations

import numpy as np
import pandas as pd

_COSTS = (0.3, 1.0, 3.0, 10.0)


def fit_svm(features: pd.DataFrame, emotions: pd.Series, split: pd.Series, *, seed: int = 0):
    """Fit the field's classical baseline, an SVM with an RBF kernel on functionals.

    Columns are scaled by the training side, emotions are weighted by how rare they are, and the
    cost is the one with the best UAR on the validation side.

    Parameters
    ----------
    features : pd.DataFrame, shape (n_clips, n_columns)
    emotions, split : pd.Series
        In the order of ``features``; the test side is not looked at.
    seed : int
        Changes nothing here; every model takes one.

    Returns
    -------
    sklearn.pipeline.Pipeline
        Its ``predict`` takes rows of features and gives emotions; ``cost`` is what was chosen.
    """
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    train, held = (np.asarray(split == side) for side in ("train", "validation"))
    x, y = features.to_numpy(dtype="float64"), emotions.to_numpy()
    best, best_uar = None, -1.0
    for cost in _COSTS:
        machine = SVC(C=cost, class_weight="balanced", random_state=seed)
        model = make_pipeline(StandardScaler(), machine).fit(x[train], y[train])
        uar = balanced_accuracy_score(y[held], model.predict(x[held])) if held.any() else 0.0
        if uar > best_uar:
            best, best_uar = model, uar
            best.cost = cost
    return best


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
        Of chance.

    Returns
    -------
    dict
        ``svm``, ``majority`` (always the commonest emotion of the training side) and ``chance``
        (any emotion, all alike) → the test clips with ``predicted``.
    """
    split = clips[protocol]
    train, test = clips[split == "train"], clips[split == "test"]
    rng = np.random.default_rng(seed)
    answers = {
        "svm": fit_svm(features, clips["emotion"], split, seed=seed).predict(
            features[split == "test"].to_numpy(dtype="float64")
        ),
        "majority": train["emotion"].value_counts().sort_index().idxmax(),
        "chance": rng.choice(sorted(train["emotion"].unique()), size=len(test)),
    }
    return {
        name: test.assign(predicted=said).reset_index(drop=True) for name, said in answers.items()
    }
