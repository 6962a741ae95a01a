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


def group_columns(names: Sequence[str]) -> dict[str, list[str]]:
    """Columns by what they measure: the part of the name before its number or statistic.

    Examples
    --------
    >>> group_columns(["mfcc_01_mean", "mfcc_delta_01_std", "mfcc_02_std"])
    {'mfcc': ['mfcc_01_mean', 'mfcc_02_std'], 'mfcc_delta': ['mfcc_delta_01_std']}
    """
    columns = pd.Series(names)
    groups = columns.str.split(_PART, regex=True).str[0]
    return {group: part.tolist() for group, part in columns.groupby(groups, sort=False)}


_PART = r"_(?:\d+|(?<!per_)s|mean|std|max|min|median|quartile\d|band|bpm|count|gap|range)(?:_|$)"


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
