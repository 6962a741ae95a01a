"""What a leak between training and test does to a score: one recipe, four protocols."""

from __future__ import annotations

import io
from contextlib import redirect_stdout

import pandas as pd

from helpers.ablation import change_clips
from helpers.recipes import Recipe
from helpers.splits import SplitError, make_split, split_random

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
    recipe: Recipe,
    *,
    classes: list[str],
    fold: int = 1,
    seed: int = 0,
) -> dict[str, pd.DataFrame]:
    """Train one network under each protocol, and let it answer on that protocol's test side.

    Under ``leaky`` every clip is augmented *before* clips are dealt to training and test, as in
    much-copied notebooks: of most test clips, training has heard the other version.
    Elsewhere the same copies are added to the training side alone. Nothing else differs.

    Parameters
    ----------
    clips : pd.DataFrame
        Utterance table.
    features, copies : pd.DataFrame
        Features of the recipe's family, of the clips and of :func:`copy_clips`.
    recipe : Recipe
        A network on a clip family.
    classes : list of str
    fold, seed : int

    Returns
    -------
    dict of str to pd.DataFrame
        Protocol → test clips with ``predicted``. A protocol that these clips do not allow (one
        speaker, unknown texts) is left out.
    """
    both = pd.concat([clips.assign(copy=False), clips.assign(copy=True)], ignore_index=True)
    x = pd.concat([features, copies], ignore_index=True)
    answers = {}
    for protocol in LEAKAGE_PROTOCOLS:
        if protocol == "leaky":
            split = split_random(both, seed=seed)
        else:
            try:
                sides = make_split(clips, protocol=protocol, fold=fold, seed=seed)
            except SplitError:
                continue
            split = pd.concat([sides, sides.where(sides == "train", "unused")], ignore_index=True)
        with redirect_stdout(
            io.StringIO()
        ):  # four trainings a line each eighth would bury the rest
            model = recipe.fit(x, both["emotion"], split, classes=classes, seed=seed)
        test = (split == "test").to_numpy()
        said = model(x[test].to_numpy("float32"), training=False).numpy().argmax(axis=1)
        answers[protocol] = both[test].assign(predicted=[classes[place] for place in said])
    return answers
