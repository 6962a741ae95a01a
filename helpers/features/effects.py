"""Which columns of a feature table tell emotions apart, and which tell people apart."""

from __future__ import annotations

from collections.abc import Sequence

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
        One row per feature column, one column per grouping, values in 0 … 1; 0 for a constant
        column.

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

    Returns
    -------
    pd.DataFrame
        One row per column of ``features``, columns ``low high``.
    """
    x = features.to_numpy(dtype="float64")
    x = x - x.mean(axis=0)
    codes, names = pd.factorize(labels, sort=True)
    owners, people = pd.factorize(speakers)
    # Sums per speaker and label: all that η² needs, so that a resample is a product of matrices.
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
    columns = pd.Series(names)
    groups = columns.str.split(_NUMBER_OR_STATISTIC, regex=True).str[0]
    return {group: part.tolist() for group, part in columns.groupby(groups, sort=False)}


_NUMBER_OR_STATISTIC = (
    r"_(?:\d+|s|mean|std|max|min|median|quartile\d|band|bpm|count|gap|range)(?:_|$)"
)


def embed(features: pd.DataFrame, *, seed: int = 0) -> np.ndarray:
    """Place clips on a plane, shape (n_clips, 2), so that neighbours stay neighbours (t-SNE).

    Distances between far places, and sizes of clusters, mean nothing.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from sklearn.preprocessing import StandardScaler

    x = StandardScaler().fit_transform(features)
    x = PCA(min(50, *x.shape), random_state=seed).fit_transform(x)
    perplexity = min(30.0, max(2.0, (len(x) - 1) / 3))
    return TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(x)
