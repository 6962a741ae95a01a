"""What a leak between training and test does to a score: one network, four protocols."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd

from helpers.errors import UserError
from helpers.experiments.ablation import change_clips
from helpers.splits import make_split, split_random

#: From the leakiest to the strictest.
LEAKAGE_PROTOCOLS = ("leaky", "random-80-20", "speaker-independent", "speaker-text-independent")
_SHIFT = {"shift_s": 0.2}


def copy_clips(clips: pd.DataFrame, *, family: str, seed: int = 0) -> pd.DataFrame:
    """Features of a copy of every clip that begins 0.2 s later: seed 001's time shift.

    Returns
    -------
    pd.DataFrame, shape (n_clips, n_columns), float32
        Indexed as ``clips``.
    """
    return change_clips(clips, "time shift", _SHIFT, family=family, seed=seed).astype("float32")


def demonstrate_leak(
    clips: pd.DataFrame,
    features: pd.DataFrame,
    copies: pd.DataFrame,
    *,
    epochs: int = 40,
    fold: int = 1,
    seed: int = 0,
) -> dict[str, pd.DataFrame]:
    """Train one network under each protocol, and let it answer on that protocol's test side.

    Under ``leaky`` every clip is augmented *before* clips are dealt to training and test, as in
    much-copied notebooks: of most test clips, training has heard the other version. Elsewhere the
    same copies are added to the training side alone. Nothing else differs, and nothing is chosen:
    the number of epochs is the same everywhere.

    Parameters
    ----------
    clips : pd.DataFrame
        Utterance table.
    features, copies : pd.DataFrame
        Features of a clip family, of the clips and of :func:`copy_clips`.
    epochs, fold, seed : int

    Returns
    -------
    dict of str to pd.DataFrame
        Protocol → test clips with ``predicted``. A protocol that these clips do not allow (one
        speaker, unknown texts) is left out.
    """
    both = pd.concat([clips.assign(copy=False), clips.assign(copy=True)], ignore_index=True)
    x = pd.concat([features, copies]).to_numpy(dtype="float64")
    answers = {}
    for protocol in LEAKAGE_PROTOCOLS:
        if protocol == "leaky":
            split = split_random(both, seed=seed)
        else:
            try:
                sides = make_split(clips, protocol=protocol, fold=fold, seed=seed)
            except UserError:
                continue
            split = pd.concat([sides, sides.where(sides == "train", "unused")], ignore_index=True)
        train, test = (np.asarray(split == side) for side in ("train", "test"))
        network = _make_network(epochs, seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it could still learn more is meant
            network.fit(x[train], both["emotion"][train])
        answers[protocol] = both[test].assign(predicted=network.predict(x[test]))
    return answers


def _make_network(epochs: int, seed: int):
    """The layers of ``functionals_mlp``, by scikit-learn: four trainings take seconds."""
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    layers = MLPClassifier((512, 256, 128, 64), batch_size=64, max_iter=epochs, random_state=seed)
    return make_pipeline(StandardScaler(), layers)
