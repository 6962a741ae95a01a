"""What each augmentation does to a small model on speakers that it has not heard."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from helpers.experiments.baselines import make_linear_model
from helpers.features.extract import compute_features
from helpers.parallel import map_clips
from helpers.sound.audio import load_audio
from helpers.sound.augment import AUGMENTATIONS

FAMILY = "vector180"


def change_clips(
    clips: pd.DataFrame,
    name: str,
    amount: Mapping[str, object],
    *,
    voices: pd.DataFrame | None = None,
    family: str = FAMILY,
    seed: int = 0,
    n_jobs: int = -1,
) -> pd.DataFrame:
    """Features of augmented copies of clips, in parallel; nothing is written.

    Parameters
    ----------
    clips : pd.DataFrame
        Utterance table.
    name : str
        Of :data:`helpers.sound.augment.AUGMENTATIONS`, or empty for the clips as they are.
    amount : mapping
        Its arguments.
    voices : pd.DataFrame, optional
        Clips that babble is made of; for each clip, those of other speakers, if there are any.
    family : str
        Clip family of :mod:`helpers.features.extract`.
    seed : int
    n_jobs : int
        Processes, -1 for one a core.

    Returns
    -------
    pd.DataFrame, shape (n_clips, n_columns)
        Indexed as ``clips``.
    """
    jobs = []
    for place, clip in enumerate(clips.itertuples()):
        others = []
        if name == "babble":
            others = voices.loc[voices["speaker"] != clip.speaker, "path"].tolist()
            others = others or voices.loc[voices["path"] != clip.path, "path"].tolist()
        jobs.append((clip.path, name, dict(amount), others, family, (seed, place)))
    rows = map_clips(_change, jobs, n_jobs=n_jobs, label=name or "as recorded")
    return pd.DataFrame(list(rows), index=clips.index)


def _change(job: tuple) -> dict[str, float]:
    path, name, amount, others, family, seed = job
    rng = np.random.default_rng(seed)
    y = load_audio(path)
    if name:
        if name == "babble":
            chosen = rng.permutation(len(others))[:_VOICES]
            amount["voices"] = [load_audio(others[place]) for place in chosen]
        y = AUGMENTATIONS[name](y, rng, **amount)
    return compute_features(y, family=family)


_VOICES = 4


def ablate(
    clips: pd.DataFrame,
    protocol: str,
    amounts: Mapping[str, Mapping[str, object]],
    conditions: Mapping[str, Mapping[str, object]],
    *,
    n_train: int = 160,
    n_validation: int = 120,
    seed: int = 0,
    n_jobs: int = -1,
) -> pd.DataFrame:
    """UAR on new speakers with and without each augmentation, in several conditions.

    A linear model on 180 means learns some clips of the training side, and the same clips with one
    augmented copy of each; it is scored on clips of the validation side, as recorded and changed.
    Clips are drawn in equal numbers from each emotion.

    Parameters
    ----------
    clips : pd.DataFrame
        Utterance table with a column named like ``protocol`` that holds the sides.
    protocol : str
    amounts : mapping
        Augmentation → its arguments, a row of the result each.
    conditions : mapping
        Augmentation → its arguments, a column of the result each.
    n_train, n_validation : int
        Clips at most.
    seed, n_jobs : int

    Returns
    -------
    pd.DataFrame
        UAR; rows ``nothing`` and the augmentations, columns ``as recorded`` and the conditions.
        ``attrs["n"]`` and ``attrs["speakers"]`` describe the validation clips.
    """
    from sklearn.metrics import balanced_accuracy_score

    train = draw_clips(clips[clips[protocol] == "train"], n_train, seed)
    held = draw_clips(clips[clips[protocol] == "validation"], n_validation, seed)
    common = {"seed": seed, "n_jobs": n_jobs}
    tests = {"as recorded": change_clips(held, "", {}, **common)}
    for name, amount in conditions.items():
        # Babble of the condition is made of validation voices, that of training of training ones.
        tests[name] = change_clips(held, name, amount, voices=held, **common)
    plain = change_clips(train, "", {}, **common)
    rows = {}
    for name, amount in {"nothing": None, **amounts}.items():
        x, y = plain, train["emotion"]
        if amount is not None:
            more = change_clips(train, name, amount, voices=train, **common)
            x, y = pd.concat([plain, more]), pd.concat([y, y])
        model = make_linear_model(seed).fit(x, y)
        rows[name] = {
            condition: balanced_accuracy_score(held["emotion"], model.predict(values))
            for condition, values in tests.items()
        }
    table = pd.DataFrame(rows).T
    table.attrs |= {"n": len(held), "n_train": len(train), "speakers": held["speaker"].nunique()}
    return table


def draw_clips(clips: pd.DataFrame, n: int, seed: int) -> pd.DataFrame:
    """At most ``n`` clips, in equal numbers of each emotion as far as there are, in their order."""
    each = max(1, n // clips["emotion"].nunique())
    shuffled = clips.sample(frac=1, random_state=seed)
    return shuffled.groupby("emotion", sort=True).head(each).sort_index()
