"""Is one model better than another, or one run than the one before?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from helpers.evaluation.intervals import Bootstrap, count_units
from helpers.evaluation.scores import uar


def compare_predictions(
    first: pd.DataFrame,
    second: pd.DataFrame,
    classes: list[str],
    *,
    n_resamples: int = 2000,
    seed: int = 0,
) -> dict:
    """Is one model better than another on the same clips?

    Speakers are resampled for both models at once, so that a speaker who is hard for both does not
    count as a difference. The p-value is that of exchanging the two models speaker by speaker: all
    ways up to 12 speakers, else ``n_resamples`` of them.

    Parameters
    ----------
    first, second : pd.DataFrame
        A row a clip with ``path`` (or ``sha256``) ``emotion predicted speaker``; matched by it.
    classes : list of str
    n_resamples, seed : int

    Returns
    -------
    dict
        ``n n_speakers uar`` (of both) ``difference`` (second minus first) ``interval
        interval_unit p_value verdict``; the verdict is ``better`` or ``worse`` where the interval
        leaves out 0, else ``equal``: these clips cannot tell.

    Raises
    ------
    ValueError
        The tables are not about the same clips, or disagree on their emotions.
    """
    key = "sha256" if {"sha256"} <= set(first) & set(second) else "path"
    columns = [key, "emotion", "predicted", "speaker"]
    first, second = (
        table[columns].sort_values(columns, ignore_index=True) for table in (first, second)
    )
    if not first[[key, "emotion"]].equals(second[[key, "emotion"]]):
        raise ValueError(
            f"two models can only be compared on the same clips: found {len(first)} and "
            f"{len(second)}, of which {len(set(first[key]) & set(second[key]))} are the same"
        )
    (a, unit), (b, _) = (count_units(table, classes) for table in (first, second))
    pair = np.stack([a, b], axis=1)
    draws = Bootstrap.draw(pair, unit, n_resamples=n_resamples, seed=seed)

    def gap(counts: np.ndarray) -> np.ndarray:
        return uar(counts[..., 1, :, :]) - uar(counts[..., 0, :, :])

    low, high = draws.interval(gap, low=-1.0)
    return {
        "n": len(first),
        "n_speakers": int(first["speaker"].nunique()),
        "uar": [float(uar(draws.whole[side])) for side in (0, 1)],
        "difference": float(gap(draws.whole)),
        "interval": [low, high],
        "interval_unit": unit,
        "p_value": _exchange(pair, gap, n_resamples, seed),
        "verdict": "better" if low > 0 else "worse" if high < 0 else "equal",
    }


def _exchange(pair: np.ndarray, gap, n_resamples: int, seed: int) -> float:
    """Share of the ways to exchange the models, unit by unit, with as large a gap as was found."""
    n = len(pair)
    if n <= 12:
        swaps = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    else:
        swaps = np.random.default_rng(seed).integers(2, size=(n_resamples, n))
        swaps[0] = 0  # what was found is one of the ways
    flipped = pair[:, ::-1]
    sums = np.tensordot(1 - swaps, pair, axes=1) + np.tensordot(swaps, flipped, axes=1)
    return float((np.abs(gap(sums)) >= np.abs(gap(pair.sum(axis=0))) - 1e-12).mean())
