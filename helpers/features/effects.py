"""Which columns of a feature table tell emotions apart, and which tell people apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd


def measure_effects(features: pd.DataFrame, groupings: dict[str, pd.Series]) -> pd.DataFrame:
    """Share of each column's variance that a grouping explains (η², one-way).

    Parameters
    ----------
    features : pd.DataFrame, shape (n_clips, n_columns)
    groupings : dict of str to pd.Series
        Such as ``{"emotion": …, "speaker": …}``, indexed as ``features``.

    Returns
    -------
    pd.DataFrame
        A row a feature column, a column a grouping, values in 0 … 1; 0 for a constant column.

    Examples
    --------
    >>> pitch = pd.DataFrame({"f0_mean": [100.0, 110.0, 200.0, 210.0]})
    >>> measure_effects(pitch, {"sex": pd.Series(["m", "m", "f", "f"])}).round(2)
              sex
    f0_mean  0.99
    """
    # In double precision, and with the leftovers of rounding in a constant column set to 0.
    centred = features.astype("float64") - features.astype("float64").mean()
    centred = centred.where(centred.abs() > 1e-9 * features.abs().max(), 0.0)
    total = (centred**2).sum()
    return pd.DataFrame(
        {
            name: (centred.groupby(labels).transform("mean") ** 2).sum() / total.where(total > 0, 1)
            for name, labels in groupings.items()
        }
    )


def effect_intervals(
    features: pd.DataFrame,
    labels: pd.Series,
    speakers: pd.Series,
    *,
    n_resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """95 % intervals of η², from resampling speakers.

    A hundred clips of one voice are one voice: with few speakers the intervals are wide, as they
    should be.

    Parameters
    ----------
    features : pd.DataFrame, shape (n_clips, n_columns)
    labels, speakers : pd.Series
        In the order of ``features``.
    n_resamples, seed : int

    Returns
    -------
    pd.DataFrame
        A row a column of ``features``, columns ``low high``.
    """
    x = features.to_numpy(dtype="float64")
    x = x - x.mean(axis=0)
    codes, names = pd.factorize(labels, sort=True)
    owners, people = pd.factorize(speakers)
    # Sums a speaker and label: all that η² needs, so that a resample is a product of matrices.
    cell = owners * len(names) + codes
    n_cells = len(people) * len(names)
    sums = np.zeros((n_cells, x.shape[1]))
    np.add.at(sums, cell, x)
    squares = np.zeros((len(people), x.shape[1]))
    np.add.at(squares, owners, x**2)
    counts = np.bincount(cell, minlength=n_cells).reshape(len(people), -1).astype(float)
    sums = sums.reshape(len(people), -1)

    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(people), np.full(len(people), 1 / len(people)), size=n_resamples)
    part = (drawn @ sums).reshape(n_resamples, len(names), -1)
    n_part = (drawn @ counts)[:, :, None]
    mean_square = part.sum(axis=1) ** 2 / n_part.sum(axis=1)
    total = drawn @ squares - mean_square
    between = (part**2 / np.maximum(n_part, 1)).sum(axis=1) - mean_square
    share = np.divide(between, total, out=np.zeros_like(total), where=total > 1e-12 * len(x))
    low, high = np.percentile(share, [2.5, 97.5], axis=0)
    return pd.DataFrame({"low": low, "high": high}, index=features.columns)


def group_columns(names: Sequence[str]) -> dict[str, list[str]]:
    """Columns by what they measure: the part of the name before its number or statistic.

    Examples
    --------
    >>> group_columns(["mfcc_01_mean", "mfcc_delta_01_std", "mfcc_02_std"])
    {'mfcc': ['mfcc_01_mean', 'mfcc_02_std'], 'mfcc_delta': ['mfcc_delta_01_std']}
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        words = name.split("_")
        kept = [word for word in words[:2] if word.isalpha() or word in ("f0", "delta2")]
        kept = [word for word in kept if word not in _STATISTICS]
        groups.setdefault("_".join(kept), []).append(name)
    return groups


_STATISTICS = {"mean", "std", "max", "min", "median", "bpm", "count", "gap", "band"}


def group_importance(
    features: pd.DataFrame,
    emotions: pd.Series,
    split: pd.Series,
    groups: Mapping[str, list[str]],
    *,
    n_repeats: int = 10,
    seed: int = 0,
) -> pd.DataFrame:
    """How much a linear model loses on new speakers when a group of columns is shuffled.

    A logistic regression is fitted to the training side and scored on the validation side; then
    the clips of that side exchange their values of one group among each other.

    Parameters
    ----------
    features : pd.DataFrame, shape (n_clips, n_columns)
    emotions, split : pd.Series
        In the order of ``features``; the test side is not looked at.
    groups : mapping of str to list of str
        From :func:`group_columns`.
    n_repeats, seed : int

    Returns
    -------
    pd.DataFrame
        A row a group, the most important first: ``group columns drop drop_std``, in UAR.
        ``attrs["uar"]`` is the score with nothing shuffled.
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
    table = table.sort_values("drop", ascending=False, ignore_index=True)
    table.attrs["uar"] = float(whole)
    return table


def make_linear_model(seed: int = 0):
    """Standardised columns and a logistic regression, classes weighted by how rare they are."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    # Strongly regularised: there are as many columns as clips a class.
    return make_pipeline(
        StandardScaler(),
        LogisticRegression(C=0.01, max_iter=2000, class_weight="balanced", random_state=seed),
    )


def embed(features: pd.DataFrame, *, seed: int = 0) -> np.ndarray:
    """Place clips on a plane so that neighbours in the features stay neighbours (t-SNE).

    Returns
    -------
    np.ndarray, shape (n_clips, 2)
        Distances between far places, and sizes of clusters, mean nothing.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from sklearn.preprocessing import StandardScaler

    x = StandardScaler().fit_transform(features)
    x = PCA(min(50, *x.shape), random_state=seed).fit_transform(x)
    perplexity = min(30.0, max(2.0, (len(x) - 1) / 3))
    return TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(x)
