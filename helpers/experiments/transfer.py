"""What a score is worth elsewhere: leaks between training and test, and other corpora."""

from __future__ import annotations

import warnings
from contextlib import suppress

import numpy as np
import pandas as pd

from helpers.corpora import load_corpora
from helpers.errors import UserError
from helpers.splits import make_split

#: From the leakiest to the strictest.
LEAKAGE_PROTOCOLS = ("leaky", "random-80-20", "speaker-independent")


def demonstrate_leak(
    clips: pd.DataFrame,
    features: pd.DataFrame,
    copies: pd.DataFrame,
    *,
    fold: int = 1,
    seed: int = 0,
) -> dict[str, pd.DataFrame]:
    """Train one network under each protocol, and let it answer on that protocol's test set.

    Under ``leaky`` every clip is augmented *before* clips are put into a set, as in
    much-copied notebooks: of most test clips, training has heard the other version. Elsewhere the
    same copies are added to the training set alone. Of each training set as many clips are drawn as
    the smallest one has, and nothing is chosen: the number of epochs is the same everywhere.

    Parameters
    ----------
    clips : pd.DataFrame
        Utterance table.
    features, copies : pd.DataFrame
        Features of a clip family, of the clips and of a copy of each that begins 0.2 s later.
    fold, seed : int

    Returns
    -------
    dict of str to pd.DataFrame
        Protocol → test clips with ``predicted``. A protocol that these clips do not allow (one
        speaker, unknown texts) is left out.
    """
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    both = pd.concat([clips.assign(copy=False), clips.assign(copy=True)], ignore_index=True)
    x = pd.concat([features, copies]).to_numpy(dtype="float64")

    def divide(protocol: str) -> pd.Series:
        if protocol == "leaky":
            # A copy is a file of its own, as it was there: else it would stay with its clip.
            files = both["copy"].map({False: "", True: "copy of "}) + both["path"]
            return make_split(both.assign(path=files), protocol="random-80-20", seed=seed)
        sides = make_split(clips, protocol=protocol, fold=fold, seed=seed)
        return pd.concat([sides, sides.where(sides == "train", "unused")], ignore_index=True)

    splits = {}
    for protocol in LEAKAGE_PROTOCOLS:
        with suppress(UserError):
            splits[protocol] = divide(protocol)
    n = min((split == "train").sum() for split in splits.values())
    answers = {}
    for protocol, split in splits.items():
        places, test = np.flatnonzero(split == "train"), np.asarray(split == "test")
        train = np.random.default_rng(seed).permutation(places)[:n]
        # The layers of functionals_mlp, by scikit-learn: a training takes seconds.
        layers = MLPClassifier((512, 256, 128, 64), batch_size=64, max_iter=40, random_state=seed)
        network = make_pipeline(StandardScaler(), layers)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it could still learn more
            network.fit(x[train], both["emotion"].iloc[train])
        answers[protocol] = both[test].assign(predicted=network.predict(x[test]))
    return answers


def load_others(clips: pd.DataFrame, *, n: int) -> pd.DataFrame:
    """Clips of the other corpora that are there, of people who are not in ``clips``.

    At most ``n`` of each corpus, in equal numbers of each emotion; empty where nothing else is.
    """
    try:
        others = load_corpora("all")
    except UserError:
        return clips[:0]
    others = others[~others["speaker"].isin(clips["speaker"])]
    others = others[~others["corpus"].isin(clips["corpus"])].sample(frac=1, random_state=0)
    shares = others.groupby("corpus")["emotion"].transform("nunique")
    rank = others.groupby(["corpus", "emotion"]).cumcount()
    return others[rank < (n // shares).clip(lower=1)].sort_values("path", ignore_index=True)
